/* A runner asks for a build, and waits for one if it may. */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"
#include "server/cib_config.h"
#include "server/cib_waker.h"

/* --- looking */

/* All of it each time, also after waiting: the runner may have been paused or removed meanwhile. */
static cib_error_t *look(cib_asking_t *asking, int anew, cib_runner_t **runner)
{
    cib_call_t *call = &asking->call;
    const char *last_update = NULL;
    cib_runner_info_t *info;

    asking->description = NULL;
    CIB_TRY(cib_call_runner(call, runner));
    CIB_TRY(cib_call_info(call, &info));
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "last_update", &last_update)));
    if (!(*runner)->active)
        return cib_error(call->r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    CIB_TRY(cib_runner_contact(call->ctx, *runner, info));
    return cib_call_claim(call, *runner, anew ? NULL : last_update, &asking->claim,
                          &asking->description);
}

/* A look leaves nothing behind if it is in vain: a request that waits may be woken a thousand
 * times. */
static cib_error_t *look_anew(cib_asking_t *asking, cib_runner_t **runner)
{
    cib_error_t *err;

    apr_pool_create(&asking->looking.pool, asking->call.r->pool);
    apr_pool_tag(asking->looking.pool, "cib_look");
    err = look(asking, 1, runner);
    if (asking->claim.last_update) {
        apr_cpystrn(asking->value, asking->claim.last_update, sizeof asking->value);
        asking->claim.last_update = asking->value;
    }
    return err;
}

static int is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* Somebody has changed its settings: that is worth an answer. Any other look in vain means that
 * another runner was faster. */
static int is_changed(const cib_runner_t *then, const cib_runner_t *now)
{
    return then->locked != now->locked || then->run_untagged != now->run_untagged ||
           !is_same_text(then->tags, now->tags) ||
           !is_same_text(then->description, now->description);
}

/* --- waiting */

static apr_uint64_t count_of(void *baton, apr_int64_t runner_id)
{
    const cib_instance_t *instance = baton;

    return cib_generation_count(instance->gen, runner_id);
}

static void count_parked(void *baton, int change)
{
    const cib_instance_t *instance = baton;

    cib_board_parked(instance->slot, change);
}

void cib_api_raised(cib_instance_t *instance)
{
    cib_park_look(instance);
}

static int resume(request_rec *r, cib_park_cause_e cause, void *baton)
{
    cib_asking_t *asking = baton;
    cib_runner_t *runner = NULL;
    cib_error_t *err = CIB_OK;

    if (cause == CIB_PARK_LOOK)
        err = look_anew(asking, &runner);
    if (cause != CIB_PARK_LOOK || err || asking->description || is_changed(asking->runner, runner))
        return asking->answer(asking, err);
    asking->order.seen = asking->claim.count;
    apr_pool_destroy(asking->looking.pool);
    return SUSPENDED;
}

/* SUSPENDED: it waits. Anything else: it cannot. */
static int wait_for_build(cib_asking_t *asking)
{
    request_rec *r = asking->call.r;
    cib_instance_t *instance = cib_instance_of(r->server);
    const cib_park_place_t place = {count_of, count_parked, instance};

    asking->order.patience = cib_config_number(r->server, CIB_CONF_LONG_POLL);
    if (!asking->order.patience || !instance || !cib_waker_listen(instance))
        return DECLINED;
    asking->looking = *asking->call.ctx;
    asking->call.ctx = &asking->looking;
    asking->order.place = place;
    asking->order.key = asking->runner->id;
    asking->order.seen = asking->claim.count;
    asking->order.resume = resume;
    asking->order.baton = asking;
    return cib_park(r, &asking->order);
}

/* --- asking */

static cib_error_t *ask(cib_asking_t *asking, const cib_manner_t *manner)
{
    CIB_TRY(cib_call_begin(&asking->call, asking->call.r, manner));
    CIB_TRY(cib_call_read(&asking->call, NULL));
    return look(asking, 0, &asking->runner);
}

int cib_call_ask(request_rec *r, const cib_manner_t *manner, cib_answer_fn answer)
{
    cib_asking_t *asking = apr_pcalloc(r->pool, sizeof *asking);
    cib_error_t *err;

    asking->call.r = r;
    asking->answer = answer;
    err = ask(asking, manner);
    if (!err && asking->claim.current && wait_for_build(asking) == SUSPENDED)
        return SUSPENDED;
    return answer(asking, err);
}

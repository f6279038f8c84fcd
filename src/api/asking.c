/* A runner asks for a build, and waits for one if it may. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_idle.h"
#include "internal.h"
#include "server/cib_config.h"
#include "server/cib_waker.h"

/* One request for a build, which may wait. Lives in r->pool. */
typedef struct asking_t {
    cib_call_t call;
    const cib_asking_manner_t *manner;
    cib_claim_t claim;
    cib_description_t *description; /* NULL: there is nothing */
    cib_runner_t *runner;           /* as it was when it asked */
    cib_ctx_t looking;              /* the context of looks after waiting, each with its own pool */
    char value[64];                 /* the last look's claim.last_update */
    cib_park_order_t order;
} asking_t;

/* --- looking */

/* What it says, as far as the answer depends on it. */
static cib_error_t *read_word(asking_t *asking, cib_idle_word_t *word)
{
    cib_call_t *call = &asking->call;
    cib_runner_info_t *info;

    *word = (cib_idle_word_t){0};
    CIB_TRY(cib_call_token(call, NULL, &word->token));
    CIB_TRY(cib_call_info(call, &info));
    word->info = info;
    return cib_call_malformed(call,
                              cib_params_text(call->params, "last_update", &word->last_update));
}

/* One who asked the same before, and nothing has happened since. Who may wait is looked up. */
static int is_idle(asking_t *asking)
{
    cib_idle_word_t word;

    if (cib_config_number(asking->call.r->server, CIB_CONF_LONG_POLL) || read_word(asking, &word) ||
        !cib_idle_is_known(asking->call.ctx, &word))
        return 0;
    asking->claim.last_update = word.last_update;
    return 1;
}

static void learn(asking_t *asking)
{
    cib_idle_word_t word;

    if (asking->claim.current && asking->runner->active && !read_word(asking, &word))
        cib_idle_learn(asking->call.ctx, &word, asking->runner);
}

/* A paused runner. The value that it is told must be older than the row that says so, or it would
 * never learn that it was resumed in between. */
static cib_error_t *look_at_paused(asking_t *asking, const cib_runner_info_t *info,
                                   cib_runner_t **runner)
{
    cib_call_t *call = &asking->call;

    if (!asking->manner->paused_is_told)
        return cib_error(call->r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    CIB_TRY(cib_runner_contact(call->ctx, *runner, info));
    asking->claim.last_update = cib_queue_value(call->ctx, *runner);
    return cib_call_runner(call, runner);
}

static int is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* Somebody has changed its settings: that is worth an answer. Any other look in vain means that
 * another runner was faster. */
static int is_changed(const cib_runner_t *then, const cib_runner_t *now)
{
    return then->active != now->active || then->is_shared != now->is_shared ||
           then->locked != now->locked || then->run_untagged != now->run_untagged ||
           !is_same_text(then->tags, now->tags) ||
           !is_same_text(then->description, now->description);
}

/* The value was read after the row, which may have changed just before: then the value is of after
 * that, and the search was for who the runner was. Without a value it searches again. */
static cib_error_t *confirm(asking_t *asking, cib_runner_t **runner)
{
    const cib_runner_t *then = *runner;

    CIB_TRY(cib_call_runner(&asking->call, runner));
    if (is_changed(then, *runner))
        asking->claim.last_update = NULL;
    return CIB_OK;
}

/* All of it each time, also after waiting: the runner may have been paused or removed meanwhile. */
static cib_error_t *look(asking_t *asking, int anew, cib_runner_t **runner)
{
    cib_call_t *call = &asking->call;
    const char *last_update = NULL;
    cib_runner_info_t *info;

    asking->description = NULL;
    asking->claim = (cib_claim_t){0};
    CIB_TRY(cib_call_runner(call, runner));
    CIB_TRY(cib_call_info(call, &info));
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "last_update", &last_update)));
    if (!(*runner)->active)
        CIB_TRY(look_at_paused(asking, info, runner));
    if (!(*runner)->active)
        return CIB_OK;
    CIB_TRY(cib_runner_contact(call->ctx, *runner, info));
    CIB_TRY(cib_call_claim(call, *runner, anew ? NULL : last_update, &asking->claim,
                           &asking->description));
    if (asking->description && info && info->version)
        asking->description->runner_version = info->version;
    if (!asking->description && !asking->claim.current)
        return confirm(asking, runner);
    return CIB_OK;
}

/* Where it may wait, a look leaves nothing behind if it is in vain: it may be woken a thousand
 * times, and ten thousand may wait. */
static void begin_look(asking_t *asking)
{
    apr_pool_create(&asking->looking.pool, asking->call.r->pool);
    apr_pool_tag(asking->looking.pool, "cib_look");
    asking->call.ctx = &asking->looking;
}

static cib_error_t *look_and_keep(asking_t *asking, int anew, cib_runner_t **runner)
{
    cib_error_t *err = look(asking, anew, runner);

    if (asking->claim.last_update) {
        apr_cpystrn(asking->value, asking->claim.last_update, sizeof asking->value);
        asking->claim.last_update = asking->value;
    }
    return err;
}

/* The runner as it was when it asked, as far as is_changed looks. */
static cib_runner_t *remember(const cib_runner_t *runner, apr_pool_t *pool)
{
    cib_runner_t *kept = apr_pcalloc(pool, sizeof *kept);

    kept->id = runner->id;
    kept->active = runner->active;
    kept->is_shared = runner->is_shared;
    kept->locked = runner->locked;
    kept->run_untagged = runner->run_untagged;
    kept->tags = apr_pstrdup(pool, runner->tags);
    kept->description = apr_pstrdup(pool, runner->description);
    return kept;
}

/* --- answering */

static int reply(asking_t *asking)
{
    cib_call_t *call = &asking->call;
    const cib_build_t *build = asking->description->build;
    json_object *object = NULL;
    cib_error_t *err = asking->manner->describe(asking->description, &object, call->r->pool);
    int result;

    if (err) {
        cib_call_take_back(call, build, err);
        return cib_call_fail(call, err);
    }
    result = cib_reply_json(call->r, HTTP_CREATED, object);
    cib_call_handed_out(call, build);
    return result;
}

static int answer(asking_t *asking, const cib_error_t *err)
{
    request_rec *r = asking->call.r;

    if (err)
        return cib_call_fail(&asking->call, err);
    if (asking->description)
        return reply(asking);
    if (asking->claim.last_update)
        apr_table_setn(r->headers_out, "X-GitLab-Last-Update", asking->claim.last_update);
    return asking->manner->nothing(r);
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
    asking_t *asking = baton;
    cib_runner_t *runner = NULL;
    cib_error_t *err = CIB_OK;

    if (cause == CIB_PARK_LOOK) {
        cib_board_looked(cib_instance_of(r->server)->slot);
        begin_look(asking);
        err = look_and_keep(asking, 1, &runner);
    }
    if (cause != CIB_PARK_LOOK || err || asking->description || is_changed(asking->runner, runner))
        return answer(asking, err);
    asking->order.seen = asking->claim.count;
    apr_pool_destroy(asking->looking.pool);
    return SUSPENDED;
}

/* SUSPENDED: it waits. Anything else: it cannot. */
static int wait_for_build(asking_t *asking)
{
    request_rec *r = asking->call.r;
    cib_instance_t *instance = cib_instance_of(r->server);
    const cib_park_place_t place = {count_of, count_parked, instance};

    asking->order.patience = cib_config_number(r->server, CIB_CONF_LONG_POLL);
    if (!asking->order.patience || !instance || !cib_waker_listen(instance))
        return DECLINED;
    asking->order.place = place;
    asking->order.key = asking->runner->id;
    asking->order.seen = asking->claim.count;
    asking->order.resume = resume;
    asking->order.baton = asking;
    asking->runner = remember(asking->runner, r->pool);
    apr_pool_destroy(asking->looking.pool);
    return cib_park(r, &asking->order);
}

/* --- asking */

static cib_error_t *ask(asking_t *asking, const cib_manner_t *manner)
{
    CIB_TRY(cib_call_begin(&asking->call, asking->call.r, manner));
    CIB_TRY(cib_call_read(&asking->call, NULL));
    if (is_idle(asking))
        return CIB_OK;
    if (cib_config_number(asking->call.r->server, CIB_CONF_LONG_POLL)) {
        asking->looking = *asking->call.ctx;
        begin_look(asking);
    }
    CIB_TRY(look_and_keep(asking, 0, &asking->runner));
    learn(asking);
    return CIB_OK;
}

int cib_call_ask(request_rec *r, const cib_manner_t *manner, const cib_asking_manner_t *asked)
{
    asking_t *asking = apr_pcalloc(r->pool, sizeof *asking);
    cib_error_t *err;

    asking->call.r = r;
    asking->manner = asked;
    err = ask(asking, manner);
    if (!err && asking->claim.current && wait_for_build(asking) == SUSPENDED)
        return SUSPENDED;
    return answer(asking, err);
}

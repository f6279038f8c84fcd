/* The queue, as a runner sees it. */
#include "core/cib_queue.h"
#include "internal.h"
#include "store/cib_listener.h"
#include "telling.h"
#include "transition.h"

typedef struct looking_t {
    const cib_runner_t *runner;
    int can;
} looking_t;

/* They may all take the same; but the first may have changed since it was looked up, so that it
 * finds nothing says nothing of the others. */
static cib_error_t *look(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    int can = 0;

    for (int i = 0; i < count; i++) {
        looking_t *looking = wishes[i]->baton;

        if (!can)
            CIB_TRY(cib_q_can_claim(db, looking->runner, &can, pool));
        looking->can = can;
    }
    return CIB_OK;
}

/* Who finds nothing need not wait until it may write, nor be refused while nobody may. */
static cib_error_t *may_find(const cib_ctx_t *ctx, const cib_runner_t *runner, const char *key,
                             int *may)
{
    looking_t looking = {.runner = runner};

    CIB_TRY(cib_gather(ctx, CIB_GATHER_READ, key, look, &looking));
    *may = looking.can;
    return CIB_OK;
}

/* Who takes. */
typedef struct taking_t {
    cib_claiming_t claiming;
    const cib_ctx_t *ctx;
    cib_telling_t *telling;
} taking_t;

/* On SQLite what is to be told is asked for in the same section, while it is this thread's turn and
 * the pages are at hand; if it fails there was no claim. On PostgreSQL the claim is committed by
 * now, and must not be tried anew. */
static cib_error_t *ask(cib_db_t *db, taking_t *taking, apr_pool_t *pool)
{
    taking->telling = NULL;
    if (!taking->claiming.id || cib_store_driver(taking->ctx->store) != CIB_DRIVER_SQLITE3)
        return CIB_OK;
    taking->telling = cib_telling_create(taking->ctx, taking->claiming.id);
    return cib_telling_ask(db, taking->telling, pool);
}

static cib_error_t *take(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_claiming_t **claimings = apr_palloc(pool, sizeof(*claimings) * (apr_size_t)count);
    cib_error_t *err;

    for (int i = 0; i < count; i++)
        claimings[i] = &((taking_t *)wishes[i]->baton)->claiming;
    err = cib_transition_claim(db, claimings, count, apr_time_now(), pool);
    for (int i = 0; i < count; i++)
        wishes[i]->granted = claimings[i]->id != 0;
    for (int i = 0; i < count && !err; i++)
        err = ask(db, wishes[i]->baton, wishes[i]->pool);
    return err;
}

const char *cib_queue_value(const cib_ctx_t *ctx, const cib_runner_t *runner)
{
    return ctx->gen ? cib_generation_value(ctx->gen, runner->id, ctx->pool) : NULL;
}

/* Only where every writer is heard of: on SQLite, which lives on one host, each raises this very
 * file; what another host commits to PostgreSQL is told to this one's listener. */
static int nothing_changed(const cib_ctx_t *ctx, const cib_runner_t *runner,
                           const char *last_update)
{
    return last_update && ctx->gen && cib_store_hears(ctx->store) &&
           cib_generation_is_current(ctx->gen, runner->id, last_update);
}

cib_error_t *cib_queue_claim(const cib_ctx_t *ctx, const cib_runner_t *runner,
                             const char *last_update, cib_claim_t *claim)
{
    taking_t taking = {.claiming = {.runner = runner}, .ctx = ctx};
    const char *key;
    int may;

    *claim = (cib_claim_t){0};
    if (!runner->active)
        return cib_error(ctx->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    /* before the search: what changes meanwhile must make the value differ */
    claim->last_update = cib_queue_value(ctx, runner);
    claim->count = ctx->gen ? cib_generation_count(ctx->gen, runner->id) : 0;
    claim->current = nothing_changed(ctx, runner, last_update);
    if (claim->current)
        return CIB_OK;
    key = cib_q_claims_key(runner, ctx->pool);
    CIB_TRY(may_find(ctx, runner, key, &may));
    if (!may)
        return CIB_OK;
    CIB_TRY(cib_gather(ctx, CIB_GATHER_ONE, key, take, &taking));
    claim->build_id = taking.claiming.id;
    claim->telling = taking.telling;
    return CIB_OK;
}

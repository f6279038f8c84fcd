/* The queue, as a runner sees it. */
#include "core/cib_queue.h"
#include "internal.h"
#include "store/cib_listener.h"
#include "transition.h"

typedef struct looking_t {
    const cib_runner_t *runner;
    int can;
} looking_t;

static cib_error_t *look(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    looking_t *looking = baton;

    return cib_q_can_claim(db, looking->runner, &looking->can, pool);
}

/* On SQLite, so that who finds nothing need not wait until it may write. On PostgreSQL such a claim
 * writes nothing anyhow. */
static cib_error_t *may_find(const cib_ctx_t *ctx, const cib_runner_t *runner, int *may)
{
    looking_t looking = {.runner = runner, .can = 1};

    if (cib_store_driver(ctx->store) == CIB_DRIVER_SQLITE3)
        CIB_TRY(cib_read(ctx, look, &looking));
    *may = looking.can;
    return CIB_OK;
}

static cib_error_t *take(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_claiming_t **claimings = apr_palloc(pool, sizeof(*claimings) * (apr_size_t)count);
    cib_error_t *err;

    for (int i = 0; i < count; i++)
        claimings[i] = wishes[i]->baton;
    err = cib_transition_claim(db, claimings, count, apr_time_now(), pool);
    for (int i = 0; i < count; i++)
        wishes[i]->granted = claimings[i]->id != 0;
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
    cib_claiming_t claiming = {.runner = runner};
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
    CIB_TRY(may_find(ctx, runner, &may));
    if (!may)
        return CIB_OK;
    CIB_TRY(cib_gather(ctx, CIB_GATHER_ONE, cib_q_claims_key(runner, ctx->pool), take, &claiming));
    claim->build_id = claiming.id;
    return CIB_OK;
}

/* The queue, as a runner sees it. */
#include "core/cib_queue.h"
#include "internal.h"
#include "store/cib_listener.h"
#include "transition.h"

typedef struct claiming_t {
    const cib_runner_t *runner;
    int can;
    apr_int64_t id;
} claiming_t;

static cib_error_t *look(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    claiming_t *claiming = baton;

    return cib_q_can_claim(db, claiming->runner, &claiming->can, pool);
}

static cib_error_t *take(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    claiming_t *claiming = baton;

    return cib_transition_claim(db, claiming->runner, apr_time_now(), &claiming->id, pool);
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
    claiming_t claiming = {.runner = runner};

    *claim = (cib_claim_t){0};
    if (!runner->active)
        return cib_error(ctx->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    /* before the search: what changes meanwhile must make the value differ */
    claim->last_update = cib_queue_value(ctx, runner);
    claim->count = ctx->gen ? cib_generation_count(ctx->gen, runner->id) : 0;
    claim->current = nothing_changed(ctx, runner, last_update);
    if (claim->current)
        return CIB_OK;
    CIB_TRY(cib_read(ctx, look, &claiming));
    if (!claiming.can)
        return CIB_OK;
    CIB_TRY(cib_write_one(ctx, take, &claiming));
    claim->build_id = claiming.id;
    return CIB_OK;
}

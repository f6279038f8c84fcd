/* A build for a runner, and the ways back when it cannot be handed out. */
#include <apr_strings.h>

#include "internal.h"

/* How many builds that nobody can describe one request clears away. */
#define TRIES 10

static void tell(const cib_ctx_t *ctx, const cib_error_t *err, const char *id, apr_int64_t build_id,
                 const char *what)
{
    ctx->log(ctx->log_baton, CIB_LOG_ERROR, APR_SUCCESS,
             apr_psprintf(ctx->pool, "%s: build %" APR_INT64_T_FMT ": %s: %s", id, build_id, what,
                          cib_error_text(err, ctx->pool)));
}

/* `err` is what became of the undoing: a build that is gone needs none. */
static void note_undone(const cib_ctx_t *ctx, const cib_error_t *err, apr_int64_t id)
{
    if (err && err->reason != CIB_REASON_NO_RECORD)
        tell(ctx, err, "CIB0402", id, "its claim cannot be undone now, upkeep will");
}

/* Fail what can never be described, or it would stop its queue. What misses a part may just be
 * going, or never have had it: that counts. What cannot be told now does not. */
static cib_error_t *give_up(const cib_ctx_t *ctx, apr_int64_t runner_id, apr_int64_t id,
                            const cib_error_t *why)
{
    cib_build_t *build;

    CIB_TRY(cib_build_get(ctx, id, &build));
    if (build->status != CIB_RUNNING || build->runner_id != runner_id)
        return CIB_OK;
    if (why->reason == CIB_REASON_INTERNAL)
        return cib_build_fail(ctx, id, build->claim, "data_integrity_failure");
    if (why->reason == CIB_REASON_NO_RECORD)
        return cib_build_requeue(ctx, id, build->claim);
    return cib_build_put_back(ctx, id, build->claim);
}

static void undo(const cib_ctx_t *ctx, apr_int64_t runner_id, apr_int64_t id,
                 const cib_error_t *why)
{
    cib_error_t *err;

    tell(ctx, why, "CIB0401", id, "it was claimed and cannot be described");
    err = give_up(ctx, runner_id, id, why);
    note_undone(ctx, err, id);
}

void cib_call_take_back(cib_call_t *call, const cib_build_t *build, const cib_error_t *why)
{
    undo(call->ctx, build->runner_id, build->id, why);
}

/* Is it only this build that cannot be described? */
static int next_may_do(const cib_error_t *err)
{
    return err->reason == CIB_REASON_INTERNAL || err->reason == CIB_REASON_NO_RECORD;
}

cib_error_t *cib_call_claim(cib_call_t *call, const cib_runner_t *runner, const char *last_update,
                            cib_claim_t *claim, cib_description_t **description)
{
    cib_error_t *err = CIB_OK;
    int tries;

    *description = NULL;
    for (tries = 0; tries < TRIES; tries++) {
        CIB_TRY(cib_queue_claim(call->ctx, runner, last_update, claim));
        if (!claim->build_id)
            return CIB_OK;
        cib_reply_about(call->r, claim->build_id);
        err = cib_describe_claim(call->ctx, claim, description);
        if (!err)
            return CIB_OK;
        *description = NULL;
        undo(call->ctx, runner->id, claim->build_id, err);
        if (!next_may_do(err))
            break;
    }
    return err;
}

void cib_call_handed_out(cib_call_t *call, const cib_build_t *build)
{
    const cib_ctx_t *ctx = call->ctx;
    cib_error_t *err;

    if (cib_reply_flush(call->r))
        return;
    ctx->log(ctx->log_baton, CIB_LOG_INFO, APR_SUCCESS,
             apr_psprintf(ctx->pool,
                          "CIB0403: build %" APR_INT64_T_FMT
                          ": its runner went away before the answer, the claim is undone",
                          build->id));
    err = cib_build_requeue(ctx, build->id, build->claim);
    note_undone(ctx, err, build->id);
}

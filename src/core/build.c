/* Builds: who may speak for one, and every step but the first that one takes. */
#include <string.h>

#include "core/cib_build.h"
#include "core/cib_token.h"
#include "core/cib_trace.h"
#include "internal.h"
#include "transition.h"
#include "util/cib_crypto.h"

/* How old heard_at may grow while its runner speaks, unless patience is shorter. */
#define HEARD_EVERY apr_time_from_sec(60)

/* --- looking --------------------------------------------------------------------------------- */

typedef struct asking_t {
    apr_int64_t id;
    cib_status_e status;
    apr_int64_t project_id;
    apr_int64_t after;
    int limit;
    apr_array_header_t *list;
} asking_t;

static cib_error_t *owned(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_whole_t **wholes = apr_palloc(pool, sizeof(*wholes) * (apr_size_t)count);

    for (int i = 0; i < count; i++)
        wholes[i] = wishes[i]->baton;
    return cib_q_owned(db, wholes, count, pool);
}

/* The build, with its project: either may be NULL. */
static cib_error_t *get(const cib_ctx_t *ctx, apr_int64_t id, cib_whole_t *whole)
{
    *whole = (cib_whole_t){.id = id, .pool = ctx->pool};
    return cib_gather(ctx, CIB_GATHER_READ, "", owned, whole);
}

cib_error_t *cib_build_get(const cib_ctx_t *ctx, apr_int64_t id, cib_build_t **build)
{
    cib_whole_t whole;

    *build = NULL;
    CIB_TRY(get(ctx, id, &whole));
    if (!whole.build)
        return cib_no_record(ctx->pool, "build", id);
    *build = whole.build;
    return CIB_OK;
}

static cib_error_t *list(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_builds(db, asking->status, asking->project_id, asking->after, asking->limit,
                        &asking->list, pool);
}

cib_error_t *cib_build_list(const cib_ctx_t *ctx, cib_status_e status, apr_int64_t project_id,
                            apr_int64_t after, int limit, apr_array_header_t **builds)
{
    asking_t asking = {.status = status, .project_id = project_id, .after = after, .limit = limit};

    CIB_TRY(cib_read(ctx, list, &asking));
    *builds = asking.list;
    return CIB_OK;
}

static cib_error_t *needs(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_needs(db, asking->id, &asking->list, pool);
}

cib_error_t *cib_build_needs(const cib_ctx_t *ctx, apr_int64_t id, apr_array_header_t **ids)
{
    asking_t asking = {.id = id};

    CIB_TRY(cib_read(ctx, needs, &asking));
    *ids = apr_array_make(ctx->pool, asking.list->nelts + 1, sizeof(apr_int64_t));
    for (int i = 0; i < asking.list->nelts; i++)
        APR_ARRAY_PUSH(*ids, apr_int64_t) = APR_ARRAY_IDX(asking.list, i, cib_build_t *)->id;
    return CIB_OK;
}

/* --- authenticating -------------------------------------------------------------------------- */

static int is_build_token(const cib_ctx_t *ctx, const cib_build_t *build, const char *token)
{
    /* never claimed: nobody was given a token */
    return build->claim > 0 &&
           cib_secret_equal(cib_token_build(ctx->storage, build->id, build->claim, ctx->pool),
                            token);
}

static int is_project_token(const cib_ctx_t *ctx, const cib_project_t *project, const char *token)
{
    const char *expected;
    cib_error_t *err = cib_token_project(ctx->storage, project, &expected, ctx->pool);

    /* it only means that this token lets nobody in; the build's own still does */
    cib_log_error(ctx, "CIB0301", err);
    return !err && cib_secret_equal(expected, token);
}

static cib_error_t *needing(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_running_needing(db, asking->id, &asking->list, pool);
}

static cib_error_t *is_dependents_token(const cib_ctx_t *ctx, apr_int64_t id, const char *token,
                                        int *yes)
{
    asking_t asking = {.id = id};

    *yes = 0;
    CIB_TRY(cib_read(ctx, needing, &asking));
    for (int i = 0; i < asking.list->nelts && !*yes; i++)
        *yes = is_build_token(ctx, APR_ARRAY_IDX(asking.list, i, cib_build_t *), token);
    return CIB_OK;
}

static cib_error_t *check_token(const cib_ctx_t *ctx, const cib_whole_t *whole, const char *token,
                                int also)
{
    int right = is_build_token(ctx, whole->build, token) ||
                ((also & CIB_OPEN_PROJECT) && is_project_token(ctx, whole->project, token));

    if (!right && (also & CIB_OPEN_DEPENDENT) && *token)
        CIB_TRY(is_dependents_token(ctx, whole->id, token, &right));
    return right ? CIB_OK : cib_error(ctx->pool, CIB_REASON_WRONG_TOKEN, APR_SUCCESS, NULL);
}

cib_error_t *cib_build_authenticate(const cib_ctx_t *ctx, apr_int64_t id, const char *token,
                                    int also, cib_build_t **build)
{
    apr_pool_t *pool = ctx->pool;
    cib_whole_t whole;

    *build = NULL;
    CIB_TRY(get(ctx, id, &whole));
    if (!whole.build || !whole.project)
        return cib_error(pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    CIB_TRY(check_token(ctx, &whole, token ? token : "", also));
    if (whole.project->removing)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Project has been deleted!");
    if (whole.build->erased_at)
        return cib_error(pool, CIB_REASON_ERASED, APR_SUCCESS, "Build has been erased!");
    *build = whole.build;
    return CIB_OK;
}

/* Who speaks, and of what. */
typedef struct speaking_t {
    cib_token_owner_t owner;
    cib_whole_t whole;
} speaking_t;

static cib_error_t *speaker(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_token_owner_t **owners = apr_palloc(pool, sizeof(*owners) * (apr_size_t)count);
    cib_whole_t **wholes = apr_palloc(pool, sizeof(*wholes) * (apr_size_t)count);

    for (int i = 0; i < count; i++) {
        speaking_t *speaking = wishes[i]->baton;

        owners[i] = &speaking->owner;
        wholes[i] = &speaking->whole;
    }
    CIB_TRY(cib_q_runners_by_token(db, owners, count, pool));
    return cib_q_owned(db, wholes, count, pool);
}

cib_error_t *cib_build_spoken_of(const cib_ctx_t *ctx, const char *token, apr_int64_t id,
                                 cib_runner_t **runner, cib_build_t **build,
                                 cib_project_t **project)
{
    speaking_t speaking = {.owner = {.pool = ctx->pool}, .whole = {.id = id, .pool = ctx->pool}};

    *runner = NULL;
    if (token && *token) {
        speaking.owner.token_sha256 = cib_token_hash(token, ctx->pool);
        CIB_TRY(cib_gather(ctx, CIB_GATHER_READ, "", speaker, &speaking));
    }
    if (!speaking.owner.runner)
        return cib_error(ctx->pool, CIB_REASON_WRONG_TOKEN, APR_SUCCESS, NULL);
    *runner = speaking.owner.runner;
    *build = speaking.whole.build;
    *project = speaking.whole.project;
    return *build && *project ? CIB_OK : cib_no_record(ctx->pool, "build", id);
}

/* --- hearing --------------------------------------------------------------------------------- */

typedef struct hearing_t {
    apr_int64_t id;
    apr_int64_t claim;
    apr_time_t now;
    int heard;
} hearing_t;

static cib_error_t *hear(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    hearing_t *hearing = baton;

    return cib_q_build_heard(db, hearing->id, hearing->claim, hearing->now, &hearing->heard, pool);
}

apr_interval_time_t cib_build_heard_every(const cib_ctx_t *ctx)
{
    apr_interval_time_t quarter = ctx->limits->stuck_timeout / 4;

    return quarter > 0 && quarter < HEARD_EVERY ? quarter : HEARD_EVERY;
}

/* Upkeep gives the build of an unheard claim to another: so what cannot be written down is not
 * taken from a runner either, nor what comes when that has just been done. */
static cib_error_t *hear_first(const cib_ctx_t *ctx, hearing_t *hearing)
{
    CIB_TRY(cib_write_one(ctx, hear, hearing));
    return hearing->heard ? CIB_OK : cib_error(ctx->pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, NULL);
}

cib_error_t *cib_build_heard(const cib_ctx_t *ctx, const cib_build_t *build)
{
    hearing_t hearing = {build->id, build->claim, apr_time_now(), 0};
    int fresh = build->heard_at && build->heard_at <= hearing.now &&
                hearing.now - build->heard_at < cib_build_heard_every(ctx);

    if (build->status != CIB_RUNNING || fresh)
        return CIB_OK;
    if (!build->heard_at)
        return hear_first(ctx, &hearing);
    cib_log_error(ctx, "CIB0302", cib_write_one(ctx, hear, &hearing));
    return CIB_OK;
}

/* --- stepping -------------------------------------------------------------------------------- */

typedef struct stepping_t {
    apr_int64_t id;
    cib_move_t move;
    int moved;
} stepping_t;

static cib_error_t *step(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    stepping_t *stepping = baton;

    return cib_transition(db, stepping->id, &stepping->move, &stepping->moved, pool);
}

static cib_error_t *end(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_end_t **ends = apr_palloc(pool, sizeof(*ends) * (apr_size_t)count);

    for (int i = 0; i < count; i++)
        ends[i] = wishes[i]->baton;
    return cib_transition_ends(db, ends, count, pool);
}

cib_error_t *cib_transition_end(const cib_ctx_t *ctx, apr_int64_t id, const cib_move_t *move,
                                int *moved)
{
    cib_end_t ending = {.id = id, .move = *move};

    *moved = 0;
    if (!cib_transition_allowed(CIB_RUNNING, move->to) || !cib_status_ended(move->to))
        return CIB_OK;
    CIB_TRY(cib_trace_sync(ctx, id));
    ending.move.from = CIB_RUNNING;
    ending.move.now = apr_time_now();
    CIB_TRY(cib_gather(ctx, CIB_GATHER_MANY, "", end, &ending));
    *moved = ending.moved;
    return CIB_OK;
}

cib_error_t *cib_build_fail(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim,
                            const char *reason)
{
    const cib_move_t move = {.to = CIB_FAILED, .claim = claim, .failure_reason = reason};
    int moved;

    CIB_TRY(cib_transition_end(ctx, id, &move, &moved));
    if (moved)
        cib_log(ctx, CIB_LOG_WARNING, APR_SUCCESS, "CIB0303: build %" APR_INT64_T_FMT " failed: %s",
                id, reason);
    return CIB_OK;
}

static cib_error_t *cancel(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    stepping_t *stepping = baton;
    cib_build_t *build;

    CIB_TRY(cib_transition_lock(db, stepping->id, &build, pool));
    if (!build)
        return cib_no_record(pool, "build", stepping->id);
    if (cib_status_ended(build->status))
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "build %" APR_INT64_T_FMT " has ended (%s) and cannot be canceled",
                         stepping->id, cib_status_name(build->status));
    stepping->move.from = build->status;
    return step(db, stepping, pool);
}

cib_error_t *cib_build_cancel(const cib_ctx_t *ctx, apr_int64_t id)
{
    stepping_t stepping = {.id = id, .move = {.to = CIB_CANCELED, .now = apr_time_now()}};

    CIB_TRY(cib_trace_sync(ctx, id));
    return cib_write(ctx, cancel, &stepping);
}

static cib_error_t *requeue(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    stepping_t *stepping = baton;
    cib_build_t *build;

    stepping->moved = 0;
    CIB_TRY(cib_transition_lock(db, stepping->id, &build, pool));
    if (!build || build->status != CIB_RUNNING || build->claim != stepping->move.claim)
        return CIB_OK;
    return cib_transition_requeue(db, build, apr_time_now(), &stepping->move.to, &stepping->moved,
                                  pool);
}

cib_error_t *cib_build_put_back(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim)
{
    stepping_t stepping = {.id = id,
                           .move = {.from = CIB_RUNNING,
                                    .to = CIB_PENDING,
                                    .claim = claim,
                                    .now = apr_time_now(),
                                    .requeue = 1,
                                    .uncounted = 1}};

    return claim > 0 ? cib_write(ctx, step, &stepping) : CIB_OK;
}

cib_error_t *cib_build_requeue(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim)
{
    stepping_t stepping = {.id = id,
                           .move = {.from = CIB_RUNNING, .claim = claim, .now = apr_time_now()}};

    if (claim <= 0)
        return CIB_OK;
    CIB_TRY(cib_trace_sync(ctx, id));
    CIB_TRY(cib_write(ctx, requeue, &stepping));
    if (stepping.moved)
        cib_log(ctx, CIB_LOG_WARNING, APR_SUCCESS,
                "CIB0304: build %" APR_INT64_T_FMT ": claim %" APR_INT64_T_FMT
                " was not acknowledged, the build %s",
                id, claim,
                stepping.move.to == CIB_PENDING ? "is pending again" : "failed (runner_lost)");
    return CIB_OK;
}

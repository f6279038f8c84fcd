/* Builds that go: their files when they are erased, all of them when they are removed. */
#include "core/cib_build.h"
#include "internal.h"
#include "files/cib_tracefile.h"
#include "removal.h"
#include "transition.h"

typedef struct removing_t {
    const apr_array_header_t *ids; /* apr_int64_t */
    cib_remove_e which;
    apr_array_header_t *gone;    /* apr_int64_t: those whose files may go */
    apr_array_header_t *blobs;   /* const char * */
    apr_array_header_t *tagsets; /* apr_int64_t: those that they named */
} removing_t;

static cib_error_t *take_blobs(cib_db_t *db, apr_int64_t id, removing_t *removing, apr_pool_t *pool)
{
    apr_array_header_t *blobs;

    CIB_TRY(cib_q_artifacts_remove(db, id, &blobs, pool));
    apr_array_cat(removing->blobs, blobs);
    APR_ARRAY_PUSH(removing->gone, apr_int64_t) = id;
    return CIB_OK;
}

static void begin(removing_t *removing, apr_pool_t *pool)
{
    removing->gone = apr_array_make(pool, 8, sizeof(apr_int64_t));
    removing->blobs = apr_array_make(pool, 8, sizeof(const char *));
    removing->tagsets = apr_array_make(pool, 4, sizeof(apr_int64_t));
}

/* The rows are gone: whatever of the files a kill leaves here is an orphan to upkeep. */
static void remove_files(const cib_ctx_t *ctx, const removing_t *removing, apr_int64_t *freed)
{
    cib_blobs_remove(ctx, removing->blobs, freed);
    for (int i = 0; i < removing->gone->nelts; i++) {
        apr_int64_t id = APR_ARRAY_IDX(removing->gone, i, apr_int64_t);
        apr_int64_t bytes = 0;
        apr_status_t rv = cib_tracefile_remove(ctx->storage, id, &bytes, ctx->pool);

        if (rv != APR_SUCCESS)
            cib_log(ctx, CIB_LOG_WARNING, rv,
                    "CIB0320: cannot remove the trace of build %" APR_INT64_T_FMT, id);
        else if (freed)
            *freed += bytes;
    }
}

/* --- removing -------------------------------------------------------------------------------- */

/* The build, if it may go: who adds one that needs it has locked it, so that either this is seen
 * here, or the removal there. */
static cib_error_t *find_removable(cib_db_t *db, apr_int64_t id, cib_remove_e which,
                                   cib_build_t **build, apr_pool_t *pool)
{
    int needed = 0;

    CIB_TRY(cib_q_build(db, id, build, pool));
    if (*build && which == CIB_REMOVE_UNNEEDED)
        CIB_TRY(cib_q_build_needed(db, id, &needed, pool));
    if (*build && (needed || !cib_status_ended((*build)->status)))
        *build = NULL;
    return CIB_OK;
}

static void note_tagset(apr_array_header_t *tagsets, apr_int64_t id)
{
    for (int i = 0; i < tagsets->nelts; i++) {
        if (APR_ARRAY_IDX(tagsets, i, apr_int64_t) == id)
            return;
    }
    APR_ARRAY_PUSH(tagsets, apr_int64_t) = id;
}

static cib_error_t *remove_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    removing_t *removing = baton;

    begin(removing, pool);
    CIB_TRY(cib_q_builds_lock(db, removing->ids, pool));
    for (int i = 0; i < removing->ids->nelts; i++) {
        apr_int64_t id = APR_ARRAY_IDX(removing->ids, i, apr_int64_t);
        cib_build_t *build;

        CIB_TRY(find_removable(db, id, removing->which, &build, pool));
        if (!build)
            continue;
        CIB_TRY(take_blobs(db, id, removing, pool));
        CIB_TRY(cib_q_build_remove(db, id, pool));
        note_tagset(removing->tagsets, build->tagset_id);
    }
    for (int i = 0; i < removing->tagsets->nelts; i++)
        CIB_TRY(cib_q_tagset_forget(db, APR_ARRAY_IDX(removing->tagsets, i, apr_int64_t), pool));
    return CIB_OK;
}

cib_error_t *cib_builds_remove(const cib_ctx_t *ctx, const apr_array_header_t *ids,
                               cib_remove_e which, int *removed, apr_int64_t *freed)
{
    removing_t removing = {.ids = ids, .which = which};

    if (!ids->nelts)
        return CIB_OK;
    CIB_TRY(cib_write(ctx, remove_rows, &removing));
    remove_files(ctx, &removing, freed);
    *removed += removing.gone->nelts;
    return CIB_OK;
}

cib_error_t *cib_build_remove(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *freed)
{
    apr_array_header_t *ids = apr_array_make(ctx->pool, 1, sizeof(apr_int64_t));
    cib_build_t *build;
    int removed = 0;

    if (freed)
        *freed = 0;
    CIB_TRY(cib_build_get(ctx, id, &build));
    APR_ARRAY_PUSH(ids, apr_int64_t) = id;
    CIB_TRY(cib_builds_remove(ctx, ids, CIB_REMOVE_ENDED, &removed, freed));
    if (!removed)
        return cib_error(ctx->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "build %" APR_INT64_T_FMT " is %s and cannot be removed", id,
                         cib_status_name(build->status));
    return CIB_OK;
}

/* --- erasing --------------------------------------------------------------------------------- */

static cib_error_t *erase(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    removing_t *removing = baton;
    apr_int64_t id = APR_ARRAY_IDX(removing->ids, 0, apr_int64_t);
    cib_build_t *build;

    begin(removing, pool);
    CIB_TRY(cib_transition_lock(db, id, &build, pool));
    if (!build)
        return cib_no_record(pool, "build", id);
    if (!cib_status_ended(build->status))
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "build %" APR_INT64_T_FMT " is %s; only an ended build can be erased", id,
                         cib_status_name(build->status));
    if (build->erased_at)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "build %" APR_INT64_T_FMT " has been erased already", id);
    CIB_TRY(take_blobs(db, id, removing, pool));
    return cib_q_build_erase(db, id, apr_time_now(), pool);
}

cib_error_t *cib_build_erase(const cib_ctx_t *ctx, apr_int64_t id)
{
    apr_array_header_t *ids = apr_array_make(ctx->pool, 1, sizeof(apr_int64_t));
    removing_t removing = {.ids = ids};

    APR_ARRAY_PUSH(ids, apr_int64_t) = id;
    CIB_TRY(cib_write(ctx, erase, &removing));
    remove_files(ctx, &removing, NULL);
    return CIB_OK;
}

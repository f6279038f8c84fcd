/* Artifacts that there are, and whether there may be more. */
#include <string.h>

#include "core/cib_artifact.h"
#include "files/cib_blob.h"
#include "internal.h"
#include "space.h"

/* From here on sendfile beats a read into memory. */
#define SENDFILE_FROM (256 * 1024)

/* --- may there be more? ---------------------------------------------------------------------- */

cib_error_t *cib_space_check(const cib_ctx_t *ctx)
{
    apr_int64_t free_bytes;
    apr_status_t rv = cib_storage_free_bytes(ctx->storage, &free_bytes, ctx->pool);

    if (rv != APR_SUCCESS)
        return cib_error_system(ctx->pool, rv, "cannot ask for the free space of %s",
                                ctx->storage->dir);
    if (free_bytes >= ctx->limits->min_free)
        return CIB_OK;
    return cib_error_detail(
        ctx->pool,
        cib_error(ctx->pool, CIB_REASON_NO_SPACE, APR_SUCCESS,
                  "the storage of this server is almost full: less than %s left "
                  "(CIBuildsMinFree)",
                  cib_size_format(ctx->limits->min_free, ctx->pool)),
        "uploads are refused: %s left in %s, less than CIBuildsMinFree (%s)",
        cib_size_format(free_bytes, ctx->pool), ctx->storage->dir,
        cib_size_format(ctx->limits->min_free, ctx->pool));
}

cib_error_t *cib_space_too_large(const cib_ctx_t *ctx)
{
    return cib_error(ctx->pool, CIB_REASON_TOO_LARGE, APR_SUCCESS,
                     "the file is larger than this server takes: at most %s "
                     "(CIBuildsMaxArtifactSize)",
                     cib_size_format(ctx->limits->max_artifact_size, ctx->pool));
}

cib_error_t *cib_artifact_allowed(const cib_ctx_t *ctx, const cib_build_t *build, apr_int64_t size)
{
    apr_int64_t most = ctx->limits->max_artifact_size;

    if (!ctx->limits->artifacts)
        return cib_error(ctx->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL);
    if (build->status != CIB_RUNNING)
        return cib_error(ctx->pool, CIB_REASON_NOT_RUNNING, APR_SUCCESS, "Build is not running!");
    if (most != CIB_UNLIMITED && (most == 0 || size > most))
        return cib_space_too_large(ctx);
    return cib_space_check(ctx);
}

cib_error_t *cib_artifact_expiry(const cib_ctx_t *ctx, const char *expire_in, apr_time_t *expire_at)
{
    apr_interval_time_t duration = ctx->limits->artifact_expire;
    apr_time_t now = apr_time_now();

    *expire_at = 0;
    if (expire_in && *expire_in && cib_human_duration_parse(expire_in, &duration) != APR_SUCCESS)
        return cib_error(ctx->pool, CIB_REASON_INVALID, APR_SUCCESS, "expire_in is not a duration");
    if (duration == CIB_UNLIMITED || duration > APR_INT64_MAX - now)
        return CIB_OK;
    *expire_at = now + duration;
    return CIB_OK;
}

/* --- what is there --------------------------------------------------------------------------- */

typedef struct asking_t {
    apr_int64_t build_id;
    const char *type;
    cib_artifact_t *artifact;
    apr_array_header_t *artifacts; /* cib_artifact_t * */
    apr_array_header_t *blobs;     /* const char * */
} asking_t;

static cib_error_t *get(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_artifact(db, asking->build_id, asking->type, &asking->artifact, pool);
}

int cib_artifact_expired(const cib_artifact_t *artifact, apr_time_t now)
{
    return artifact->expire_at && artifact->expire_at <= now;
}

cib_error_t *cib_artifact_get(const cib_ctx_t *ctx, apr_int64_t build_id, const char *type,
                              cib_artifact_t **artifact)
{
    asking_t asking = {.build_id = build_id, .type = type};

    *artifact = NULL;
    CIB_TRY(cib_read(ctx, get, &asking));
    if (asking.artifact && !cib_artifact_expired(asking.artifact, apr_time_now()))
        *artifact = asking.artifact;
    return CIB_OK;
}

static cib_error_t *list(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_artifacts(db, asking->build_id, &asking->artifacts, pool);
}

cib_error_t *cib_artifact_list(const cib_ctx_t *ctx, apr_int64_t build_id,
                               apr_array_header_t **artifacts)
{
    asking_t asking = {.build_id = build_id};
    apr_time_t now = apr_time_now();

    CIB_TRY(cib_read(ctx, list, &asking));
    *artifacts = apr_array_make(ctx->pool, asking.artifacts->nelts + 1, sizeof(cib_artifact_t *));
    for (int i = 0; i < asking.artifacts->nelts; i++) {
        cib_artifact_t *artifact = APR_ARRAY_IDX(asking.artifacts, i, cib_artifact_t *);

        if (!cib_artifact_expired(artifact, now))
            APR_ARRAY_PUSH(*artifacts, cib_artifact_t *) = artifact;
    }
    return CIB_OK;
}

static apr_status_t open_blob(const cib_ctx_t *ctx, const cib_artifact_t *artifact,
                              apr_file_t **file)
{
    apr_int64_t size;
    apr_status_t rv = cib_blob_open(file, &size, ctx->storage, CIB_AREA_ARTIFACTS, artifact->blob,
                                    artifact->size >= SENDFILE_FROM, ctx->pool);

    if (rv == APR_SUCCESS && size != artifact->size) {
        apr_file_close(*file);
        rv = APR_EINCOMPLETE;
    }
    return rv;
}

cib_error_t *cib_artifact_open(const cib_ctx_t *ctx, apr_int64_t build_id, const char *type,
                               cib_artifact_t **artifact, apr_file_t **file)
{
    apr_status_t rv = APR_SUCCESS;

    *file = NULL;
    /* a second look: between row and file another upload may have put itself in the place */
    for (int looks = 0; looks < 2; looks++) {
        CIB_TRY(cib_artifact_get(ctx, build_id, type, artifact));
        if (!*artifact)
            return cib_error(ctx->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
        rv = open_blob(ctx, *artifact, file);
        if (rv == APR_SUCCESS)
            return CIB_OK;
    }
    *file = NULL;
    return cib_error_detail(ctx->pool, cib_error(ctx->pool, CIB_REASON_INTERNAL, rv, NULL),
                            "the artifact file %s of build %" APR_INT64_T_FMT
                            " is gone or damaged; `ci-builds check` says more",
                            (*artifact)->blob, build_id);
}

static cib_error_t *remove_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_artifacts_remove(db, asking->build_id, &asking->blobs, pool);
}

cib_error_t *cib_artifact_delete(const cib_ctx_t *ctx, apr_int64_t build_id, apr_int64_t *freed)
{
    asking_t asking = {.build_id = build_id};

    if (freed)
        *freed = 0;
    CIB_TRY(cib_write(ctx, remove_rows, &asking));
    cib_blobs_remove(ctx, asking.blobs, freed);
    return CIB_OK;
}

/* The defaults, and what every rule does the same way. */
#include <stdarg.h>
#include <string.h>

#include <apr_strings.h>

#include "internal.h"

const cib_limits_t cib_limits_default = {
    .artifacts = 1,
    .max_artifact_size = 100 * 1024 * 1024,
    .max_trace_size = 100 * 1024 * 1024,
    .min_free = 64 * 1024 * 1024,
    .artifact_expire = CIB_UNLIMITED,
    .stuck_timeout = APR_TIME_C(3600) * APR_USEC_PER_SEC,
    .ack_timeout = APR_TIME_C(60) * APR_USEC_PER_SEC,
    .history = CIB_UNLIMITED,
};

cib_error_t *cib_read(const cib_ctx_t *ctx, cib_section_fn section, void *baton)
{
    return cib_store_read(ctx->store, ctx->source, section, baton, ctx->pool);
}

cib_error_t *cib_write(const cib_ctx_t *ctx, cib_section_fn section, void *baton)
{
    return cib_store_write(ctx->store, ctx->source, CIB_WRITE_MANY, section, baton, ctx->pool);
}

cib_error_t *cib_write_one(const cib_ctx_t *ctx, cib_section_fn section, void *baton)
{
    return cib_store_write(ctx->store, ctx->source, CIB_WRITE_ONE, section, baton, ctx->pool);
}

cib_error_t *cib_gather(const cib_ctx_t *ctx, cib_gather_e kind, const char *key,
                        cib_wishes_fn section, void *baton)
{
    return cib_store_gather(ctx->store, ctx->source, kind, key, section, baton, ctx->pool);
}

cib_ctx_t cib_ctx_below(const cib_ctx_t *ctx)
{
    cib_ctx_t below = *ctx;

    apr_pool_create(&below.pool, ctx->pool);
    return below;
}

void cib_log(const cib_ctx_t *ctx, cib_log_e level, apr_status_t rv, const char *fmt, ...)
{
    va_list args;
    char line[1024];

    va_start(args, fmt);
    apr_vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    ctx->log(ctx->log_baton, level, rv, line);
}

void cib_log_error(const cib_ctx_t *ctx, const char *id, const cib_error_t *err)
{
    if (err)
        cib_log(ctx, CIB_LOG_ERROR, APR_SUCCESS, "%s: %s", id, cib_error_text(err, ctx->pool));
}

int cib_text_has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return 1;
    }
    return 0;
}

cib_error_t *cib_text_check(const char *what, const char *text, apr_size_t max, apr_pool_t *pool)
{
    if (!text || !*text)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "%s must not be empty", what);
    if (strlen(text) > max)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is longer than %lu bytes", what,
                         (unsigned long)max);
    if (!cib_is_utf8(text, strlen(text)))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is not valid UTF-8", what);
    if (cib_text_has_control(text))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "%s holds control characters",
                         what);
    return CIB_OK;
}

const char *cib_text_tame(const char *text, apr_size_t max, apr_pool_t *pool)
{
    apr_size_t len;
    char *tame;

    if (!text || !cib_is_utf8(text, strlen(text)))
        return NULL;
    len = strlen(text);
    if (len > max) {
        /* not between the bytes of one character */
        for (len = max; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
            ;
    }
    tame = apr_pstrmemdup(pool, text, len);
    for (char *at = tame; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
    }
    return tame;
}

cib_error_t *cib_no_record(apr_pool_t *pool, const char *kind, apr_int64_t id)
{
    return cib_error(pool, CIB_REASON_NO_RECORD, APR_SUCCESS, "there is no %s %" APR_INT64_T_FMT,
                     kind, id);
}

void cib_blobs_remove(const cib_ctx_t *ctx, const apr_array_header_t *blobs, apr_int64_t *freed)
{
    for (int i = 0; i < blobs->nelts; i++) {
        const char *blob = APR_ARRAY_IDX(blobs, i, const char *);
        apr_int64_t bytes = 0;
        apr_status_t rv =
            cib_storage_remove(ctx->storage, CIB_AREA_ARTIFACTS, blob, &bytes, ctx->pool);

        if (rv != APR_SUCCESS)
            cib_log(ctx, CIB_LOG_WARNING, rv, "CIB0300: cannot remove the artifact file %s", blob);
        else if (freed)
            *freed += bytes;
    }
}

/* Traces that come whole, in the body of a PUT. */
#include <string.h>

#include <zlib.h>

#include "core/cib_mask.h"
#include "core/cib_trace.h"
#include "internal.h"
#include "space.h"
#include "traceclaim.h"
#include "tracewriter.h"

/* So much of an unproven trace may come whatever is left of the disk: more than most are. */
#define UNPROVEN_MOST (256 * 1024)

struct cib_trace_replace_t {
    const cib_ctx_t *ctx;
    const cib_build_t *build;
    cib_sink_t sink;
    int discard;
    int unproven;
    apr_file_t *spool;
    apr_int64_t spool_at; /* where its next byte goes unless sought */
    char *buffer;
    apr_size_t buffered;
    cib_tracewriter_t writer;
};

static cib_error_t *trouble(const cib_trace_replace_t *replace, apr_status_t rv)
{
    return cib_error_system(replace->ctx->pool, rv,
                            "cannot write the trace of build %" APR_INT64_T_FMT,
                            replace->build->id);
}

static apr_status_t put_in_spool(void *baton, apr_int64_t offset, const char *data, apr_size_t len)
{
    cib_trace_replace_t *replace = baton;
    apr_off_t at = offset;
    apr_status_t rv = APR_SUCCESS;

    if (offset != replace->spool_at)
        rv = apr_file_seek(replace->spool, APR_SET, &at);
    if (rv == APR_SUCCESS)
        rv = apr_file_write_full(replace->spool, data, len, NULL);
    replace->spool_at = offset + (apr_int64_t)len;
    return rv;
}

static cib_error_t *flush(cib_trace_replace_t *replace)
{
    cib_tracewriter_t *writer = &replace->writer;
    apr_status_t rv = APR_SUCCESS;

    if (replace->buffered && cib_tracewriter_cares(writer))
        rv = cib_tracewriter_write(writer, replace->buffer, replace->buffered);
    else
        cib_tracewriter_skip(writer, (apr_int64_t)replace->buffered);
    replace->buffered = 0;
    return rv == APR_SUCCESS ? CIB_OK : trouble(replace, rv);
}

static cib_error_t *check_room(const cib_trace_replace_t *replace)
{
    cib_ctx_t below;

    if (!replace->unproven || replace->writer.state.stored < UNPROVEN_MOST)
        return CIB_OK;
    below = cib_ctx_below(replace->ctx);
    CIB_TRY(cib_space_check(&below));
    apr_pool_destroy(below.pool);
    return CIB_OK;
}

static cib_error_t *take(void *baton, const char *data, apr_size_t len)
{
    cib_trace_replace_t *replace = baton;
    cib_trace_state_t *state = &replace->writer.state;

    if (replace->discard)
        return CIB_OK;
    state->crc = (apr_uint32_t)crc32_z(state->crc, (const Bytef *)data, len);
    while (len) {
        apr_size_t part = CIB_TRACE_CHUNK - replace->buffered;

        if (part > len)
            part = len;
        memcpy(replace->buffer + replace->buffered, data, part);
        replace->buffered += part;
        data += part;
        len -= part;
        if (replace->buffered < CIB_TRACE_CHUNK)
            continue;
        CIB_TRY(check_room(replace));
        CIB_TRY(flush(replace));
    }
    return CIB_OK;
}

cib_error_t *cib_trace_replace_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                                     cib_trace_replace_t **replace, const cib_sink_t **sink)
{
    cib_trace_replace_t *made = apr_pcalloc(ctx->pool, sizeof(*made));
    const cib_trace_state_t fresh = {.claim = build->claim, .tail = ""};
    cib_mask_t *mask;
    apr_status_t rv;

    made->ctx = ctx;
    made->build = build;
    made->discard = !cib_trace_takes(build, apr_time_now());
    made->sink.write = take;
    made->sink.baton = made;
    *replace = made;
    *sink = &made->sink;
    if (made->discard)
        return CIB_OK;
    CIB_TRY(cib_mask_for_build(ctx, build, &mask));
    rv = cib_tracefile_spool(&made->spool, ctx->storage, build->id, ctx->pool);
    if (rv != APR_SUCCESS)
        return trouble(made, rv);
    made->buffer = apr_palloc(ctx->pool, CIB_TRACE_CHUNK);
    made->writer.put = put_in_spool;
    made->writer.baton = made;
    cib_tracewriter_begin(&made->writer, mask, ctx->limits->max_trace_size, &fresh, ctx->pool);
    return CIB_OK;
}

void cib_trace_replace_unproven(cib_trace_replace_t *replace)
{
    replace->unproven = 1;
}

cib_error_t *cib_trace_replace_finish(cib_trace_replace_t *replace)
{
    const cib_ctx_t *ctx = replace->ctx;
    cib_trace_state_t state;
    cib_tracefile_t *trace;
    apr_pool_t *pool;
    cib_error_t *err;

    if (replace->discard)
        return CIB_OK;
    CIB_TRY(flush(replace));
    apr_pool_create(&pool, ctx->pool);
    err = cib_trace_lock_claim(ctx, replace->build, &trace, &state, pool);
    if (!err) {
        apr_status_t rv = cib_tracefile_replace(trace, replace->spool, &replace->writer.state);

        if (rv != APR_SUCCESS)
            err = trouble(replace, rv);
    }
    apr_pool_destroy(pool);
    return err;
}

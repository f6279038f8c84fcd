/* Traces: bytes that are appended, and what is there. */
#include <string.h>

#include <zlib.h>

#include "core/cib_mask.h"
#include "core/cib_trace.h"
#include "internal.h"
#include "traceclaim.h"
#include "tracewriter.h"

/* --- looking --------------------------------------------------------------------------------- */

static cib_error_t *trouble(apr_pool_t *pool, apr_status_t rv, const char *what, apr_int64_t id)
{
    return cib_error_system(pool, rv, "cannot %s the trace of build %" APR_INT64_T_FMT, what, id);
}

/* All zero where there is no trace. */
static cib_error_t *look(const cib_ctx_t *ctx, apr_int64_t id, cib_trace_state_t *state)
{
    apr_status_t rv = cib_tracefile_stat(ctx->storage, id, state, ctx->pool);

    if (rv == APR_SUCCESS)
        return CIB_OK;
    memset(state, 0, sizeof(*state));
    state->tail = "";
    return APR_STATUS_IS_ENOENT(rv) ? CIB_OK : trouble(ctx->pool, rv, "read", id);
}

cib_error_t *cib_trace_received(const cib_ctx_t *ctx, const cib_build_t *build,
                                apr_int64_t *received)
{
    apr_uint32_t crc;

    return cib_trace_digest(ctx, build, received, &crc);
}

cib_error_t *cib_trace_digest(const cib_ctx_t *ctx, const cib_build_t *build, apr_int64_t *received,
                              apr_uint32_t *crc)
{
    cib_trace_state_t state;

    *received = 0;
    *crc = 0;
    CIB_TRY(look(ctx, build->id, &state));
    if (state.claim == build->claim) {
        *received = state.received;
        *crc = state.crc;
    }
    return CIB_OK;
}

apr_int64_t cib_trace_size(const cib_ctx_t *ctx, apr_int64_t build_id)
{
    cib_trace_state_t state;
    cib_error_t *err = look(ctx, build_id, &state);

    cib_log_error(ctx, "CIB0310", err);
    return err ? 0 : state.stored;
}

cib_error_t *cib_trace_open(const cib_ctx_t *ctx, apr_int64_t build_id, apr_file_t **file,
                            apr_int64_t *size)
{
    cib_trace_state_t state;
    apr_finfo_t info;
    apr_status_t rv;

    *file = NULL;
    *size = 0;
    /* a log that is replaced in between may be shorter than the state before it says */
    rv = cib_tracefile_open(file, ctx->storage, build_id, ctx->pool);
    if (APR_STATUS_IS_ENOENT(rv)) {
        *file = NULL;
        return CIB_OK;
    }
    if (rv == APR_SUCCESS)
        rv = apr_file_info_get(&info, APR_FINFO_SIZE, *file);
    if (rv != APR_SUCCESS)
        return trouble(ctx->pool, rv, "open", build_id);
    CIB_TRY(look(ctx, build_id, &state));
    *size = state.stored < info.size ? state.stored : info.size;
    return CIB_OK;
}

cib_error_t *cib_trace_sync(const cib_ctx_t *ctx, apr_int64_t build_id)
{
    cib_trace_state_t state;
    cib_tracefile_t *trace;
    apr_pool_t *pool;
    apr_status_t rv;

    /* taking the lock would make the files */
    rv = cib_tracefile_stat(ctx->storage, build_id, &state, ctx->pool);
    if (APR_STATUS_IS_ENOENT(rv))
        return CIB_OK;
    apr_pool_create(&pool, ctx->pool);
    if (rv == APR_SUCCESS)
        rv = cib_tracefile_lock(&trace, ctx->storage, build_id, &state, pool);
    if (rv == APR_SUCCESS)
        rv = cib_tracefile_sync(trace);
    apr_pool_destroy(pool);
    return rv == APR_SUCCESS ? CIB_OK : trouble(ctx->pool, rv, "sync", build_id);
}

/* --- whose bytes are taken ------------------------------------------------------------------- */

int cib_trace_takes(const cib_build_t *build, apr_time_t now)
{
    if (build->status == CIB_RUNNING)
        return 1;
    return cib_status_ended(build->status) && build->claim > 0 && !build->erased_at &&
           now - build->finished_at <= CIB_TRACE_LATE;
}

cib_error_t *cib_trace_lock_claim(const cib_ctx_t *ctx, const cib_build_t *build,
                                  cib_tracefile_t **trace, cib_trace_state_t *state,
                                  apr_pool_t *pool)
{
    apr_status_t rv = cib_tracefile_lock(trace, ctx->storage, build->id, state, pool);

    if (rv == APR_SUCCESS && state->claim < build->claim) {
        /* what an older claim left does not count; gone at once, so that no reader sees it mixed
         * with what comes now */
        memset(state, 0, sizeof(*state));
        state->claim = build->claim;
        state->tail = "";
        rv = cib_tracefile_commit(*trace, state);
    }
    if (rv != APR_SUCCESS)
        return trouble(ctx->pool, rv, "write", build->id);
    if (state->claim > build->claim)
        return cib_error_detail(ctx->pool,
                                cib_error(ctx->pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, NULL),
                                "bytes of claim %" APR_INT64_T_FMT " of build %" APR_INT64_T_FMT
                                " came after the next claim's",
                                build->claim, build->id);
    return CIB_OK;
}

/* --- appending ------------------------------------------------------------------------------- */

struct cib_trace_append_t {
    const cib_ctx_t *ctx;
    const cib_build_t *build;
    cib_sink_t sink;
    int discard;
    apr_int64_t len;       /* of the body so far */
    apr_uint32_t crc;      /* of it */
    char *buffer;          /* its beginning, or what is not yet in the spool */
    apr_size_t buffered;   /* at most CIB_TRACE_CHUNK */
    apr_file_t *spool;     /* NULL: it all is in the buffer */
    apr_int64_t spooled;   /* bytes in it */
    apr_int64_t keep_most; /* bytes of a body that may matter, or CIB_UNLIMITED */
};

static cib_error_t *spill(cib_trace_append_t *append)
{
    const cib_ctx_t *ctx = append->ctx;
    apr_status_t rv = APR_SUCCESS;

    if (!append->spool)
        rv = cib_tracefile_spool(&append->spool, ctx->storage, append->build->id, ctx->pool);
    if (rv == APR_SUCCESS)
        rv = apr_file_write_full(append->spool, append->buffer, append->buffered, NULL);
    if (rv != APR_SUCCESS)
        return trouble(ctx->pool, rv, "spool", append->build->id);
    append->spooled += (apr_int64_t)append->buffered;
    append->buffered = 0;
    return CIB_OK;
}

static cib_error_t *gather(void *baton, const char *data, apr_size_t len)
{
    cib_trace_append_t *append = baton;

    if (append->discard)
        return CIB_OK;
    append->crc = (apr_uint32_t)crc32_z(append->crc, (const Bytef *)data, len);
    append->len += (apr_int64_t)len;
    while (len) {
        apr_size_t part = CIB_TRACE_CHUNK - append->buffered;

        if (append->keep_most != CIB_UNLIMITED && append->spooled >= append->keep_most)
            return CIB_OK;
        if (part > len)
            part = len;
        memcpy(append->buffer + append->buffered, data, part);
        append->buffered += part;
        data += part;
        len -= part;
        if (append->buffered == CIB_TRACE_CHUNK && len)
            CIB_TRY(spill(append));
    }
    return CIB_OK;
}

cib_error_t *cib_trace_append_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                                    cib_trace_append_t **append, const cib_sink_t **sink)
{
    cib_trace_append_t *made = apr_pcalloc(ctx->pool, sizeof(*made));
    apr_int64_t limit = ctx->limits->max_trace_size;

    made->ctx = ctx;
    made->build = build;
    made->discard = !cib_trace_takes(build, apr_time_now());
    made->sink.write = gather;
    made->sink.baton = made;
    if (!made->discard)
        made->buffer = apr_palloc(ctx->pool, CIB_TRACE_CHUNK);
    if (limit == CIB_UNLIMITED ||
        __builtin_add_overflow(limit, CIB_TRACE_TAIL_MAX + CIB_TRACE_CHUNK, &made->keep_most))
        made->keep_most = CIB_UNLIMITED;
    *append = made;
    *sink = &made->sink;
    return CIB_OK;
}

static apr_status_t put_in_log(void *baton, apr_int64_t offset, const char *data, apr_size_t len)
{
    return cib_tracefile_write(baton, offset, data, len);
}

/* Feed what was gathered to the writer. */
static apr_status_t replay(cib_trace_append_t *append, cib_tracewriter_t *writer)
{
    apr_int64_t kept = append->spooled + (apr_int64_t)append->buffered;
    apr_status_t rv = APR_SUCCESS;

    if (append->spool) {
        apr_off_t start = 0;

        /* its last bytes too, so that the buffer can be read into */
        rv = apr_file_write_full(append->spool, append->buffer, append->buffered, NULL);
        if (rv == APR_SUCCESS)
            rv = apr_file_seek(append->spool, APR_SET, &start);
    }
    for (apr_int64_t done = 0; rv == APR_SUCCESS && done < kept;) {
        apr_int64_t left = kept - done;
        apr_size_t part = left < CIB_TRACE_CHUNK ? (apr_size_t)left : CIB_TRACE_CHUNK;

        if (append->spool)
            rv = apr_file_read_full(append->spool, append->buffer, part, NULL);
        if (rv == APR_SUCCESS && cib_tracewriter_cares(writer))
            rv = cib_tracewriter_write(writer, append->buffer, part);
        else
            cib_tracewriter_skip(writer, (apr_int64_t)part);
        done += (apr_int64_t)part;
    }
    cib_tracewriter_skip(writer, append->len - kept);
    return rv;
}

/* What was synced at the build's end is to be lost no more: of the state's two records the older
 * one says so, and that goes with the second append from now. So the bytes are synced before a
 * record speaks of them, and the record before it is acknowledged. */
static apr_status_t commit(const cib_trace_append_t *append, cib_tracefile_t *trace,
                           const cib_trace_state_t *state)
{
    int ended = append->build->status != CIB_RUNNING;
    apr_status_t rv = ended ? cib_tracefile_sync(trace) : APR_SUCCESS;

    if (rv == APR_SUCCESS)
        rv = cib_tracefile_commit(trace, state);
    return ended && rv == APR_SUCCESS ? cib_tracefile_sync(trace) : rv;
}

static cib_error_t *append_locked(cib_trace_append_t *append, const cib_mask_t *mask,
                                  apr_int64_t start, apr_int64_t *received, apr_pool_t *pool)
{
    const cib_ctx_t *ctx = append->ctx;
    cib_tracewriter_t writer;
    cib_trace_state_t state;
    cib_tracefile_t *trace;
    apr_status_t rv;

    CIB_TRY(cib_trace_lock_claim(ctx, append->build, &trace, &state, pool));
    *received = state.received;
    if (start != state.received)
        return cib_error(ctx->pool, CIB_REASON_OUT_OF_RANGE, APR_SUCCESS, NULL);
    if (!append->len)
        return CIB_OK;
    writer.put = put_in_log;
    writer.baton = trace;
    cib_tracewriter_begin(&writer, mask, ctx->limits->max_trace_size, &state, pool);
    rv = replay(append, &writer);
    writer.state.crc = (apr_uint32_t)crc32_combine(state.crc, append->crc, (z_off_t)append->len);
    if (rv == APR_SUCCESS)
        rv = commit(append, trace, &writer.state);
    if (rv != APR_SUCCESS)
        return trouble(ctx->pool, rv, "append to", append->build->id);
    *received = writer.state.received;
    return CIB_OK;
}

cib_error_t *cib_trace_append_finish(cib_trace_append_t *append, apr_int64_t start,
                                     apr_int64_t *received)
{
    const cib_ctx_t *ctx = append->ctx;
    cib_mask_t *mask = NULL;
    apr_pool_t *pool;
    cib_error_t *err;

    *received = 0;
    if (append->discard)
        return cib_trace_received(ctx, append->build, received);
    /* from the database, so before the lock */
    if (append->len)
        CIB_TRY(cib_mask_for_build(ctx, append->build, &mask));
    apr_pool_create(&pool, ctx->pool);
    err = append_locked(append, mask, start, received, pool);
    apr_pool_destroy(pool);
    return err;
}

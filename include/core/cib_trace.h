/* Traces: exact byte offsets, masked, never more bytes held than were sent. */
#ifndef CIB_TRACE_H
#define CIB_TRACE_H

#include "core/cib_build.h"
#include "util/cib_sink.h"

/* How long after its end a build's trace still takes bytes. */
#define CIB_TRACE_LATE apr_time_from_sec(300)

/* PATCH: bytes that begin at `start` of what was received. Usage: begin, the sink's writes, finish.
 * The sink gathers the body (64 KiB in memory, more in a spool file), so that a slow client holds
 * no lock. finish takes the build's lock, checks the offset, masks, writes and commits; `received`
 * takes the new length for `Range`. OUT_OF_RANGE: nothing was written, `received` is the length to
 * go on from. FORBIDDEN: the build was claimed anew meanwhile. Bytes for a build that waits
 * (again), or ended more than CIB_TRACE_LATE ago, are discarded whatever their offset, and the
 * length stays; those that come after the end and before that are on disk when they are
 * acknowledged. What a former claim left counts as nothing. Without finish nothing is left. `build`
 * must live as long as the context's pool. */
typedef struct cib_trace_append_t cib_trace_append_t;
cib_error_t *cib_trace_append_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                                    cib_trace_append_t **append, const cib_sink_t **sink);
cib_error_t *cib_trace_append_finish(cib_trace_append_t *append, apr_int64_t start,
                                     apr_int64_t *received);

/* PUT with a trace: everything is replaced, by nothing where the trace is empty. The bytes are
 * masked and spooled as they come, in constant memory; what is over the limit is counted and not
 * kept. Nothing is visible before finish. Whose bytes are taken is as above. */
typedef struct cib_trace_replace_t cib_trace_replace_t;
cib_error_t *cib_trace_replace_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                                     cib_trace_replace_t **replace, const cib_sink_t **sink);
/* Nobody has shown yet that these bytes are the build's runner's: a long trace is refused,
 * NO_SPACE, before it takes what CIBuildsMinFree keeps for those that are. */
void cib_trace_replace_unproven(cib_trace_replace_t *replace);
cib_error_t *cib_trace_replace_finish(cib_trace_replace_t *replace);

/* On disk afterwards; no trace is fine. */
cib_error_t *cib_trace_sync(const cib_ctx_t *ctx, apr_int64_t build_id);

/* Bytes received of the build's current claim, as the next append has to begin with: looked up
 * without the lock, to refuse a wrong offset before its body is read. 0 where there is no trace. */
cib_error_t *cib_trace_received(const cib_ctx_t *ctx, const cib_build_t *build,
                                apr_int64_t *received);

/* The same with the CRC-32 of these bytes, as the last PUT of v4 announces it. */
cib_error_t *cib_trace_digest(const cib_ctx_t *ctx, const cib_build_t *build, apr_int64_t *received,
                              apr_uint32_t *crc);

/* Bytes stored; 0 where there is none. */
apr_int64_t cib_trace_size(const cib_ctx_t *ctx, apr_int64_t build_id);

/* Open for reading; `*size` bytes are good. NULL file: there is none. */
cib_error_t *cib_trace_open(const cib_ctx_t *ctx, apr_int64_t build_id, apr_file_t **file,
                            apr_int64_t *size);

#endif

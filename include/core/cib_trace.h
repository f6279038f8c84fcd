/* Traces: exact byte offsets, masked, never more bytes held than were sent. */
#ifndef CIB_TRACE_H
#define CIB_TRACE_H

#include "core/cib_build.h"
#include "util/cib_sink.h"

/* How long after its end a build's trace still takes bytes. */
#define CIB_TRACE_LATE apr_time_from_sec(300)

/* PATCH: bytes that begin at `start` of what was received. Usage: begin (takes the build's lock and
 * checks the offset), write what arrives, end. `received` of end is the new length for `Range`. A
 * trace that is begun and not ended keeps what was written and acknowledged before. OUT_OF_RANGE
 * from begin: `*received` is the length to go on from. A build that ended more than CIB_TRACE_LATE
 * ago: bytes are discarded, the length stays. No database connection is held. To be given whole
 * bodies that are buffered or short reads: the lock is held from begin to end, so a caller whose
 * client is slow reads the body first (see cib_trace_append). */
typedef struct cib_trace_append_t cib_trace_append_t;

/* The whole of it for a body that was read into a file or memory piece by piece: the bytes are
 * first gathered by the sink (64 KiB in memory, then a spool file), the lock is taken at finish. */
cib_error_t *cib_trace_append_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                                    cib_trace_append_t **append, const cib_sink_t **sink);
cib_error_t *cib_trace_append_finish(cib_trace_append_t *append, apr_int64_t start,
                                     apr_int64_t *received);

/* PUT with a trace: everything is replaced. The bytes are masked and spooled as they come, in
 * constant memory; what is over the limit is counted and not kept. Nothing is visible before
 * finish. */
typedef struct cib_trace_replace_t cib_trace_replace_t;
cib_error_t *cib_trace_replace_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                                     cib_trace_replace_t **replace, const cib_sink_t **sink);
cib_error_t *cib_trace_replace_finish(cib_trace_replace_t *replace);

/* On disk afterwards; no trace is fine. */
cib_error_t *cib_trace_sync(const cib_ctx_t *ctx, apr_int64_t build_id);

/* Bytes received of the build's current claim, as the next append has to begin with: looked up
 * without the lock, to refuse a wrong offset before its body is read. 0 where there is no trace. */
cib_error_t *cib_trace_received(const cib_ctx_t *ctx, const cib_build_t *build,
                                apr_int64_t *received);

/* Bytes stored; 0 where there is none. */
apr_int64_t cib_trace_size(const cib_ctx_t *ctx, apr_int64_t build_id);

/* Open for reading; `*size` bytes are good. NULL file: there is none. */
cib_error_t *cib_trace_open(const cib_ctx_t *ctx, apr_int64_t build_id, apr_file_t **file,
                            apr_int64_t *size);

#endif

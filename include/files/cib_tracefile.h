/* The file behind a build's trace: bytes in <id>.log, and what they mean in <id>.state, which is
 * locked (flock) while anyone changes either and is never replaced. The state is written after the
 * bytes it speaks of, in one write: after a killed process the log may be longer than `stored`, and
 * the next writer cuts it. No secret is known here: masking is core's.
 */
#ifndef CIB_TRACEFILE_H
#define CIB_TRACEFILE_H

#include "files/cib_storage.h"

typedef struct cib_trace_state_t {
    apr_int64_t claim;    /* of which claim these bytes are */
    apr_int64_t received; /* bytes the runner sent and we acknowledged: what `Range` speaks of */
    apr_int64_t stored;   /* bytes kept in the log: received, less what was beyond the limit */
    apr_uint32_t crc;     /* CRC-32 of the bytes as received */
    apr_size_t tail_len;  /* the end of the received bytes that may be the beginning of a secret */
    const char *tail;
} cib_trace_state_t;

typedef struct cib_tracefile_t cib_tracefile_t;

/* Open and lock for writing; waits for the lock. Makes both files where they are not. `state` is
 * read (all zero for a new trace) into the object's pool. Closed and unlocked by close or with
 * `pool`. */
apr_status_t cib_tracefile_lock(cib_tracefile_t **trace, const cib_storage_t *storage,
                                apr_int64_t build_id, cib_trace_state_t *state, apr_pool_t *pool);

/* Write `len` bytes at `offset` of the log. */
apr_status_t cib_tracefile_write(cib_tracefile_t *trace, apr_int64_t offset, const char *data,
                                 apr_size_t len);

/* Cut the log to `state->stored` where it is longer and record `state`. */
apr_status_t cib_tracefile_commit(cib_tracefile_t *trace, const cib_trace_state_t *state);

/* Put the finished contents of `from` (a descriptor of the same filesystem that was made by
 * cib_tracefile_spool) in the log's place, atomically for readers, and record `state`. */
apr_status_t cib_tracefile_replace(cib_tracefile_t *trace, apr_file_t *from,
                                   const cib_trace_state_t *state);

/* An unnamed file beside the traces, for what may become a log. Gone with `pool` unless it did. */
apr_status_t cib_tracefile_spool(apr_file_t **spool, const cib_storage_t *storage,
                                 apr_int64_t build_id, apr_pool_t *pool);

/* Log and state are on disk afterwards. */
apr_status_t cib_tracefile_sync(cib_tracefile_t *trace);

void cib_tracefile_close(cib_tracefile_t *trace);

/* The state without the lock, for those who only look. APR_ENOENT: no trace yet. */
apr_status_t cib_tracefile_stat(const cib_storage_t *storage, apr_int64_t build_id,
                                cib_trace_state_t *state, apr_pool_t *pool);

/* Open the log for reading. APR_ENOENT. */
apr_status_t cib_tracefile_open(apr_file_t **log, const cib_storage_t *storage,
                                apr_int64_t build_id, apr_pool_t *pool);

/* Remove log and state, durably. */
apr_status_t cib_tracefile_remove(const cib_storage_t *storage, apr_int64_t build_id,
                                  apr_int64_t *freed, apr_pool_t *pool);

#endif

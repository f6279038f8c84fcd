/* The file behind a build's trace: bytes in <id>.log or <id>.log2, and in <id>.state which of the
 * two it is and what they mean. The state is locked (flock) while anyone changes either and is
 * never replaced; a log is, by the other one. No secret is known here: masking is core's.
 *
 * The state is written after the bytes it speaks of, in one write, into the one of two places that
 * does not hold the last one, with a digest. So a process may be killed anywhere: a record that is
 * torn leaves the one before it in force, and a log that is longer than `stored` is cut by the next
 * writer. Only a power cut can make the log shorter than its state says (live appends are not
 * synced): then the state before it counts, and where that too says more than there is the trace
 * begins anew with everything zero. What is left of the log cannot be continued: neither its CRC
 * nor a secret that its end cuts in two can be known from it, and the runner sends it all again.
 */
#ifndef CIB_TRACEFILE_H
#define CIB_TRACEFILE_H

#include "files/cib_storage.h"

/* The longest tail a state can hold. */
#define CIB_TRACE_TAIL_MAX 65536

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

/* Write `len` bytes at `offset` of the log. Nobody who looks for `stored` sees them before commit.
 */
apr_status_t cib_tracefile_write(cib_tracefile_t *trace, apr_int64_t offset, const char *data,
                                 apr_size_t len);

/* Record `state` and cut the log to `state->stored` where it is longer. APR_EINVAL: more is said to
 * be stored than there is, or the tail is too long. Where the record could not be
 * written the state before stays in force. */
apr_status_t cib_tracefile_commit(cib_tracefile_t *trace, const cib_trace_state_t *state);

/* Sync `from` (made by cib_tracefile_spool for this build, and still open), put it in the log's
 * place and record `state`, all at once: where that fails, or the process is killed, the old log
 * and its state are in force. Who has the old log open keeps it. */
apr_status_t cib_tracefile_replace(cib_tracefile_t *trace, apr_file_t *from,
                                   const cib_trace_state_t *state);

/* An unnamed, unbuffered file beside the traces to write and read, for what may become a log.
 * Closed with `pool`, and gone unless it did. */
apr_status_t cib_tracefile_spool(apr_file_t **spool, const cib_storage_t *storage,
                                 apr_int64_t build_id, apr_pool_t *pool);

/* Log and state are on disk afterwards. */
apr_status_t cib_tracefile_sync(cib_tracefile_t *trace);

void cib_tracefile_close(cib_tracefile_t *trace);

/* The last committed state for those who only look: without the lock, but where a writer is at work
 * on less than there was. The log has at least `stored` bytes. APR_ENOENT: no trace yet. */
apr_status_t cib_tracefile_stat(const cib_storage_t *storage, apr_int64_t build_id,
                                cib_trace_state_t *state, apr_pool_t *pool);

/* Open the log for reading. APR_ENOENT. It may be longer than `stored`, and may be cut while it is
 * read: never to be mapped. */
apr_status_t cib_tracefile_open(apr_file_t **log, const cib_storage_t *storage,
                                apr_int64_t build_id, apr_pool_t *pool);

/* State and log as they belong together, for who copies them: the first `stored` bytes of the log,
 * which is NULL where there are none. The lock is held only until both are open. What is appended
 * later may mask the last of these bytes; a log that is replaced stays as it was for us. Only a new
 * claim begins the same file anew, and then the state's claim is another afterwards. APR_ENOENT: no
 * trace. */
apr_status_t cib_tracefile_take(apr_file_t **log, const cib_storage_t *storage,
                                apr_int64_t build_id, cib_trace_state_t *state, apr_pool_t *pool);

/* Remove logs and state, durably; waits for the lock. APR_SUCCESS where there are none. `freed` (or
 * NULL) takes the log's bytes. */
apr_status_t cib_tracefile_remove(const cib_storage_t *storage, apr_int64_t build_id,
                                  apr_int64_t *freed, apr_pool_t *pool);

#endif

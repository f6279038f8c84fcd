/* The record in a trace's state file. There are two places for it, written in turn, each with a
 * number and a digest: whatever a killed process or a power cut tears is the record under way, and
 * the one before it is still whole. */
#ifndef CIB_FILES_TRACESTATE_H
#define CIB_FILES_TRACESTATE_H

#include "files/cib_tracefile.h"

/* Read the newest whole record that speaks of no more than `log_len` stored bytes; where there is
 * none, the state of a new trace. `sequence` takes the number after which the next record goes on.
 * `passed_over` (or NULL): there is a record that was not good; two writes get rid of it. */
apr_status_t cib_tracestate_read(int fd, apr_int64_t log_len, cib_trace_state_t *state,
                                 apr_uint64_t *sequence, int *passed_over, apr_pool_t *pool);

/* Write the record with that number: one more than the last one read or written. */
apr_status_t cib_tracestate_write(int fd, const cib_trace_state_t *state, apr_uint64_t sequence,
                                  apr_pool_t *pool);

#endif

/* The record in a trace's state file. There are two places for it, written in turn, each with a
 * number and a digest: whatever a killed process or a power cut tears is the record under way, and
 * the one before it is still whole. A record names the log it speaks of, one of two. */
#ifndef CIB_FILES_TRACESTATE_H
#define CIB_FILES_TRACESTATE_H

#include "files/cib_tracefile.h"

/* The place of a record among the others. */
typedef struct cib_tracestate_t {
    apr_uint64_t sequence; /* each record's is one more than that of the one before */
    int log;               /* 0 or 1: which of the two logs it speaks of */
} cib_tracestate_t;

/* Read the newest whole record that speaks of no more stored bytes than its log has (`lens`; below
 * 0 there is no such log); where there is none, the state of a new trace. `passed_over` (or NULL):
 * there is a record that was not good; two writes get rid of it. */
apr_status_t cib_tracestate_read(int fd, const apr_int64_t lens[2], cib_trace_state_t *state,
                                 cib_tracestate_t *at, int *passed_over, apr_pool_t *pool);

/* Write a record. */
apr_status_t cib_tracestate_write(int fd, const cib_trace_state_t *state,
                                  const cib_tracestate_t *at, apr_pool_t *pool);

#endif

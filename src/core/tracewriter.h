/* From bytes as received to bytes as stored: masked, and cut at the limit. */
#ifndef CIB_CORE_TRACEWRITER_H
#define CIB_CORE_TRACEWRITER_H

#include "core/cib_mask.h"
#include "files/cib_tracefile.h"

/* Bytes are handled so many at a time. */
#define CIB_TRACE_CHUNK 65536

/* Where stored bytes go: the log, or the spool file that becomes it. */
typedef apr_status_t (*cib_trace_put_fn)(void *baton, apr_int64_t offset, const char *data,
                                         apr_size_t len);

typedef struct cib_tracewriter_t {
    const cib_mask_t *mask;
    apr_int64_t limit; /* bytes that may be stored, or CIB_UNLIMITED */
    cib_trace_put_fn put;
    void *baton;
    cib_trace_state_t state; /* grows; its CRC is the caller's to keep */
    apr_pool_t *pools[2];    /* one holds the tail, the other is cleared for the next chunk */
    int turn;
} cib_tracewriter_t;

/* Begin where `state` stands; the writer's memory is in `pool` and does not grow with the bytes. */
void cib_tracewriter_begin(cib_tracewriter_t *writer, const cib_mask_t *mask, apr_int64_t limit,
                           const cib_trace_state_t *state, apr_pool_t *pool);

/* Take the next bytes. `data` is scribbled over. */
apr_status_t cib_tracewriter_write(cib_tracewriter_t *writer, char *data, apr_size_t len);

/* Count `len` bytes that are so far beyond the limit that they matter to nothing that is stored. */
void cib_tracewriter_skip(cib_tracewriter_t *writer, apr_int64_t len);

/* Does a further byte matter to what is stored, if only as the end of a secret? */
int cib_tracewriter_cares(const cib_tracewriter_t *writer);

#endif

/* From bytes as received to bytes as stored. */
#include <string.h>

#include "tracewriter.h"
#include "util/cib_text.h"

void cib_tracewriter_begin(cib_tracewriter_t *writer, const cib_mask_t *mask, apr_int64_t limit,
                           const cib_trace_state_t *state, apr_pool_t *pool)
{
    writer->mask = mask;
    writer->limit = limit;
    writer->state = *state;
    apr_pool_create(&writer->pools[0], pool);
    apr_pool_create(&writer->pools[1], pool);
    writer->turn = 0;
}

/* How many of the next bytes are stored. Once something was dropped nothing more is: what is stored
 * has no hole. */
static apr_size_t room(const cib_tracewriter_t *writer, apr_size_t len)
{
    const cib_trace_state_t *state = &writer->state;

    if (state->stored < state->received)
        return 0;
    if (writer->limit == CIB_UNLIMITED || writer->limit - state->stored >= (apr_int64_t)len)
        return len;
    return writer->limit > state->stored ? (apr_size_t)(writer->limit - state->stored) : 0;
}

/* Secrets that began in bytes already stored: those become x as well, as far as they are stored. */
static apr_status_t put_back(const cib_tracewriter_t *writer, apr_size_t reach)
{
    const cib_trace_state_t *state = &writer->state;
    apr_int64_t from = state->received - (apr_int64_t)reach;
    char xs[512];

    memset(xs, 'x', sizeof(xs));
    while (from < state->stored) {
        apr_int64_t left = state->stored - from;
        apr_size_t len = left < (apr_int64_t)sizeof(xs) ? (apr_size_t)left : sizeof(xs);
        apr_status_t rv = writer->put(writer->baton, from, xs, len);

        if (rv != APR_SUCCESS)
            return rv;
        from += (apr_int64_t)len;
    }
    return APR_SUCCESS;
}

apr_status_t cib_tracewriter_write(cib_tracewriter_t *writer, char *data, apr_size_t len)
{
    cib_trace_state_t *state = &writer->state;
    apr_pool_t *pool = writer->pools[writer->turn];
    apr_size_t stored = room(writer, len);
    apr_size_t reach;
    apr_status_t rv = APR_SUCCESS;

    /* the tail lives in the other one */
    apr_pool_clear(pool);
    writer->turn = !writer->turn;
    cib_mask_apply(writer->mask, state->tail, state->tail_len, data, len, &reach, &state->tail,
                   &state->tail_len, pool);
    if (reach)
        rv = put_back(writer, reach);
    if (rv == APR_SUCCESS && stored)
        rv = writer->put(writer->baton, state->stored, data, stored);
    if (rv != APR_SUCCESS)
        return rv;
    state->received += (apr_int64_t)len;
    state->stored += (apr_int64_t)stored;
    return APR_SUCCESS;
}

void cib_tracewriter_skip(cib_tracewriter_t *writer, apr_int64_t len)
{
    if (!len)
        return;
    writer->state.received += len;
    writer->state.tail = "";
    writer->state.tail_len = 0;
}

int cib_tracewriter_cares(const cib_tracewriter_t *writer)
{
    return writer->state.received - writer->state.stored <= CIB_TRACE_TAIL_MAX;
}

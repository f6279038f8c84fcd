/* Masking a trace: the first line is the limit (digits, or none), then secrets, a line each, to an
 * empty one; the rest is the trace. However it is cut and spread over requests, what is stored is
 * the beginning of the trace with every byte of every secret made an x.
 */
#include <string.h>

#include <apr_strings.h>

#include "fuzz.h"
#include "tracewriter.h"
#include "util/cib_text.h"

/* A larger trace is cut in one way only: that takes its time. */
#define LARGE 2048

typedef struct trace_t {
    apr_array_header_t *secrets;
    apr_size_t longest;
    apr_int64_t limit;
    const char *raw;
    const char *masked; /* as it must become */
    apr_size_t len;
} trace_t;

/* What masking means. */
static const char *masked_of(const trace_t *trace, apr_pool_t *pool)
{
    char *masked = apr_pmemdup(pool, trace->raw, trace->len);

    for (int s = 0; s < trace->secrets->nelts; s++) {
        const char *secret = APR_ARRAY_IDX(trace->secrets, s, const char *);
        const char *at = trace->raw, *end = trace->raw + trace->len;

        while ((at = memmem(at, (apr_size_t)(end - at), secret, strlen(secret)))) {
            memset(masked + (at - trace->raw), 'x', strlen(secret));
            at++;
        }
    }
    return masked;
}

/* ---- the mask alone ---- */

static void check_mask(const trace_t *trace, const cib_mask_t *mask, fuzz_cut_e how,
                       apr_pool_t *pool)
{
    char *text = apr_pmemdup(pool, trace->raw, trace->len);
    const char *tail = "";
    apr_size_t tail_len = 0, reach = 0, piece;
    fuzz_cuts_t cuts;

    fuzz_cuts_begin(&cuts, how, trace->raw, trace->len);
    for (apr_size_t at = 0; at < trace->len; at += piece) {
        char *copy;

        piece = fuzz_cut(&cuts, trace->len - at);
        copy = apr_pmemdup(pool, text + at, piece);
        cib_mask_apply(mask, tail, tail_len, copy, piece, &reach, &tail, &tail_len, pool);
        holds(reach <= at, "no more is reached back for than came");
        holds(reach < trace->longest || !reach, "nor more than a secret");
        holds(tail_len < trace->longest || !tail_len, "a tail is shorter than a secret");
        holds(tail_len <= at + piece && !memcmp(trace->raw + at + piece - tail_len, tail, tail_len),
              "it is the end of what came");
        if (piece)
            memcpy(text + at, copy, piece);
        memset(text + at - reach, 'x', reach);
    }
    holds(!memcmp(text, trace->masked, trace->len), "in pieces it is masked as the whole is");
}

/* ---- the writer, request by request ---- */

typedef struct log_t {
    char *bytes;
    apr_size_t room;
    apr_int64_t stored; /* as the state of the last request says */
    apr_int64_t end;
} log_t;

static apr_status_t put(void *baton, apr_int64_t offset, const char *data, apr_size_t len)
{
    log_t *log = baton;

    holds(offset >= 0 && offset <= log->end, "there is no hole in the log");
    holds(len <= log->room && (apr_size_t)offset <= log->room - len, "it has no more than came");
    memcpy(log->bytes + offset, data, len);
    if (offset + (apr_int64_t)len > log->end)
        log->end = offset + (apr_int64_t)len;
    return APR_SUCCESS;
}

/* One request of `len` bytes at `data`, in chunks; `state` goes on. Its tail is in `pool`. */
static void request(const trace_t *trace, const cib_mask_t *mask, log_t *log,
                    cib_trace_state_t *state, const char *data, apr_size_t len, fuzz_cuts_t *cuts,
                    apr_pool_t *pool)
{
    apr_pool_t *sub = NULL;
    cib_tracewriter_t writer = {.put = put, .baton = log};

    apr_pool_create(&sub, pool);
    /* the administrator may have changed it */
    cib_tracewriter_begin(&writer, mask, fuzz_draw(cuts, 4) ? trace->limit : CIB_UNLIMITED, state,
                          sub);
    while (len) {
        apr_size_t chunk = fuzz_cut(cuts, len);
        char *copy = apr_pmemdup(sub, data, chunk);

        if (cib_tracewriter_cares(&writer))
            holds(cib_tracewriter_write(&writer, copy, chunk) == APR_SUCCESS, "writing succeeds");
        else
            cib_tracewriter_skip(&writer, (apr_int64_t)chunk);
        data += chunk;
        len -= chunk;
    }
    *state = writer.state;
    /* as if it came out of the file */
    state->tail = apr_pmemdup(pool, state->tail, state->tail_len);
    apr_pool_destroy(sub);
}

static void check_writer(const trace_t *trace, const cib_mask_t *mask, apr_pool_t *pool)
{
    log_t log = {.bytes = apr_palloc(pool, trace->len), .room = trace->len};
    cib_trace_state_t state = {.tail = ""};
    apr_int64_t least = (apr_int64_t)trace->len;
    fuzz_cuts_t cuts;

    if (trace->limit != CIB_UNLIMITED && trace->limit < least)
        least = trace->limit;
    fuzz_cuts_begin(&cuts, FUZZ_PIECES, trace->raw, trace->len);
    for (apr_size_t at = 0, len; at < trace->len; at += len) {
        int dropped = state.stored < state.received;

        len = 1 + fuzz_draw(&cuts, trace->len - at);
        request(trace, mask, &log, &state, trace->raw + at, len, &cuts, pool);
        holds(state.received == (apr_int64_t)(at + len), "all is received");
        holds(dropped ? state.stored == log.stored : state.stored >= log.stored,
              "what is stored grows until something was dropped");
        holds(state.stored <= state.received && log.end == state.stored, "and is in the log");
        log.stored = state.stored;
    }
    holds(state.stored >= least, "all that the limit allows is stored");
    holds(!memcmp(log.bytes, trace->masked, (apr_size_t)state.stored),
          "the log is the masked trace");
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *limit = fuzz_line(&data, &len, pool), *secret;
    trace_t trace = {.secrets = apr_array_make(pool, 4, sizeof(const char *))};
    cib_mask_t *mask;

    if (cib_size_parse(limit, 1, &trace.limit) != APR_SUCCESS)
        trace.limit = CIB_UNLIMITED;
    while (*(secret = fuzz_line(&data, &len, pool)) && trace.secrets->nelts < 8) {
        APR_ARRAY_PUSH(trace.secrets, const char *) = secret;
        if (strlen(secret) > trace.longest)
            trace.longest = strlen(secret);
    }
    trace.raw = fuzz_expand(data, &len, pool);
    trace.len = len;
    trace.masked = masked_of(&trace, pool);
    mask = cib_mask_create(trace.secrets, pool);
    for (int how = len > LARGE ? FUZZ_PIECES : FUZZ_WHOLE; how < FUZZ_CUTS; how++)
        check_mask(&trace, mask, (fuzz_cut_e)how, pool);
    check_writer(&trace, mask, pool);
}

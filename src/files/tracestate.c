#include "tracestate.h"

#include <string.h>

#include "descriptor.h"
#include "util/cib_crypto.h"

/* By the log that the record speaks of. */
static const char *const magics[2] = {"CIBtrc1", "CIBtrc2"};
/* Where the second record is: behind the longest first one, at a page of its own. */
#define PLACE_LEN (4096 + CIB_TRACE_TAIL_MAX)

/* In the host's byte order: the front ends of one instance are of one kind. */
typedef struct record_t {
    char magic[8];
    apr_uint64_t sequence;
    apr_int64_t claim;
    apr_int64_t received;
    apr_int64_t stored;
    apr_uint32_t crc;
    apr_uint32_t tail_len;
    unsigned char digest[CIB_SHA256_LEN]; /* of record and tail, with this zero */
} record_t;

_Static_assert(sizeof(record_t) == 48 + CIB_SHA256_LEN, "the record has no gaps");

static apr_off_t place_of(apr_uint64_t sequence)
{
    return (apr_off_t)(sequence % 2) * PLACE_LEN;
}

/* Below 0: it is no record. */
static int log_of(const record_t *record)
{
    for (int log = 0; log < 2; log++) {
        if (memcmp(record->magic, magics[log], sizeof(record->magic)) == 0)
            return log;
    }
    return -1;
}

static int is_plausible(const record_t *record, int place)
{
    return log_of(record) >= 0 && record->sequence > 0 &&
           record->sequence % 2 == (apr_uint64_t)place && record->received >= 0 &&
           record->stored >= 0 && record->tail_len <= CIB_TRACE_TAIL_MAX;
}

/* The whole record at its place, tail behind it, in `pool`; NULL where it is torn. */
static apr_status_t read_whole(int fd, const record_t *head, const record_t **whole,
                               apr_pool_t *pool)
{
    apr_size_t got = 0, len = sizeof(*head) + head->tail_len;
    unsigned char claimed[CIB_SHA256_LEN], digest[CIB_SHA256_LEN];
    record_t *record = apr_palloc(pool, len);
    apr_status_t rv = cib_fd_read(fd, record, len, place_of(head->sequence), &got);

    *whole = NULL;
    if (rv != APR_SUCCESS || got < len)
        return rv;
    memcpy(claimed, record->digest, sizeof(claimed));
    memset(record->digest, 0, sizeof(record->digest));
    rv = cib_sha256(record, len, digest);
    /* the length is the head's: without the lock the record may have changed since */
    if (rv == APR_SUCCESS && memcmp(claimed, digest, sizeof(digest)) == 0 &&
        record->tail_len == head->tail_len)
        *whole = record;
    return rv;
}

static void take(cib_trace_state_t *state, const record_t *record)
{
    state->claim = record->claim;
    state->received = record->received;
    state->stored = record->stored;
    state->crc = record->crc;
    state->tail_len = record->tail_len;
    state->tail = (const char *)(record + 1);
}

static apr_status_t read_head(int fd, int place, record_t *head)
{
    apr_size_t got = 0;
    apr_status_t rv = cib_fd_read(fd, head, sizeof(*head), place_of((apr_uint64_t)place), &got);

    if (rv == APR_SUCCESS && (got < sizeof(*head) || !is_plausible(head, place)))
        head->sequence = 0;
    return rv;
}

apr_status_t cib_tracestate_read(int fd, const apr_int64_t lens[2], cib_trace_state_t *state,
                                 cib_tracestate_t *found, int *passed_over, apr_pool_t *pool)
{
    record_t heads[2];
    apr_status_t rv;
    int at, over = 0;

    memset(state, 0, sizeof(*state));
    state->tail = "";
    if ((rv = read_head(fd, 0, &heads[0])) != APR_SUCCESS ||
        (rv = read_head(fd, 1, &heads[1])) != APR_SUCCESS)
        return rv;
    at = heads[1].sequence > heads[0].sequence;
    found->sequence = 0; /* what is torn may have any number, and must not make the last be near */
    found->log = 0;
    for (int tries = 0; tries < 2; tries++, at = !at) {
        const record_t *whole = NULL;

        if (heads[at].sequence)
            rv = read_whole(fd, &heads[at], &whole, pool);
        if (rv != APR_SUCCESS)
            return rv;
        if (whole && log_of(whole) >= 0 && whole->stored <= lens[log_of(whole)]) {
            take(state, whole);
            found->sequence = whole->sequence;
            found->log = log_of(whole);
            break;
        }
        if (whole && whole->sequence > found->sequence)
            found->sequence = whole->sequence;
        over |= heads[at].sequence != 0;
    }
    if (passed_over)
        *passed_over = over;
    return APR_SUCCESS;
}

apr_status_t cib_tracestate_write(int fd, const cib_trace_state_t *state,
                                  const cib_tracestate_t *at, apr_pool_t *pool)
{
    apr_size_t len = sizeof(record_t) + state->tail_len;
    unsigned char digest[CIB_SHA256_LEN];
    record_t *record;
    apr_status_t rv;

    if (state->tail_len > CIB_TRACE_TAIL_MAX || state->received < 0 || state->stored < 0)
        return APR_EINVAL;
    record = apr_pcalloc(pool, len);
    memcpy(record->magic, magics[at->log], sizeof(record->magic));
    record->sequence = at->sequence;
    record->claim = state->claim;
    record->received = state->received;
    record->stored = state->stored;
    record->crc = state->crc;
    record->tail_len = (apr_uint32_t)state->tail_len;
    if (state->tail_len)
        memcpy(record + 1, state->tail, state->tail_len);
    rv = cib_sha256(record, len, digest);
    if (rv != APR_SUCCESS)
        return rv;
    memcpy(record->digest, digest, sizeof(digest));
    return cib_fd_write(fd, record, len, place_of(at->sequence));
}

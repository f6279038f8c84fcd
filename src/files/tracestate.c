#include "tracestate.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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

/* What is read at once: a record with a tail as most are, which is none or short. */
typedef struct block_t {
    record_t head; /* sequence 0: there is no record */
    char tail[1024 - sizeof(record_t)];
} block_t;

/* The record at its place, tail behind it. */
static apr_status_t copy_record(int fd, const block_t *block, record_t *record, apr_size_t len,
                                apr_size_t *got)
{
    if (len > sizeof(*block))
        return cib_fd_read(fd, record, len, place_of(block->head.sequence), got);
    memcpy(record, block, len);
    *got = len;
    return APR_SUCCESS;
}

/* The same in `pool`, if it is whole; NULL where it is torn. */
static apr_status_t read_whole(int fd, const block_t *block, const record_t **whole,
                               apr_pool_t *pool)
{
    apr_size_t got = 0, len = sizeof(block->head) + block->head.tail_len;
    unsigned char claimed[CIB_SHA256_LEN], digest[CIB_SHA256_LEN];
    record_t *record = apr_palloc(pool, len);
    apr_status_t rv = copy_record(fd, block, record, len, &got);

    *whole = NULL;
    if (rv != APR_SUCCESS || got < len)
        return rv;
    memcpy(claimed, record->digest, sizeof(claimed));
    memset(record->digest, 0, sizeof(record->digest));
    rv = cib_sha256(record, len, digest);
    /* the length is the head's: without the lock the record may have changed since */
    if (rv == APR_SUCCESS && memcmp(claimed, digest, sizeof(digest)) == 0 &&
        record->tail_len == block->head.tail_len)
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

/* What a short read leaves out is beyond the end of the file, or torn. */
static apr_status_t read_block(int fd, int place, block_t *block)
{
    ssize_t got;

    memset(block, 0, sizeof(*block));
    do {
        got = pread(fd, block, sizeof(*block), place_of((apr_uint64_t)place));
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno;
    if ((apr_size_t)got < sizeof(block->head) || !is_plausible(&block->head, place))
        block->head.sequence = 0;
    return APR_SUCCESS;
}

apr_status_t cib_tracestate_read(int fd, const apr_int64_t lens[2], cib_trace_state_t *state,
                                 cib_tracestate_t *found, int *passed_over, apr_pool_t *pool)
{
    block_t blocks[2];
    apr_status_t rv;
    int at, over = 0;

    memset(state, 0, sizeof(*state));
    state->tail = "";
    if ((rv = read_block(fd, 0, &blocks[0])) != APR_SUCCESS ||
        (rv = read_block(fd, 1, &blocks[1])) != APR_SUCCESS)
        return rv;
    at = blocks[1].head.sequence > blocks[0].head.sequence;
    found->sequence = 0; /* what is torn may have any number, and must not make the last be near */
    found->log = 0;
    for (int tries = 0; tries < 2; tries++, at = !at) {
        const record_t *whole = NULL;

        if (blocks[at].head.sequence)
            rv = read_whole(fd, &blocks[at], &whole, pool);
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
        over |= blocks[at].head.sequence != 0;
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

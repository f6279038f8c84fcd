/* The state file of a trace, damaged. The input is a script: records are written, torn, scribbled
 * over and cut off. Whatever happens to the file, what is read is the newest of the records that
 * are there whole, or nothing; never anything that nobody wrote.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "fuzz.h"
#include "tracestate.h"

#define SCRIPT_STEPS 64
/* A record without its tail. */
#define RECORD 80
/* Beyond the end of both records. */
#define FILE_MAX (2 * (4096 + CIB_TRACE_TAIL_MAX) + 256)

/* A record that was written, or of which a part was. */
typedef struct written_t {
    cib_trace_state_t state;
    cib_tracestate_t at;
    apr_off_t place;
    const char *bytes;
    apr_size_t len;
} written_t;

typedef struct script_t {
    const unsigned char *data;
    apr_size_t len;
    int fd;
    apr_array_header_t *written; /* written_t */
    apr_pool_t *pool;
} script_t;

/* A scratch file in memory, empty. */
static int scratch(int *fd)
{
    if (*fd < 0)
        *fd = memfd_create("tracestate", MFD_CLOEXEC);
    holds(*fd >= 0 && ftruncate(*fd, 0) == 0, "there is a file");
    return *fd;
}

/* The next number of the script; 0 at its end. */
static apr_uint32_t next(script_t *script, int bytes)
{
    apr_uint32_t number = 0;

    for (; bytes && script->len; bytes--, script->len--)
        number = number << 8 | *script->data++;
    return number;
}

/* ---- what must be read ---- */

static int is_whole(const script_t *script, const written_t *written)
{
    char *bytes = apr_palloc(script->pool, written->len);
    apr_size_t got = 0;

    holds(cib_fd_read(script->fd, bytes, written->len, written->place, &got) == APR_SUCCESS,
          "reading succeeds");
    return got == written->len && !memcmp(bytes, written->bytes, got);
}

static const written_t *newest(const script_t *script, const apr_int64_t lens[2])
{
    const written_t *best = NULL;

    for (int i = 0; i < script->written->nelts; i++) {
        const written_t *written = &APR_ARRAY_IDX(script->written, i, written_t);

        if (written->state.stored <= lens[written->at.log] && is_whole(script, written) &&
            (!best || written->at.sequence > best->at.sequence))
            best = written;
    }
    return best;
}

static void same_state(const cib_trace_state_t *got, const cib_trace_state_t *want)
{
    holds(got->claim == want->claim && got->received == want->received &&
              got->stored == want->stored && got->crc == want->crc,
          "the state is what was written");
    holds(got->tail_len == want->tail_len && !memcmp(got->tail, want->tail, got->tail_len),
          "and its tail");
}

static const apr_int64_t any_length[2] = {APR_INT64_MAX, APR_INT64_MAX};

/* Read, and hold it against what must be read. Returns whether something was passed over. */
static int read_checked(const script_t *script, const apr_int64_t lens[2], cib_trace_state_t *state,
                        cib_tracestate_t *at)
{
    const written_t *want = newest(script, lens);
    cib_trace_state_t none = {.tail = ""};
    int passed_over = 0;

    holds(cib_tracestate_read(script->fd, lens, state, at, &passed_over, script->pool) ==
              APR_SUCCESS,
          "reading succeeds");
    same_state(state, want ? &want->state : &none);
    holds(!want || (at->sequence == want->at.sequence && at->log == want->at.log),
          "the place is that record's");
    return passed_over;
}

/* ---- the steps ---- */

/* Write a record, or only its first bytes. */
static void write_record(script_t *script, const cib_trace_state_t *state,
                         const cib_tracestate_t *at, apr_size_t torn)
{
    static int aside = -1;
    written_t *written = apr_array_push(script->written);
    apr_size_t got = 0, len = RECORD + state->tail_len;
    char *bytes = apr_palloc(script->pool, len);

    holds(cib_tracestate_write(scratch(&aside), state, at, script->pool) == APR_SUCCESS,
          "a record can be written");
    written->place = at->sequence % 2 ? 4096 + CIB_TRACE_TAIL_MAX : 0;
    holds(cib_fd_read(aside, bytes, len, written->place, &got) == APR_SUCCESS && got == len,
          "it is at its place");
    holds(lseek(aside, 0, SEEK_END) == written->place + (apr_off_t)len, "and no longer");
    written->state = *state;
    written->at = *at;
    written->bytes = bytes;
    written->len = got;
    if (torn < got)
        got = torn;
    holds(cib_fd_write(script->fd, bytes, got, written->place) == APR_SUCCESS, "writing succeeds");
}

/* What a writer does at first: read, and get rid of what was passed over. */
static void begin_change(script_t *script, cib_trace_state_t *state, cib_tracestate_t *at)
{
    const apr_int64_t lens[2] = {next(script, 2), (apr_int64_t)next(script, 2) - 1};
    cib_trace_state_t again;
    cib_tracestate_t again_at;

    if (!read_checked(script, lens, state, at))
        return;
    for (int place = 0; place < 2; place++) {
        at->sequence++;
        write_record(script, state, at, FILE_MAX);
    }
    holds(!read_checked(script, any_length, &again, &again_at), "nothing is passed over now");
    same_state(&again, state);
}

static void change(script_t *script, apr_size_t torn)
{
    cib_trace_state_t state, again;
    cib_tracestate_t at, again_at;

    begin_change(script, &state, &at);
    state.claim = next(script, 1);
    state.received = next(script, 2);
    state.stored = next(script, 2);
    state.crc = next(script, 1);
    state.tail_len = next(script, 1);
    if (state.tail_len == 255)
        state.tail_len = CIB_TRACE_TAIL_MAX;
    state.tail = memset(apr_palloc(script->pool, state.tail_len), 't', state.tail_len);
    at.sequence++;
    at.log ^= state.claim & 1;
    write_record(script, &state, &at, torn);
    if (torn < FILE_MAX)
        return;
    read_checked(script, any_length, &again, &again_at);
    same_state(&again, &state);
}

static apr_off_t somewhere(script_t *script)
{
    return (apr_off_t)(next(script, 3) % FILE_MAX);
}

static void scribble(script_t *script)
{
    apr_off_t at = somewhere(script);
    apr_size_t len = next(script, 1);

    if (len > script->len)
        len = script->len;
    holds(cib_fd_write(script->fd, script->data, len, at) == APR_SUCCESS, "writing succeeds");
    script->data += len;
    script->len -= len;
}

static void flip(script_t *script)
{
    apr_off_t at = somewhere(script);
    apr_size_t got = 0;
    char c = 0;

    holds(cib_fd_read(script->fd, &c, 1, at, &got) == APR_SUCCESS, "reading succeeds");
    c ^= (char)next(script, 1);
    if (got)
        holds(cib_fd_write(script->fd, &c, 1, at) == APR_SUCCESS, "writing succeeds");
}

/* A place has again what it had once, as after a power cut. */
static void turn_back(script_t *script)
{
    const written_t *written;

    if (!script->written->nelts)
        return;
    written =
        &APR_ARRAY_IDX(script->written, (int)next(script, 1) % script->written->nelts, written_t);
    holds(cib_fd_write(script->fd, written->bytes, written->len, written->place) == APR_SUCCESS,
          "writing succeeds");
}

static void step(script_t *script)
{
    apr_int64_t lens[2];
    cib_trace_state_t state;
    cib_tracestate_t at;

    switch (next(script, 1)) {
    case 'w':
        change(script, FILE_MAX);
        break;
    case 't': /* torn */
        change(script, next(script, 1));
        break;
    case 's':
        scribble(script);
        break;
    case 'f':
        flip(script);
        break;
    case 'b':
        turn_back(script);
        break;
    case 'c':
        holds(ftruncate(script->fd, somewhere(script)) == 0, "cutting succeeds");
        break;
    default:
        lens[0] = next(script, 2);
        lens[1] = next(script, 2);
        read_checked(script, lens, &state, &at);
    }
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    static int fd = -1;
    script_t script = {(const unsigned char *)data, len, scratch(&fd),
                       apr_array_make(pool, 8, sizeof(written_t)), pool};

    for (int i = 0; i < SCRIPT_STEPS && script.len; i++)
        step(&script);
}

#include "scratch.h"

#include <sys/file.h>
#include <sys/resource.h>

#include "../../src/files/tempfile.h"
#include "files/cib_tracefile.h"

#define PLACE (4096 + CIB_TRACE_TAIL_MAX) /* where the record with an odd number is */
#define RECORD 80                         /* a record without its tail */

static const cib_storage_t *storage;

static char pattern_at(apr_int64_t at)
{
    return (char)('!' + at % 89 + at / 8191 % 5);
}

static char *pattern(apr_pool_t *pool, apr_int64_t from, apr_size_t len)
{
    char *data = apr_palloc(pool, len + 1);

    for (apr_size_t i = 0; i < len; i++)
        data[i] = pattern_at(from + (apr_int64_t)i);
    return data;
}

/* A state that can be checked from `received` alone. */
static cib_trace_state_t state_of(apr_pool_t *pool, apr_int64_t received, apr_size_t tail_len)
{
    cib_trace_state_t state = {5, received, received, 0, 0, NULL};

    if ((apr_int64_t)tail_len > received)
        tail_len = (apr_size_t)received;
    state.crc = (apr_uint32_t)received * 2654435761U;
    state.tail_len = tail_len;
    state.tail = pattern(pool, received - (apr_int64_t)tail_len, tail_len);
    return state;
}

static int is_sound(apr_pool_t *pool, const cib_trace_state_t *state)
{
    cib_trace_state_t want = state_of(pool, state->received, state->tail_len);

    return state->stored == state->received && state->crc == want.crc &&
           state->tail_len == want.tail_len &&
           (!state->tail_len || memcmp(state->tail, want.tail, want.tail_len) == 0) &&
           (state->received == 0 || state->claim == 5);
}

static const char *path_of(apr_pool_t *pool, apr_int64_t id, const char *extension)
{
    return apr_psprintf(pool, "%s/traces/%d/%d/%d%s", storage->dir, (int)(id / 1000000),
                        (int)(id / 1000 % 1000), (int)id, extension);
}

/* Bring the trace of `id` to `received` bytes. */
static apr_status_t append_to(apr_pool_t *parent, apr_int64_t id, apr_int64_t received,
                              apr_size_t tail_len)
{
    apr_pool_t *pool;
    cib_trace_state_t state, next;
    cib_tracefile_t *trace;
    apr_status_t rv;

    apr_pool_create(&pool, parent);
    rv = cib_tracefile_lock(&trace, storage, id, &state, pool);
    if (rv == APR_SUCCESS && received > state.received)
        rv = cib_tracefile_write(
            trace, state.stored,
            pattern(pool, state.received, (apr_size_t)(received - state.received)),
            (apr_size_t)(received - state.received));
    next = state_of(pool, received, tail_len);
    if (rv == APR_SUCCESS)
        rv = cib_tracefile_commit(trace, &next);
    apr_pool_destroy(pool);
    return rv;
}

static cib_trace_state_t stat_of(apr_pool_t *pool, apr_int64_t id)
{
    cib_trace_state_t state = {0};

    is_rv(cib_tracefile_stat(storage, id, &state, pool), APR_SUCCESS, "a look at the state");
    return state;
}

static int log_is(apr_pool_t *pool, apr_int64_t id, apr_int64_t want)
{
    apr_size_t got = 0;
    apr_file_t *log;
    char *data = apr_palloc(pool, (apr_size_t)want + 1);

    if (cib_tracefile_open(&log, storage, id, pool) != APR_SUCCESS)
        return 0;
    apr_file_read_full(log, data, (apr_size_t)want + 1, &got);
    apr_file_close(log);
    return got == (apr_size_t)want && memcmp(data, pattern(pool, 0, got), got) == 0;
}

static void test_life(apr_pool_t *pool)
{
    const apr_int64_t id = 2003004;
    cib_trace_state_t state = {1, 1, 1, 1, 1, NULL};
    cib_tracefile_t *trace = NULL;
    apr_file_t *log = NULL;
    apr_int64_t freed = -1;
    char text[8] = "";
    apr_size_t got;

    is_rv(cib_tracefile_stat(storage, id, &state, pool), APR_ENOENT, "no trace yet");
    is_rv(cib_tracefile_open(&log, storage, id, pool), APR_ENOENT, "... no log");
    is_rv(cib_tracefile_remove(storage, id, &freed, pool), APR_SUCCESS, "... removed all the same");
    is_rv(cib_tracefile_lock(&trace, storage, id, &state, pool), APR_SUCCESS, "a new trace");
    ok(state.claim == 0 && state.received == 0 && state.stored == 0 && state.crc == 0 &&
           state.tail_len == 0,
       "... is all zero");
    ok(exists(path_of(pool, id, ".log")) && exists(path_of(pool, id, ".state")),
       "... and both files are there");
    is_rv(cib_tracefile_write(trace, 0, "hello", 5), APR_SUCCESS, "write");
    is_int(stat_of(pool, id).stored, 0, "... is not there before commit");
    state = (cib_trace_state_t){7, 12, 5, 0xDEADBEEF, 2, "lo"};
    is_rv(cib_tracefile_commit(trace, &state), APR_SUCCESS, "commit");
    state.stored = 6;
    is_rv(cib_tracefile_commit(trace, &state), APR_EINVAL, "more than there is is refused");
    is_rv(cib_tracefile_write(trace, -1, "x", 1), APR_EINVAL, "so is a place before the log");
    is_rv(cib_tracefile_sync(trace), APR_SUCCESS, "sync");
    cib_tracefile_close(trace);
    state = stat_of(pool, id);
    ok(state.claim == 7 && state.received == 12 && state.stored == 5 && state.crc == 0xDEADBEEF &&
           state.tail_len == 2 && memcmp(state.tail, "lo", 2) == 0,
       "the state comes back whole");
    is_rv(cib_tracefile_open(&log, storage, id, pool), APR_SUCCESS, "the log opens");
    apr_file_read_full(log, text, 7, &got);
    is_str(text, "hello", "... and says what was written");
    is_rv(cib_tracefile_remove(storage, id, &freed, pool), APR_SUCCESS, "remove");
    is_int(freed, 5, "... frees the bytes");
    ok(!exists(path_of(pool, id, ".log")) && !exists(path_of(pool, id, ".state")),
       "... and both files");
    is_rv(cib_tracefile_lock(&trace, storage, 0, &state, pool), APR_EINVAL, "no build 0");
}

static void test_tails(apr_pool_t *pool)
{
    static const apr_size_t lens[] = {0, 1, 4015, 4016, 4017, CIB_TRACE_TAIL_MAX};
    cib_trace_state_t state;

    for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
        for (int turn = 0; turn < 2; turn++) {
            is_rv(append_to(pool, 20, 70000, lens[i]), APR_SUCCESS, "a tail of %d", (int)lens[i]);
            state = stat_of(pool, 20);
            is_int(state.tail_len, lens[i], "... comes back");
            ok(is_sound(pool, &state), "... as it was");
        }
    is_rv(append_to(pool, 20, 70000, CIB_TRACE_TAIL_MAX + 1), APR_EINVAL, "one byte more does not");
    is_int(stat_of(pool, 20).tail_len, CIB_TRACE_TAIL_MAX, "... and changes nothing");
}

/* A process was killed between its bytes and their record. */
static void test_longer_log(apr_pool_t *pool)
{
    const char *log = path_of(pool, 21, ".log");
    int fd;

    append_to(pool, 21, 1000, 10);
    fd = open(log, O_WRONLY | O_APPEND);
    is_int(write(fd, "unacknowledged bytes", 20), 20, "bytes that no record speaks of");
    close(fd);
    is_int(stat_of(pool, 21).stored, 1000, "... do not count");
    is_rv(append_to(pool, 21, 1010, 10), APR_SUCCESS, "the next append");
    ok(log_is(pool, 21, 1010), "... overwrites and cuts them");
    fd = open(log, O_WRONLY | O_APPEND);
    is_int(write(fd, "again", 5), 5, "more of them");
    close(fd);
    is_rv(append_to(pool, 21, 1010, 10), APR_SUCCESS, "a commit of nothing");
    ok(log_is(pool, 21, 1010), "... cuts them as well");
}

/* Every byte of the newest record may be wrong, and it may end anywhere. */
static void test_torn(apr_pool_t *parent)
{
    const char *path = path_of(parent, 22, ".state");
    int bad = 0, len = RECORD + 100;
    char *good;
    size_t got;

    append_to(parent, 22, 1000, 100); /* number 1 */
    append_to(parent, 22, 2000, 100); /* number 2, at the beginning */
    good = slurp(path, &got, parent);
    is_int(got, PLACE + len, "two records");
    for (int at = 0; at < len; at++) {
        apr_pool_t *pool;
        cib_trace_state_t state = {0};

        apr_pool_create(&pool, parent);
        good[at] ^= 0x41;
        spew(path, good, got);
        bad += cib_tracefile_stat(storage, 22, &state, pool) != APR_SUCCESS ||
               state.received != 1000 || !is_sound(pool, &state);
        good[at] ^= 0x41;
        apr_pool_destroy(pool);
    }
    is_int(bad, 0, "with any byte of the newest wrong the one before counts");
    memset(good + 50, 0, (size_t)len - 50);
    spew(path, good, got);
    is_rv(append_to(parent, 22, 1500, 50), APR_SUCCESS, "a torn one, and the next append");
    is_int(stat_of(parent, 22).received, 1500, "... goes on from the one before");
    ok(log_is(parent, 22, 1500), "... and cuts what the torn one spoke of");
}

/* Noise that looks like a record of the highest numbers: none is left for what comes after it. */
static void test_noise(apr_pool_t *pool)
{
    for (apr_uint64_t below = 0; below < 6; below++) {
        const char *path = path_of(pool, 90, ".state");
        apr_uint64_t number = UINT64_MAX - below;
        char *noise = apr_pcalloc(pool, PLACE + RECORD);
        char *record = noise + (number % 2 ? PLACE : 0);

        append_to(pool, 90, 10, 0);
        memcpy(record, "CIBtrc1", 8);
        memcpy(record + 8, &number, sizeof(number));
        spew(path, noise, PLACE + RECORD);
        is_int(stat_of(pool, 90).received, 0, "noise of the last number but %d is none",
               (int)below);
        for (int i = 1; i <= 4; i++) {
            is_rv(append_to(pool, 90, i * 100, 10), APR_SUCCESS, "append %d after it", i);
            is_int(stat_of(pool, 90).received, i * 100, "... is in force");
        }
    }
}

static void test_cut_state(apr_pool_t *parent)
{
    const char *path = path_of(parent, 23, ".state");
    int bad = 0;

    append_to(parent, 23, 500, 100); /* number 1, the second place */
    for (int len = PLACE + RECORD + 99; len >= 0; len -= len > PLACE + 2 || len < 3 ? 1 : 997) {
        apr_pool_t *pool;
        cib_trace_state_t state = {0};

        apr_pool_create(&pool, parent);
        is_int(truncate(path, len) == 0, 1, "cut to %d", len);
        bad += cib_tracefile_stat(storage, 23, &state, pool) != APR_SUCCESS || state.received != 0;
        apr_pool_destroy(pool);
    }
    is_int(bad, 0, "the only record cut anywhere is none");
    is_rv(append_to(parent, 23, 100, 10), APR_SUCCESS, "... the trace begins anew");
    ok(log_is(parent, 23, 100), "... with a new log");
}

/* A power cut: the state is on disk, the log's last bytes are not. */
static void test_shorter_log(apr_pool_t *pool)
{
    const char *log = path_of(pool, 24, ".log");
    cib_trace_state_t state;
    cib_tracefile_t *trace = NULL;

    append_to(pool, 24, 1000, 0);
    append_to(pool, 24, 2000, 0);
    is_int(truncate(log, 1500), 0, "the log is shorter than the last record");
    is_int(stat_of(pool, 24).received, 1000, "... the one before it counts");
    is_rv(append_to(pool, 24, 1200, 0), APR_SUCCESS, "... and is gone on from");
    ok(log_is(pool, 24, 1200), "... with the log to match");
    is_int(truncate(log, 900), 0, "shorter than both");
    is_int(stat_of(pool, 24).received, 0, "... counts as nothing");
    is_rv(cib_tracefile_lock(&trace, storage, 24, &state, pool), APR_SUCCESS, "a writer");
    is_int(state.received, 0, "... begins anew");
    cib_tracefile_write(trace, 0, pattern(pool, 0, 3000), 3000);
    cib_tracefile_close(trace);
    is_int(stat_of(pool, 24).received, 0, "... killed before commit the old records stay dead");
    is_int(unlink(log), 0, "the log is gone");
    append_to(pool, 24, 10, 0);
    unlink(log);
    is_int(stat_of(pool, 24).received, 0, "... and with it all that was said of it");
}

#define WRITERS 4
#define LINES 120
#define LINE_LEN 16

static int append_lines(void *baton)
{
    apr_pool_t *parent = baton;

    child_tell();
    child_wait();
    for (int i = 0; i < LINES; i++) {
        apr_pool_t *pool;
        cib_trace_state_t state, next;
        cib_tracefile_t *trace;
        const char *line;

        apr_pool_create(&pool, parent);
        line = apr_psprintf(pool, "%06d %07d\n", (int)getpid() % 1000000, i);
        if (cib_tracefile_lock(&trace, storage, 25, &state, pool) != APR_SUCCESS)
            return 1;
        next = state;
        next.received = next.stored = state.stored + (apr_int64_t)strlen(line);
        if (cib_tracefile_write(trace, state.stored, line, strlen(line)) != APR_SUCCESS ||
            cib_tracefile_commit(trace, &next) != APR_SUCCESS)
            return 2;
        apr_pool_destroy(pool);
    }
    return 0;
}

/* Whoever only looks sees it grow by whole lines, and never shrink. */
static int watch_growth(apr_pool_t *parent)
{
    apr_int64_t last = 0;
    int wrong = 0;

    while (last < WRITERS * LINES * (LINE_LEN - 1)) {
        apr_pool_t *pool;
        cib_trace_state_t state = {0};
        apr_status_t rv;

        apr_pool_create(&pool, parent);
        rv = cib_tracefile_stat(storage, 25, &state, pool);
        wrong += (rv != APR_SUCCESS && rv != APR_ENOENT) || state.stored < last ||
                 state.stored % (LINE_LEN - 1) != 0;
        if (wrong)
            return wrong;
        last = state.stored;
        apr_pool_destroy(pool);
    }
    return 0;
}

static void test_writers(apr_pool_t *pool)
{
    child_t children[WRITERS];
    char *log;
    size_t len = 0;
    int whole = 1;

    for (int i = 0; i < WRITERS; i++) {
        children[i] = child_start(append_lines, pool);
        child_hear(&children[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        child_release(&children[i]);
    is_int(watch_growth(pool), 0, "seen without the lock it only grows");
    for (int i = 0; i < WRITERS; i++)
        is_int(child_end(&children[i]), 0, "writer %d of four", i);
    log = slurp(path_of(pool, 25, ".log"), &len, pool);
    is_int(len, WRITERS * LINES * (LINE_LEN - 1), "no append is lost");
    for (size_t at = 0; at < len; at += LINE_LEN - 1)
        whole &= log[at + 6] == ' ' && log[at + LINE_LEN - 2] == '\n';
    ok(whole, "... and none is torn");
}

static int append_for_ever(void *baton)
{
    apr_pool_t *parent = baton;
    apr_int64_t received;
    cib_trace_state_t state;

    if (cib_tracefile_stat(storage, 26, &state, parent) != APR_SUCCESS)
        return 1;
    for (received = state.received;;) {
        received += 1 + received % 9973;
        if (append_to(parent, 26, received, (apr_size_t)received % (CIB_TRACE_TAIL_MAX + 1)) !=
            APR_SUCCESS)
            return 2;
        child_tell();
    }
}

static void test_killed_writers(apr_pool_t *parent)
{
    int unsound = 0, lost = 0, turns = 150;

    append_to(parent, 26, 1, 1);
    for (int turn = 0; turn < turns; turn++) {
        apr_pool_t *pool;
        child_t child;
        cib_trace_state_t state, before;
        cib_tracefile_t *trace;
        apr_int64_t told;

        apr_pool_create(&pool, parent);
        cib_tracefile_stat(storage, 26, &before, pool);
        child = child_start(append_for_ever, pool);
        for (told = before.received; told < before.received + turn * 97;)
            told = child_hear(&child) ? told + 1 + told % 9973 : APR_INT64_MAX;
        child_kill(&child);
        if (cib_tracefile_lock(&trace, storage, 26, &state, pool) != APR_SUCCESS) {
            unsound++;
            break;
        }
        lost += state.received < told;
        unsound += !is_sound(pool, &state);
        cib_tracefile_commit(trace, &state);
        cib_tracefile_close(trace);
        unsound += !log_is(pool, 26, state.received);
        apr_pool_destroy(pool);
    }
    is_int(turns, 150, "150 writers killed anywhere");
    is_int(unsound, 0, "... leave a sound trace");
    is_int(lost, 0, "... with all that was acknowledged");
}

static int locked_files;

static apr_status_t count_locked(void *baton, const cib_stored_file_t *file, apr_pool_t *pool)
{
    (void)pool;
    locked_files += cib_stored_file_locked(file);
    *(int *)baton += 1;
    return APR_SUCCESS;
}

static int files_in_folder(apr_pool_t *pool, apr_int64_t id)
{
    int files = 0;

    locked_files = 0;
    cib_storage_walk_folder(storage, CIB_AREA_TRACES, id - id % CIB_FOLDER_BUILDS, count_locked,
                            &files, pool);
    return files;
}

static void test_replace(apr_pool_t *parent, apr_int64_t id)
{
    apr_pool_t *pool;
    cib_trace_state_t state;
    cib_tracefile_t *trace = NULL;
    apr_file_t *spool = NULL, *old = NULL;
    int named = cib_tempfile_always_named;
    char text[8] = "";
    apr_size_t got;

    apr_pool_create(&pool, parent);
    is_rv(cib_tracefile_spool(&spool, storage, id, pool), APR_SUCCESS, "a spool");
    is_int(files_in_folder(pool, id), named, "... seen or not");
    is_int(locked_files, named, "... and locked");
    apr_pool_destroy(pool);
    is_int(files_in_folder(parent, id), 0, "... is gone with its pool");

    apr_pool_create(&pool, parent);
    append_to(pool, id, 5000, 10);
    cib_tracefile_open(&old, storage, id, pool);
    is_rv(cib_tracefile_spool(&spool, storage, id, pool), APR_SUCCESS, "another");
    is_rv(apr_file_write_full(spool, pattern(pool, 0, 3000), 3000, NULL), APR_SUCCESS, "written");
    is_int(stat_of(pool, id).received, 5000, "... it is not the log yet");
    is_rv(cib_tracefile_lock(&trace, storage, id, &state, pool), APR_SUCCESS, "locked");
    state = state_of(pool, 3000, 30);
    is_rv(cib_tracefile_replace(trace, spool, &state), APR_SUCCESS, "put in the log's place");
    ok(log_is(pool, id, 3000), "... it is the log");
    is_rv(cib_tracefile_write(trace, 3000, pattern(pool, 3000, 100), 100), APR_SUCCESS,
          "the same writer goes on");
    state = state_of(pool, 3100, 30);
    is_rv(cib_tracefile_commit(trace, &state), APR_SUCCESS, "... in the new log");
    is_rv(cib_tracefile_sync(trace), APR_SUCCESS, "... which syncs");
    apr_file_close(spool);
    cib_tracefile_close(trace);
    apr_file_read_full(old, text, 7, &got);
    is_mem(text, pattern(pool, 0, 7), 7, "who had the old one open reads on");
    apr_pool_destroy(pool);
    ok(log_is(parent, id, 3100), "the pool's end changes nothing");
    state = stat_of(parent, id);
    ok(state.received == 3100 && is_sound(parent, &state), "... nor the state");
    is_int(files_in_folder(parent, id), 2, "... and leaves only log and state");
    is_rv(append_to(parent, id, 3200, 3), APR_SUCCESS, "others go on");
    ok(log_is(parent, id, 3200), "... in the same log");
}

/* Killed between the new log and the state that names it. */
static void test_unfinished_replace(apr_pool_t *pool)
{
    const apr_int64_t id = 41;
    cib_trace_state_t state;
    cib_tracefile_t *trace;
    apr_file_t *spool;

    append_to(pool, id, 700, 1);
    spew(path_of(pool, id, ".log2"), "what nobody acknowledged", 24);
    is_int(stat_of(pool, id).stored, 700, "a log that no state names does not count");
    ok(log_is(pool, id, 700), "... nor is it read");
    append_to(pool, id, 800, 2);
    ok(log_is(pool, id, 800), "... nor written to");
    cib_tracefile_spool(&spool, storage, id, pool);
    apr_file_write_full(spool, pattern(pool, 0, 90), 90, NULL);
    cib_tracefile_lock(&trace, storage, id, &state, pool);
    state = state_of(pool, 90, 9);
    is_rv(cib_tracefile_replace(trace, spool, &state), APR_SUCCESS, "the next one takes its place");
    cib_tracefile_close(trace);
    ok(log_is(pool, id, 90), "... and counts");
    ok(!exists(path_of(pool, id, ".log")), "... and the one before is gone");
    spew(path_of(pool, id, ".log"), "what could not be removed", 25);
    is_int(stat_of(pool, id).stored, 90, "an old log does not come back");
    cib_tracefile_lock(&trace, storage, id, &state, pool);
    is_rv(cib_tracefile_sync(trace), APR_SUCCESS, "what is left over");
    cib_tracefile_close(trace);
    ok(!exists(path_of(pool, id, ".log")), "... goes with the last word");
    spew(path_of(pool, id, ".log"), "again", 5);
    is_rv(cib_tracefile_remove(storage, id, NULL, pool), APR_SUCCESS, "the trace is removed");
    ok(!exists(path_of(pool, id, ".log")) && !exists(path_of(pool, id, ".log2")), "... all of it");
}

static void test_foreign_spool(apr_pool_t *pool)
{
    cib_trace_state_t state;
    cib_tracefile_t *trace = NULL;
    apr_file_t *spool = NULL;

    cib_tracefile_spool(&spool, storage, 30, pool);
    apr_file_write_full(spool, "12345", 5, NULL);
    cib_tracefile_lock(&trace, storage, 30, &state, pool);
    state = (cib_trace_state_t){1, 6, 6, 0, 0, NULL};
    is_rv(cib_tracefile_replace(trace, spool, &state), APR_EINVAL,
          "a state that speaks of more than was spooled is refused");
    cib_tracefile_close(trace);
    is_int(stat_of(pool, 30).received, 0, "... not recorded");
    is_str(slurp(path_of(pool, 30, ".log"), NULL, pool), "", "... and the log is as it was");
}

static int wait_for_lock(void *baton)
{
    cib_trace_state_t state;
    cib_tracefile_t *trace;

    child_tell();
    if (cib_tracefile_lock(&trace, storage, 31, &state, baton) != APR_SUCCESS)
        return 1;
    if (state.received != 0)
        return 2;
    if (cib_tracefile_write(trace, 0, "new", 3) != APR_SUCCESS)
        return 3;
    state.received = state.stored = 3;
    return cib_tracefile_commit(trace, &state) == APR_SUCCESS ? 0 : 4;
}

/* Who waited for the lock of a trace that was removed meanwhile must not write into a file that has
 * no name any more. The removal here is by hand, under the lock. */
static void test_removed_meanwhile(apr_pool_t *pool)
{
    cib_trace_state_t state;
    cib_tracefile_t *trace = NULL;
    child_t child;
    size_t len = 0;

    append_to(pool, 31, 100, 10);
    cib_tracefile_lock(&trace, storage, 31, &state, pool);
    files_in_folder(pool, 31);
    ok(locked_files >= 2, "log and state of a trace at work are both seen locked");
    child = child_start(wait_for_lock, pool);
    child_hear(&child);
    unlink(path_of(pool, 31, ".log"));
    unlink(path_of(pool, 31, ".state"));
    cib_tracefile_close(trace);
    is_int(child_end(&child), 0, "a writer that waited begins anew");
    is_str(slurp(path_of(pool, 31, ".log"), &len, pool), "new", "... in files that have names");
    is_int(stat_of(pool, 31).received, 3, "... both of them");
}

static int commit_too_much(void *baton)
{
    struct rlimit limit = {PLACE + RECORD + 2000, PLACE + RECORD + 2000};
    apr_pool_t *pool = baton;
    cib_trace_state_t state, next;
    cib_tracefile_t *trace;

    if (append_to(pool, 32, 3000, 0) || append_to(pool, 32, 4000, 0))
        return 1;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (cib_tracefile_lock(&trace, storage, 32, &state, pool))
        return 2;
    next = state_of(pool, 4000, 3000);
    if (cib_tracefile_commit(trace, &next) != EFBIG)
        return 3;
    cib_tracefile_close(trace);
    return 0;
}

static void test_full(apr_pool_t *pool)
{
    child_t child = child_start(commit_too_much, pool);
    cib_trace_state_t state;

    is_int(child_end(&child), 0, "a record that cannot be written to its end is an error");
    state = stat_of(pool, 32);
    ok(state.received == 4000 && state.tail_len == 0 && is_sound(pool, &state),
       "... and the one before it counts");
}

static void test_links(apr_pool_t *pool)
{
    const char *victim = scratch_file(pool, "victim");
    cib_trace_state_t state;
    cib_tracefile_t *trace;
    apr_file_t *log;

    spew(victim, "precious", 8);
    append_to(pool, 33, 1, 0);
    is_int(symlink(victim, path_of(pool, 34, ".log")), 0, "a link for a log");
    is_rv(cib_tracefile_lock(&trace, storage, 34, &state, pool), ELOOP, "... is not written to");
    is_rv(cib_tracefile_open(&log, storage, 34, pool), APR_EINVAL, "... nor read");
    is_int(symlink(victim, path_of(pool, 35, ".state")), 0, "a link for a state");
    is_rv(cib_tracefile_lock(&trace, storage, 35, &state, pool), ELOOP, "... is not written to");
    is_rv(cib_tracefile_stat(storage, 35, &state, pool), ELOOP, "... nor read");
    is_str(slurp(victim, NULL, pool), "precious", "... and what it led to is as it was");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    storage = scratch_storage(pool, "storage");
    test_life(pool);
    test_tails(pool);
    test_longer_log(pool);
    test_torn(pool);
    test_noise(pool);
    test_cut_state(pool);
    test_shorter_log(pool);
    test_writers(pool);
    test_killed_writers(pool);
    test_replace(pool, 40000);
    cib_tempfile_always_named = 1;
    test_replace(pool, 50000);
    cib_tempfile_always_named = 0;
    test_unfinished_replace(pool);
    test_foreign_spool(pool);
    test_removed_meanwhile(pool);
    test_full(pool);
    test_links(pool);
    return done_testing();
}

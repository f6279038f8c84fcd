/* Traces: offsets, limits, masking on the way to the disk, and whose bytes are kept. */
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "core_fixture.h"
#include "util/cib_text.h"

#define SECRET "TopSecretValue42"

/* A running build with a secret. */
static cib_build_t *running(core_t *core)
{
    apr_array_header_t *variables = apr_array_make(core->pool, 2, sizeof(cib_variable_t));
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    cib_variable_t secret = {.key = "S", .value = SECRET, .is_public = 0},
                   shorter = {.key = "T", .value = "short", .is_public = 0},
                   open = {.key = "P", .value = "public-value", .is_public = 1};
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA, .variables = variables};

    APR_ARRAY_PUSH(variables, cib_variable_t) = secret;
    APR_ARRAY_PUSH(variables, cib_variable_t) = shorter;
    APR_ARRAY_PUSH(variables, cib_variable_t) = open;
    fine(cib_build_add(&core->ctx, &fresh, 1, ids), "add");
    start(core, APR_ARRAY_IDX(ids, 0, apr_int64_t));
    return build_of(core, APR_ARRAY_IDX(ids, 0, apr_int64_t));
}

static cib_error_t *append(core_t *core, const cib_build_t *build, apr_int64_t at, const char *data,
                           size_t len, apr_int64_t *received)
{
    cib_trace_append_t *append;
    const cib_sink_t *sink;

    *received = -1;
    CIB_TRY(cib_trace_append_begin(&core->ctx, build, &append, &sink));
    /* in pieces, as it comes */
    for (size_t done = 0; done < len;) {
        size_t part = len - done < 7001 ? len - done : 7001;

        CIB_TRY(sink->write(sink->baton, data + done, part));
        done += part;
    }
    return cib_trace_append_finish(append, at, received);
}

/* Append and say what was received. */
static apr_int64_t put(core_t *core, const cib_build_t *build, apr_int64_t at, const char *text)
{
    apr_int64_t received;

    fine(append(core, build, at, text, strlen(text), &received), "append");
    return received;
}

static cib_error_t *replace(core_t *core, const cib_build_t *build, const char *data, size_t len)
{
    cib_trace_replace_t *replace;
    const cib_sink_t *sink;

    CIB_TRY(cib_trace_replace_begin(&core->ctx, build, &replace, &sink));
    for (size_t done = 0; done < len;) {
        size_t part = len - done < 1 + done % 3001 ? len - done : 1 + done % 3001;

        CIB_TRY(sink->write(sink->baton, data + done, part));
        done += part;
    }
    return cib_trace_replace_finish(replace);
}

/* What a reader sees; NULL: nothing is there. */
static const char *shown(core_t *core, apr_int64_t id)
{
    apr_file_t *file;
    apr_int64_t size;
    char *text;

    fine(cib_trace_open(&core->ctx, id, &file, &size), "open");
    if (!file)
        return NULL;
    text = apr_pcalloc(core->pool, (apr_size_t)size + 1);
    if (size)
        must(apr_file_read_full(file, text, (apr_size_t)size, NULL), "read");
    apr_file_close(file);
    return text;
}

static void test_offsets(core_t *core)
{
    cib_build_t *build = running(core);
    apr_int64_t received;
    apr_uint32_t crc;

    is_str(shown(core, build->id), NULL, "no trace yet");
    is_int(cib_trace_size(&core->ctx, build->id), 0, "of no size");
    fine(cib_trace_sync(&core->ctx, build->id), "sync");
    is_str(shown(core, build->id), NULL, "a sync makes none");
    is_int(put(core, build, 0, ""), 0, "an empty one may come first");
    is_int(put(core, build, 0, "hello "), 6, "six bytes");
    is_reason(append(core, build, 0, "hello ", 6, &received), CIB_REASON_OUT_OF_RANGE, "repeated");
    is_int(received, 6, "the length to go on from");
    is_reason(append(core, build, 7, "x", 1, &received), CIB_REASON_OUT_OF_RANGE, "a gap");
    is_int(received, 6, "the same");
    is_int(put(core, build, 6, ""), 6, "nothing new");
    is_int(put(core, build, 6, "world"), 11, "more");
    is_str(shown(core, build->id), "hello world", "all of it");
    fine(cib_trace_digest(&core->ctx, build, &received, &crc), "digest");
    is_int(received, 11, "received");
    is_int(crc, crc32(0, (const Bytef *)"hello world", 11), "the CRC of two requests");
    fine(cib_trace_received(&core->ctx, build, &received), "received");
    is_int(received, 11, "without the lock");
    fine(cib_trace_sync(&core->ctx, build->id), "sync");
}

static void test_masking(core_t *core)
{
    cib_build_t *build = running(core);
    const char *token = cib_token_build(core->fx->storage, build->id, build->claim, core->pool);
    char *text = apr_pstrcat(core->pool, "a ", SECRET, " b ", token, " c ", core->project_token,
                             " short public-value ", SECRET, NULL);
    char *want = apr_pstrdup(core->pool, text);
    size_t len = strlen(text);
    apr_int64_t received = 0;
    const char *secrets[] = {SECRET, token, core->project_token};

    for (int i = 0; i < 3; i++) {
        for (char *at = want; (at = strstr(at, secrets[i])) != NULL;)
            memset(at, 'x', strlen(secrets[i]));
    }
    for (size_t at = 0; at < len; at += 5)
        fine(
            append(core, build, (apr_int64_t)at, text + at, len - at < 5 ? len - at : 5, &received),
            "append");
    is_int(received, len, "as long as what was sent");
    is_str(shown(core, build->id), want, "masked over the edges of requests");
    fine(replace(core, build, text, len), "replace");
    is_str(shown(core, build->id), want, "masked in the trace of a PUT");
    is_int(put(core, build, (apr_int64_t)len, " TopSecretV"), len + 11, "a beginning");
    is_int(put(core, build, (apr_int64_t)len + 11, "alue42."), len + 18, "and an end after a PUT");
    ok(!strstr(shown(core, build->id), "TopSecretV"), "is masked too");
}

/* Bodies larger than what is kept in memory. */
static void test_large(core_t *core)
{
    cib_build_t *build = running(core);
    size_t len = 300001, early = 65536 - 5, late = len - 20;
    char *text = apr_palloc(core->pool, len), *want;
    apr_int64_t received;
    apr_uint32_t crc;

    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 23);
    memcpy(text + early, SECRET, strlen(SECRET));
    memcpy(text + late, SECRET, strlen(SECRET));
    want = apr_pstrmemdup(core->pool, text, len);
    memset(want + early, 'x', strlen(SECRET));
    memset(want + late, 'x', strlen(SECRET));
    fine(append(core, build, 0, text, len, &received), "append");
    is_int(received, len, "a body of %d bytes", (int)len);
    is_mem(shown(core, build->id), want, len, "masked where its pieces meet");
    fine(append(core, build, received, text, len, &received), "append");
    is_mem(shown(core, build->id) + len, want, len, "and after it another");
    fine(replace(core, build, text, len), "replace");
    is_int(cib_trace_size(&core->ctx, build->id), len, "replaced");
    is_mem(shown(core, build->id), want, len, "by the same");
    fine(cib_trace_digest(&core->ctx, build, &received, &crc), "digest");
    is_int(received, len, "received");
    is_int(crc, crc32(0, (const Bytef *)text, (uInt)len), "the CRC of the bytes as received");
    fine(replace(core, build, "", 0), "replace");
    is_str(shown(core, build->id), "", "an empty trace replaces by nothing");
    is_int(put(core, build, 0, "x"), 1, "and goes on from there");
}

static void test_limit(core_t *core)
{
    cib_build_t *build = running(core);
    size_t len = 500000;
    char *text = apr_palloc(core->pool, len);
    apr_int64_t received;
    apr_uint32_t crc;

    core->limits.max_trace_size = 20;
    is_int(put(core, build, 0, "0123456789"), 10, "below the limit");
    /* the secret begins below the limit and ends beyond it, in the next request */
    is_int(put(core, build, 10, "abcdTopSecr"), 21, "over it");
    is_str(shown(core, build->id), "0123456789abcdTopSec", "cut");
    is_int(put(core, build, 21, "etValue42 and so on"), 40, "further bytes are counted");
    is_str(shown(core, build->id), "0123456789abcdxxxxxx", "and mask what is stored");
    is_int(put(core, build, 40, "more"), 44, "and counted");
    is_int(cib_trace_size(&core->ctx, build->id), 20, "but not kept");
    core->limits.max_trace_size = CIB_UNLIMITED;
    is_int(put(core, build, 44, "more"), 48, "nor when the limit is gone: there would be a hole");
    is_int(cib_trace_size(&core->ctx, build->id), 20, "as it was");
    memset(text, 'z', len);
    core->limits.max_trace_size = 30;
    fine(append(core, build, 48, text, len, &received), "append");
    is_int(received, 48 + (apr_int64_t)len, "a large body beyond the limit");
    fine(replace(core, build, text, len), "replace");
    is_int(cib_trace_size(&core->ctx, build->id), 30, "a PUT is cut too");
    fine(cib_trace_digest(&core->ctx, build, &received, &crc), "digest");
    is_int(received, len, "and counted");
    is_int(crc, crc32(0, (const Bytef *)text, (uInt)len), "its CRC is of all");
    build = running(core);
    fine(append(core, build, 0, text, len, &received), "append");
    is_int(received, len, "a large first body");
    fine(cib_trace_digest(&core->ctx, build, &received, &crc), "digest");
    is_int(crc, crc32(0, (const Bytef *)text, (uInt)len), "its CRC is of all");
    is_int(cib_trace_size(&core->ctx, build->id), 30, "cut");
    core->limits.max_trace_size = 0;
    build = running(core);
    is_int(put(core, build, 0, "x"), 1, "a limit of nothing");
    is_str(shown(core, build->id), "", "keeps nothing");
    core->limits.max_trace_size = APR_INT64_MAX;
    build = running(core);
    is_int(put(core, build, 0, "all of it"), 9, "a limit beyond all bounds");
    is_str(shown(core, build->id), "all of it", "is none");
    core->limits = cib_limits_default;
    core->limits.min_free = 0;
}

static void test_ends(core_t *core)
{
    cib_build_t *build = running(core), *ended, late;
    apr_int64_t received;

    put(core, build, 0, "one");
    finish(core, build->id, "success");
    ended = build_of(core, build->id);
    is_int(put(core, ended, 3, "two"), 6, "bytes after the end");
    late = *ended;
    late.finished_at -= CIB_TRACE_LATE + 1;
    is_int(put(core, &late, 6, "three"), 6, "not long after it");
    is_int(put(core, &late, 0, "three"), 6, "whatever their offset");
    fine(replace(core, &late, "four", 4), "replace");
    is_str(shown(core, build->id), "onetwo", "nothing of them is kept");
    late = *ended;
    late.erased_at = apr_time_now();
    is_int(put(core, &late, 6, "five"), 6, "nor of an erased build's");
    fine(cib_build_erase(&core->ctx, build->id), "erase");
    is_str(shown(core, build->id), NULL, "erased");
    is_reason(append(core, ended, 1, "", 0, &received), CIB_REASON_OUT_OF_RANGE,
              "nothing is left to go on from");
}

static void test_claims(core_t *core)
{
    cib_build_t *first = running(core), *waiting, *second;
    apr_int64_t received;

    is_int(put(core, first, 0, "first"), 5, "bytes of the first claim");
    fine(cib_build_requeue(&core->ctx, first->id, 1), "requeue");
    waiting = build_of(core, first->id);
    is_int(put(core, waiting, 5, "late"), 5, "discarded while it waits again");
    is_str(shown(core, first->id), "first", "so nothing grows");
    start(core, first->id);
    second = build_of(core, first->id);
    fine(cib_trace_received(&core->ctx, second, &received), "received");
    is_int(received, 0, "the second claim begins anew");
    is_reason(append(core, second, 5, "x", 1, &received), CIB_REASON_OUT_OF_RANGE,
              "and not after the first's");
    is_int(received, 0, "from the beginning");
    is_int(put(core, second, 0, "2nd"), 3, "its own bytes");
    is_str(shown(core, first->id), "2nd", "in the place of the first's");
    is_reason(append(core, first, 5, "x", 1, &received), CIB_REASON_FORBIDDEN,
              "the first has no word any more");
    is_reason(replace(core, first, "x", 1), CIB_REASON_FORBIDDEN, "in no way");
    is_str(shown(core, first->id), "2nd", "it changes nothing");
}

/* --- many at once */

static core_t *shared_core;
static cib_build_t *shared_build;
static int refusals[8];

/* Each appends until its hundred bytes are in, going on from wherever it is told. */
static void append_some(fixture_t *fx, int number, apr_pool_t *pool)
{
    cib_ctx_t ctx = shared_core->ctx;
    apr_int64_t at = 0, next;

    ctx.pool = pool;
    for (int done = 0; done < 20;) {
        char text[6];
        cib_trace_append_t *made;
        const cib_sink_t *sink;
        cib_error_t *err;

        memset(text, 'A' + number, 5);
        fine(cib_trace_append_begin(&ctx, shared_build, &made, &sink), "begin");
        fine(sink->write(sink->baton, text, 5), "write");
        err = cib_trace_append_finish(made, at, &next);
        if (err && err->reason != CIB_REASON_OUT_OF_RANGE)
            fine(err, "append");
        refusals[number] += err != NULL;
        done += err == NULL;
        at = next;
    }
}

static void test_concurrency(core_t *core)
{
    const char *text;
    int whole = 1, counts[8] = {0};

    shared_core = core;
    shared_build = running(core);
    in_threads(core->fx, 8, append_some);
    text = shown(core, shared_build->id);
    is_int(strlen(text), 800, "not a byte more or less than was acknowledged");
    for (int i = 0; i < 800; i += 5) {
        whole &= text[i] >= 'A' && text[i] <= 'H' && memcmp(text + i, text + i + 1, 4) == 0;
        counts[text[i] - 'A']++;
    }
    ok(whole, "no two requests are interleaved");
    for (int i = 0; i < 8; i++)
        whole &= counts[i] == 20;
    ok(whole, "each of them is there once");
}

/* --- a power cut */

/* The log that was synced last, and how long it was then. In front of the C library's. */
static char synced_log[256];
static off_t synced_len;

int fsync(int fd)
{
    char link[64], path[256];
    struct stat st;
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    if (len > 4 && strncmp(path + len - 4, ".log", 4) == 0 && fstat(fd, &st) == 0) {
        path[len] = '\0';
        strcpy(synced_log, path);
        synced_len = st.st_size;
    }
    return ((__typeof__(&fsync))dlsym(RTLD_NEXT, "fsync"))(fd);
}

/* The worst that may be: every record has reached the disk by itself, and of the log only what was
 * synced. */
static void cut_power(void)
{
    if (truncate(synced_log, synced_len) != 0)
        bail_out("cannot truncate %s", synced_log);
}

static void test_power_cut(core_t *core)
{
    cib_build_t *build = running(core);

    put(core, build, 0, "before the end ");
    if (!finish(core, build->id, "success"))
        bail_out("the build does not end");
    build = build_of(core, build->id);
    cut_power();
    is_str(shown(core, build->id), "before the end ",
           "what came before the end is on disk by then");
    put(core, build, 15, "after ");
    put(core, build, 21, "it");
    cut_power();
    is_str(shown(core, build->id), "before the end after it", "and so is what came later");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_offsets(core);
    test_masking(core);
    test_large(core);
    test_limit(core);
    test_ends(core);
    test_claims(core);
    test_concurrency(core);
    test_power_cut(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

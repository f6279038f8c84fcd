#include "scratch.h"

#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>

#include "../../src/files/tempfile.h"
#include "files/cib_blob.h"
#include "util/cib_crypto.h"

#define MIB (1024 * 1024)

static const cib_storage_t *storage;

typedef struct seen_t {
    int count;
    int locked;
    const char *name;
    apr_pool_t *pool;
} seen_t;

static apr_status_t see(void *baton, const cib_stored_file_t *file, apr_pool_t *pool)
{
    seen_t *seen = baton;

    (void)pool;
    seen->count++;
    seen->locked += cib_stored_file_locked(file);
    seen->name = apr_pstrdup(seen->pool, file->name);
    return APR_SUCCESS;
}

static seen_t look(apr_pool_t *pool)
{
    seen_t seen = {0, 0, NULL, pool};

    is_rv(cib_storage_walk(storage, CIB_AREA_ARTIFACTS, see, &seen, pool), APR_SUCCESS, "a look");
    return seen;
}

/* Bytes that differ from place to place, with a period that is no power of two. */
static char *pattern(apr_pool_t *pool, size_t len)
{
    char *data = apr_palloc(pool, len + 1);

    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i % 251 + i / 65521);
    return data;
}

static apr_status_t write_pieces(cib_blob_t *blob, const char *data, size_t len, size_t piece)
{
    apr_status_t rv = APR_SUCCESS;

    for (size_t at = 0; at < len && rv == APR_SUCCESS; at += piece)
        rv = cib_blob_write(blob, data + at, len - at < piece ? len - at : piece);
    return rv;
}

static void test_digest(cib_blob_t *blob, const char *data, size_t len)
{
    unsigned char digest[CIB_SHA256_LEN], expected[CIB_SHA256_LEN] = "";

    cib_sha256(data, len, expected);
    is_rv(cib_blob_sha256(blob, digest), APR_SUCCESS, "... its digest");
    ok(memcmp(digest, expected, sizeof(digest)) == 0, "... is that of its bytes");
    is_rv(cib_blob_write(blob, "x", 1), APR_EINVAL, "... it takes no more");
    is_rv(cib_blob_sha256(blob, digest), APR_EINVAL, "... and gives it once");
}

static void test_size(apr_pool_t *parent, size_t len, size_t piece)
{
    apr_pool_t *pool;
    apr_int64_t size = -1;
    apr_file_t *file = NULL;
    cib_blob_t *blob = NULL;
    char *data, *back;
    const char *name;
    size_t got = 0;

    apr_pool_create(&pool, parent);
    data = pattern(pool, len);
    is_rv(cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 1234567, "archive", pool), APR_SUCCESS,
          "begin %lu bytes in pieces of %lu", (unsigned long)len, (unsigned long)piece);
    is_rv(write_pieces(blob, data, len, piece), APR_SUCCESS, "... write");
    is_int(cib_blob_size(blob), len, "... its size");
    test_digest(blob, data, len);
    is_rv(cib_blob_seal(blob), APR_SUCCESS, "... seal");
    is_rv(cib_blob_publish(blob), APR_SUCCESS, "... publish");
    is_int(cib_blob_size(blob), len, "... its size still");
    name = cib_blob_name(blob);
    ok(strncmp(name, "1234567-archive-", 16) == 0 && strlen(name) == 48, "... its name");
    cib_blob_keep(blob);
    back = slurp(apr_pstrcat(pool, storage->dir, "/artifacts/1/234/", name, NULL), &got, pool);
    ok(back && got == len && memcmp(back, data, len) == 0, "... it is in its place, byte for byte");
    is_rv(cib_blob_open(&file, &size, storage, CIB_AREA_ARTIFACTS, name, 1, pool), APR_SUCCESS,
          "... it opens");
    is_int(size, len, "... with its size");
    ok(apr_file_flags_get(file) & APR_FOPEN_SENDFILE_ENABLED, "... for sendfile");
    is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, name, NULL, pool), APR_SUCCESS,
          "... it can be removed");
    is_rv(cib_blob_open(&file, &size, storage, CIB_AREA_ARTIFACTS, name, 0, pool), APR_ENOENT,
          "... and is gone");
    apr_pool_destroy(pool);
}

static void test_sizes(apr_pool_t *pool)
{
    static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        test_size(pool, sizes[i], 8000);
        test_size(pool, sizes[i], MIB);
        test_size(pool, sizes[i], 5 * MIB);
    }
    test_size(pool, 100, 1);
    test_size(pool, 20 * MIB + 3, MIB + 7); /* beyond where writing out begins */
}

static int thread_count(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

/* The kernel may show one for a moment that was waited for. */
static int threads_left(int most)
{
    for (int tries = 0; thread_count() > most && tries < 1000000; tries++)
        sched_yield();
    return thread_count();
}

/* Large ones are hashed by a thread of their own, which ends with the digest or the blob; where
 * that is not allowed by who asked. */
static void test_thread(apr_pool_t *parent, int allowed)
{
    int before = thread_count();
    cib_storage_t place = *storage;

    place.threads = allowed;
    for (int given_up = 0; given_up < 2; given_up++) {
        unsigned char digest[CIB_SHA256_LEN];
        cib_blob_t *blob = NULL;
        apr_pool_t *pool;

        apr_pool_create(&pool, parent);
        cib_blob_begin(&blob, &place, CIB_AREA_ARTIFACTS, 12, "archive", pool);
        is_rv(write_pieces(blob, pattern(pool, 6 * MIB), 4 * MIB, MIB), APR_SUCCESS,
              "four megabytes");
        is_int(thread_count(), before, "... make no thread");
        is_rv(write_pieces(blob, pattern(pool, 6 * MIB), 6 * MIB, MIB), APR_SUCCESS, "more");
        is_int(thread_count(), before + allowed, "... make %s", allowed ? "one" : "none either");
        if (given_up)
            apr_pool_destroy(pool);
        else
            cib_blob_sha256(blob, digest);
        is_int(threads_left(before), before, "... which is gone %s",
               given_up ? "with it" : "with the digest");
        if (!given_up)
            apr_pool_destroy(pool);
    }
}

/* What a blob leaves in each of its states when it is given up, here or by the pool. */
static void test_abandon(apr_pool_t *parent, int by_pool)
{
    static const char *const states[] = {"begun", "written", "sealed", "published"};

    for (int state = 0; state < 4; state++) {
        apr_pool_t *pool;
        cib_blob_t *blob;
        seen_t seen;

        apr_pool_create(&pool, parent);
        cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 8, "archive", pool);
        if (state >= 1)
            cib_blob_write(blob, pattern(pool, 2 * MIB), 2 * MIB);
        if (state >= 2)
            cib_blob_seal(blob);
        if (state >= 3)
            is_rv(cib_blob_publish(blob), APR_SUCCESS, "published");
        seen = look(parent);
        is_int(seen.count, seen.locked, "what is seen of a blob that is %s is locked",
               states[state]);
        is_int(seen.count, state == 3 || cib_tempfile_always_named, "... and seen or not");
        if (by_pool) {
            apr_pool_destroy(pool);
        } else {
            cib_blob_abandon(blob);
            is_rv(cib_blob_write(blob, "x", 1), APR_EINVAL, "... given up it takes no more");
            is_rv(cib_blob_publish(blob), APR_EINVAL, "... nor comes back");
            cib_blob_keep(blob);
            cib_blob_abandon(blob);
            apr_pool_destroy(pool);
        }
        is_int(look(parent).count, 0, "... given up it leaves nothing");
    }
}

typedef struct dying_t {
    int state;
    apr_pool_t *pool;
} dying_t;

static int die_with_blob(void *baton)
{
    const dying_t *dying = baton;
    cib_blob_t *blob;

    if (cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 9, "archive", dying->pool) ||
        cib_blob_write(blob, pattern(dying->pool, 2 * MIB), 2 * MIB))
        return 1;
    if (dying->state >= 1 && cib_blob_seal(blob))
        return 1;
    if (dying->state >= 2 && cib_blob_publish(blob))
        return 1;
    if (dying->state >= 3)
        cib_blob_keep(blob);
    child_tell();
    child_wait();
    return 0;
}

static void test_killed(apr_pool_t *pool)
{
    for (int state = 0; state < 4; state++) {
        dying_t dying = {state, pool};
        child_t child = child_start(die_with_blob, &dying);
        seen_t seen;
        int named = cib_tempfile_always_named;

        ok(child_hear(&child), "a process is at its blob, stage %d", state);
        seen = look(pool);
        is_int(seen.count, named || state >= 2, "... seen or not");
        is_int(seen.locked, seen.count && state < 3, "... locked until it is kept");
        is_int(child_kill(&child), 128 + SIGKILL, "... killed");
        seen = look(pool);
        is_int(seen.count, named || state >= 2, "... it leaves %s",
               named || state >= 2 ? "a file" : "nothing");
        is_int(seen.locked, 0, "... that is not locked");
        if (seen.name)
            is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, seen.name, NULL, pool),
                  APR_SUCCESS, "... and can be removed");
        is_int(look(pool).count, 0, "... nothing is left");
    }
}

static void test_kept(apr_pool_t *parent)
{
    apr_pool_t *pool;
    cib_blob_t *blob;
    const char *name;

    apr_pool_create(&pool, parent);
    cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 10, "metadata", pool);
    is_rv(cib_blob_publish(blob), APR_EINVAL, "not published before it is sealed");
    cib_blob_keep(blob);
    is_rv(cib_blob_write(blob, "abc", 3), APR_SUCCESS, "keep before publish does nothing");
    cib_blob_seal(blob);
    is_rv(cib_blob_write(blob, "d", 1), APR_EINVAL, "sealed it takes no more");
    is_rv(cib_blob_seal(blob), APR_EINVAL, "nor is sealed twice");
    cib_blob_publish(blob);
    is_rv(cib_blob_publish(blob), APR_EINVAL, "nor published twice");
    name = apr_pstrdup(parent, cib_blob_name(blob));
    cib_blob_keep(blob);
    cib_blob_abandon(blob);
    apr_pool_destroy(pool);
    is_str(look(parent).name, name, "what is kept outlives its pool");
    cib_storage_remove(storage, CIB_AREA_ARTIFACTS, name, NULL, parent);
}

/* A limit on the file's size stands for a full disk: it needs no privilege. */
static int write_too_much(void *baton)
{
    struct rlimit limit = {MIB + 4096, MIB + 4096};
    apr_pool_t *pool = baton;
    apr_status_t rv;
    cib_blob_t *blob;

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 11, "archive", pool))
        return 1;
    rv = cib_blob_write(blob, pattern(pool, 2 * MIB), 2 * MIB);
    if (rv != EFBIG)
        return 2;
    if (cib_blob_write(blob, "x", 1) != EFBIG || cib_blob_seal(blob) != EFBIG ||
        cib_blob_publish(blob) != EFBIG)
        return 3;
    cib_blob_keep(blob);
    cib_blob_abandon(blob);
    /* the last bytes, gathered, meet the limit only at seal */
    if (cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 11, "archive", pool) ||
        cib_blob_write(blob, pattern(pool, MIB + 5000), MIB + 5000))
        return 4;
    if (cib_blob_seal(blob) != EFBIG || cib_blob_publish(blob) != EFBIG)
        return 5;
    cib_blob_abandon(blob);
    return 0;
}

static void test_too_much(apr_pool_t *pool)
{
    child_t child = child_start(write_too_much, pool);

    is_int(child_end(&child), 0, "what cannot be written breaks the blob for good");
    is_int(look(pool).count, 0, "... and leaves nothing");
}

static void test_names(apr_pool_t *pool)
{
    static const char *const types[] = {"", "a-b", "../x", "a/b", "a.b", "7", " "};
    static const char *const names[] = {"", ".", "..", "../../config", ".8-archive-00", "x", "8/x"};
    apr_int64_t size;
    apr_file_t *file;
    cib_blob_t *blob;

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        is_rv(cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 8, types[i], pool), APR_EINVAL,
              "type '%s' is refused", types[i]);
    is_rv(cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 0, "archive", pool), APR_EINVAL,
          "so is build 0");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        is_rv(cib_blob_open(&file, &size, storage, CIB_AREA_ARTIFACTS, names[i], 0, pool),
              APR_EINVAL, "name '%s' is refused", names[i]);
    is_int(symlink("/etc/passwd", cib_storage_path(storage, "artifacts/0/0/8-link-00", pool)), 0,
           "a link");
    is_rv(cib_blob_open(&file, &size, storage, CIB_AREA_ARTIFACTS, "8-link-00", 0, pool),
          APR_EINVAL, "... is not followed");
    is_int(mkdir(cib_storage_path(storage, "artifacts/0/0/8-dir-00", pool), 0700), 0, "a folder");
    is_rv(cib_blob_open(&file, &size, storage, CIB_AREA_ARTIFACTS, "8-dir-00", 0, pool), APR_EINVAL,
          "... is no blob");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    storage = scratch_storage(pool, "storage");
    for (cib_tempfile_always_named = 0; cib_tempfile_always_named < 2;
         cib_tempfile_always_named++) {
        test_sizes(pool);
        test_abandon(pool, 0);
        test_abandon(pool, 1);
        test_killed(pool);
        test_kept(pool);
        test_too_much(pool);
        test_thread(pool, 0);
        test_thread(pool, 1);
    }
    cib_tempfile_always_named = 0;
    test_names(pool);
    return done_testing();
}

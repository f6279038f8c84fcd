#include "scratch.h"

#include <sys/file.h>

#include "files/cib_storage.h"
#include "util/cib_text.h"

static void check_tree(apr_pool_t *pool, const char *dir)
{
    static const char *const names[] = {"config", "lock", "artifacts", "traces", "hosts"};
    struct stat st = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        ok(exists(apr_pstrcat(pool, dir, "/", names[i], NULL)), "... with %s", names[i]);
    stat(apr_pstrcat(pool, dir, "/config", NULL), &st);
    is_int(st.st_mode & 07777, 0600, "... whose config only the owner reads");
    stat(apr_pstrcat(pool, dir, "/artifacts", NULL), &st);
    is_int(st.st_mode & 07777, 0750, "... and whose folders are closed to others");
}

static void test_create(apr_pool_t *pool)
{
    const char *dir = scratch_file(pool, "new");
    cib_storage_t *storage = NULL, *again = NULL;
    static const unsigned char zeros[CIB_SECRET_LEN];

    is_rv(cib_storage_open(&storage, dir, pool), APR_ENOENT, "what is not there does not open");
    is_rv(cib_storage_create(dir, "sqlite3", NULL, pool), APR_SUCCESS,
          "make one that is not there");
    check_tree(pool, dir);
    is_rv(cib_storage_open(&storage, dir, pool), APR_SUCCESS, "it opens");
    is_str(storage->dir, dir, "... and knows its path");
    is_str(storage->driver, "sqlite3", "... its driver");
    is_str(storage->params, apr_pstrcat(pool, dir, "/ci-builds.db", NULL), "... its database");
    ok(cib_is_hex(storage->id, 32), "... its id");
    ok(memcmp(storage->secret, zeros, CIB_SECRET_LEN) != 0, "... and a secret");
    is_rv(cib_storage_create(dir, "sqlite3", NULL, pool), APR_EEXIST, "it is not made twice");
    is_rv(cib_storage_open(&again, apr_pstrcat(pool, dir, "/./", NULL), pool), APR_SUCCESS,
          "another way to write its path");
    is_str(again->dir, dir, "... is the same path");
    is_mem(again->secret, storage->secret, CIB_SECRET_LEN, "... and the same secret");
    is_str(cib_storage_path(storage, "lock", pool), apr_pstrcat(pool, dir, "/lock", NULL),
           "a path in it");
}

static void test_create_elsewhere(apr_pool_t *pool)
{
    const char *empty = scratch_file(pool, "empty");
    const char *used = scratch_file(pool, "used");
    const char *deep = scratch_file(pool, "a/b/c/");
    cib_storage_t *storage = NULL, *moved = NULL;

    mkdir(empty, 0700);
    is_rv(cib_storage_create(empty, "sqlite3", NULL, pool), APR_SUCCESS, "in an empty directory");
    check_tree(pool, empty);
    mkdir(used, 0700);
    mkdir(scratch_file(pool, "used/artifacts"), 0700);
    spew(scratch_file(pool, "used/else"), "x", 1);
    is_rv(cib_storage_create(used, "pgsql", "host=db dbname='a \"b\"'", pool), APR_SUCCESS,
          "in a directory with something in it, left by one that was killed");
    is_rv(cib_storage_open(&storage, used, pool), APR_SUCCESS, "... it opens");
    is_str(storage->params, "host=db dbname='a \"b\"'", "... with the parameters to the letter");
    is_rv(cib_storage_create(deep, "pgsql", NULL, pool), APR_SUCCESS, "where no parent is yet");
    is_rv(cib_storage_open(&storage, deep, pool), APR_SUCCESS, "... it opens");
    is_str(storage->params, "", "... and leaves the parameters to libpq");
    is_rv(cib_storage_create(scratch_file(pool, "odd"), "mysql", "x", pool), APR_EINVAL,
          "an unknown driver");
    spew(scratch_file(pool, "plain"), "x", 1);
    is_rv(cib_storage_create(scratch_file(pool, "plain"), "sqlite3", NULL, pool), APR_ENOTDIR,
          "where a file is");
    is_rv(cib_storage_open(&storage, scratch_file(pool, "plain"), pool), APR_ENOENT,
          "... which does not open either");
    rename(empty, scratch_file(pool, "moved"));
    is_rv(cib_storage_open(&moved, scratch_file(pool, "moved"), pool), APR_SUCCESS,
          "it may be moved");
    is_str(moved->params, scratch_file(pool, "moved/ci-builds.db"), "... with its database");
}

static void test_config(apr_pool_t *pool)
{
    static const char good[] =
        "{\"version\":1,\"driver\":\"sqlite3\",\"params\":\"/x.db\","
        "\"id\":\"00112233445566778899aabbccddeeff\","
        "\"secret\":\"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff\"}";
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "not JSON",
        "{\"version\":1}",
        "{\"version\":2,\"driver\":\"sqlite3\",\"id\":\"00112233445566778899aabbccddeeff\","
        "\"secret\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
        "{\"version\":1,\"driver\":\"oracle\",\"id\":\"00112233445566778899aabbccddeeff\","
        "\"secret\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
        "{\"version\":1,\"driver\":\"sqlite3\",\"id\":\"0011\","
        "\"secret\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
        "{\"version\":1,\"driver\":\"sqlite3\",\"id\":\"00112233445566778899aabbccddeeff\","
        "\"secret\":\"001122\"}",
        "{\"version\":1,\"driver\":\"sqlite3\",\"id\":\"00112233445566778899aabbccddeeff\"}",
        "{\"version\":1,\"driver\":\"sqlite3\",\"params\":7,"
        "\"id\":\"00112233445566778899aabbccddeeff\","
        "\"secret\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
        "{\"version\":1,\"driver\":\"sqlite3\",\"params\":\"a\\u0000b\","
        "\"id\":\"00112233445566778899aabbccddeeff\","
        "\"secret\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
    };
    const char *config = scratch_file(pool, "conf/config");
    cib_storage_t *storage = NULL;
    char *large = apr_palloc(pool, 70000);

    mkdir(scratch_file(pool, "conf"), 0700);
    is_rv(cib_storage_open(&storage, scratch_file(pool, "conf"), pool), APR_ENOENT,
          "a directory without a config");
    spew(config, good, sizeof(good) - 1);
    is_rv(cib_storage_open(&storage, scratch_file(pool, "conf"), pool), APR_SUCCESS,
          "a config by hand");
    is_str(storage->params, "/x.db", "... with parameters");
    is_str(cib_hex(storage->secret, CIB_SECRET_LEN, pool),
           "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "... and secret");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        spew(config, bad[i], strlen(bad[i]));
        is_rv(cib_storage_open(&storage, scratch_file(pool, "conf"), pool), APR_EINVAL,
              "a bad config: %.40s", bad[i]);
    }
    memset(large, ' ', 70000);
    spew(config, large, 70000);
    is_rv(cib_storage_open(&storage, scratch_file(pool, "conf"), pool), APR_EINVAL,
          "one that is no config for its size");
    unlink(config);
    spew(scratch_file(pool, "elsewhere"), good, sizeof(good) - 1);
    is_int(symlink("../elsewhere", config), 0, "a link");
    is_rv(cib_storage_open(&storage, scratch_file(pool, "conf"), pool), APR_EINVAL,
          "... is not followed");
}

static int create_together(void *baton)
{
    apr_pool_t *pool = baton;
    const char *dir = scratch_file(pool, "raced");

    child_tell();
    child_wait();
    switch (cib_storage_create(dir, "sqlite3", NULL, pool)) {
    case APR_SUCCESS:
        return 0;
    case APR_EEXIST:
        return 1;
    default:
        return 2;
    }
}

static void test_race(apr_pool_t *pool)
{
    child_t children[8];
    int made = 0, found = 0;
    cib_storage_t *storage;

    for (int i = 0; i < 8; i++) {
        children[i] = child_start(create_together, pool);
        child_hear(&children[i]);
    }
    for (int i = 0; i < 8; i++)
        child_release(&children[i]);
    for (int i = 0; i < 8; i++) {
        int code = child_end(&children[i]);

        made += code == 0;
        found += code == 1;
    }
    is_int(made, 1, "of eight that make one, one does");
    is_int(found, 7, "... and seven are told");
    is_rv(cib_storage_open(&storage, scratch_file(pool, "raced"), pool), APR_SUCCESS,
          "... and it opens");
}

typedef struct seen_t {
    int count;
    int locked;
    apr_int64_t bytes;
    apr_int64_t ids;
    const char *names;
    apr_pool_t *pool;
    int stop_at;
    const cib_storage_t *remove_from;
} seen_t;

static apr_status_t see(void *baton, const cib_stored_file_t *file, apr_pool_t *pool)
{
    seen_t *seen = baton;

    seen->count++;
    seen->locked += cib_stored_file_locked(file);
    seen->bytes += file->size;
    seen->ids += file->build_id;
    seen->names = apr_pstrcat(seen->pool, seen->names, " ", file->name, NULL);
    if (seen->remove_from)
        return cib_storage_remove(seen->remove_from, CIB_AREA_ARTIFACTS, file->name, NULL, pool);
    return seen->count == seen->stop_at ? APR_EGENERAL : APR_SUCCESS;
}

static int has_folder(const apr_array_header_t *folders, apr_int64_t first_id)
{
    int count = 0;

    for (int i = 0; i < folders->nelts; i++)
        count += APR_ARRAY_IDX(folders, i, apr_int64_t) == first_id;
    return count == 1;
}

/* The folders that numbers from 0 to 99 draw. */
static apr_array_header_t *drawn(const cib_storage_t *storage, apr_pool_t *pool)
{
    apr_array_header_t *all = apr_array_make(pool, 8, sizeof(apr_int64_t));

    for (apr_uint32_t lot = 0; lot < 100; lot++) {
        apr_int64_t first_id = -2;

        cib_storage_folder_drawn(storage, CIB_AREA_ARTIFACTS, lot, &first_id, pool);
        if (!has_folder(all, first_id))
            APR_ARRAY_PUSH(all, apr_int64_t) = first_id;
    }
    return all;
}

static void fill(apr_pool_t *pool, const char *dir)
{
    static const char *const folders[] = {"0",    "0/0",     "0/12",      "3",        "3/999",
                                          "0/x",  "junk",    "junk/0",    "0/1000",   "0/-1",
                                          "99/1", "0/0/dir", "0/0/7-dir", "0/0/12-a", "99"};

    for (int pass = 0; pass < 2; pass++) /* parents that stand behind their children */
        for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
            mkdir(apr_pstrcat(pool, dir, "/artifacts/", folders[i], NULL), 0700);
    spew(apr_pstrcat(pool, dir, "/artifacts/0/0/7-archive-00ff", NULL), "1234567", 7);
    spew(apr_pstrcat(pool, dir, "/artifacts/0/0/.7-archive-00fe", NULL), "1", 1);
    spew(apr_pstrcat(pool, dir, "/artifacts/0/0/stray", NULL), "", 0);
    spew(apr_pstrcat(pool, dir, "/artifacts/0/12/12999-metadata-01", NULL), "12", 2);
    spew(apr_pstrcat(pool, dir, "/artifacts/3/999/3999000-archive-02", NULL), "12", 2);
    spew(apr_pstrcat(pool, dir, "/artifacts/0/12000-lost-02", NULL), "12", 2);
    is_int(symlink("stray", apr_pstrcat(pool, dir, "/artifacts/0/0/8-link-00", NULL)), 0, "a link");
    is_int(mkfifo(apr_pstrcat(pool, dir, "/artifacts/0/0/9-fifo-00", NULL), 0600), 0, "a FIFO");
}

static void test_walk(apr_pool_t *pool)
{
    const cib_storage_t *storage = scratch_storage(pool, "walked");
    apr_array_header_t *folders = NULL;
    seen_t seen = {0, 0, 0, 0, "", pool, 0, NULL};
    int fd;

    is_rv(cib_storage_walk(storage, CIB_AREA_ARTIFACTS, see, &seen, pool), APR_SUCCESS,
          "walk where nothing is");
    is_int(seen.count, 0, "... and see nothing");
    folders = drawn(storage, pool);
    ok(folders->nelts == 1 && has_folder(folders, -1), "... and none can be drawn");
    fill(pool, storage->dir);
    fd = open(cib_storage_path(storage, "artifacts/0/12/12999-metadata-01", pool), O_RDWR);
    flock(fd, LOCK_EX);
    is_rv(cib_storage_folders(storage, CIB_AREA_ARTIFACTS, &folders, pool), APR_SUCCESS,
          "the folders");
    is_int(folders->nelts, 4, "... are four");
    ok(has_folder(folders, 0) && has_folder(folders, 12000) && has_folder(folders, 3999000) &&
           has_folder(folders, 99001000),
       "... named by their lowest build");
    folders = drawn(storage, pool);
    ok(folders->nelts == 4 && has_folder(folders, 0) && has_folder(folders, 12000) &&
           has_folder(folders, 3999000) && has_folder(folders, 99001000),
       "... and each is drawn");
    is_rv(cib_storage_walk(storage, CIB_AREA_ARTIFACTS, see, &seen, pool), APR_SUCCESS, "walk");
    is_int(seen.count, 5, "... and see each regular file");
    is_int(seen.locked, 1, "... one of them locked");
    is_int(seen.bytes, 12, "... with its size");
    is_int(seen.ids, 7 + 12999 + 3999000, "... and its build");
    ok(strstr(seen.names, " .7-archive-00fe"), "... also the unfinished");
    seen = (seen_t){0, 0, 0, 0, "", pool, 0, NULL};
    close(fd);
    is_rv(cib_storage_walk_folder(storage, CIB_AREA_ARTIFACTS, 12000, see, &seen, pool),
          APR_SUCCESS, "walk one folder");
    is_str(seen.names, " 12999-metadata-01", "... and see what is in it");
    is_int(seen.locked, 0, "... no longer locked");
    is_rv(cib_storage_walk_folder(storage, CIB_AREA_ARTIFACTS, 5000, see, &seen, pool), APR_SUCCESS,
          "a folder that is not there is empty");
    seen = (seen_t){0, 0, 0, 0, "", pool, 2, NULL};
    is_rv(cib_storage_walk(storage, CIB_AREA_ARTIFACTS, see, &seen, pool), APR_EGENERAL,
          "the visitor's error ends it");
    is_int(seen.count, 2, "... there and then");
}

static void test_remove(apr_pool_t *pool)
{
    static const char *const bad[] = {"",       "..",           ".",           "../lock",
                                      "x",      "stray",        "7/../../../", "..7-archive-00fe",
                                      "0-x-00", "-7-archive-0", "7-a\nb",      "7 ",
                                      "config"};
    const cib_storage_t *storage = NULL;
    seen_t seen = {0, 0, 0, 0, "", pool, 0, NULL};
    apr_int64_t freed = -1;

    cib_storage_open((cib_storage_t **)&storage, scratch_file(pool, "walked"), pool);
    is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, "7-archive-00ff", &freed, pool),
          APR_SUCCESS, "remove a file");
    is_int(freed, 7, "... frees its bytes");
    ok(!exists(cib_storage_path(storage, "artifacts/0/0/7-archive-00ff", pool)), "... it is gone");
    is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, "7-archive-00ff", &freed, pool),
          APR_SUCCESS, "remove it again");
    is_int(freed, 0, "... frees nothing");
    is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, "5555555-archive-00ff", NULL, pool),
          APR_SUCCESS, "remove where not even the folder is");
    is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, ".7-archive-00fe", NULL, pool),
          APR_SUCCESS, "remove an unfinished one");
    ok(!exists(cib_storage_path(storage, "artifacts/0/0/.7-archive-00fe", pool)), "... it is gone");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, bad[i], NULL, pool), APR_EINVAL,
              "bad name %d", (int)i);
    is_rv(cib_storage_remove(storage, CIB_AREA_ARTIFACTS, NULL, NULL, pool), APR_EINVAL, "no name");
    unlink(cib_storage_path(storage, "artifacts/0/0/stray", pool));
    seen.remove_from = storage;
    is_rv(cib_storage_walk(storage, CIB_AREA_ARTIFACTS, see, &seen, pool), APR_SUCCESS,
          "a visitor may remove what it sees");
    is_int(seen.count, 2, "... all of it");
    seen = (seen_t){0, 0, 0, 0, "", pool, 0, NULL};
    cib_storage_walk(storage, CIB_AREA_ARTIFACTS, see, &seen, pool);
    is_int(seen.count, 0, "... and it is gone");
}

static void test_free_bytes(apr_pool_t *pool)
{
    cib_storage_t *storage;
    cib_storage_t gone = {0};
    apr_int64_t bytes = -1;

    cib_storage_open(&storage, scratch_file(pool, "new"), pool);
    is_rv(cib_storage_free_bytes(storage, &bytes, pool), APR_SUCCESS, "the free bytes");
    ok(bytes > 0, "... are some");
    gone.dir = scratch_file(pool, "gone");
    is_rv(cib_storage_free_bytes(&gone, &bytes, pool), APR_ENOENT, "of a directory that is gone");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    umask(022);
    test_create(pool);
    test_create_elsewhere(pool);
    test_config(pool);
    test_race(pool);
    test_walk(pool);
    test_remove(pool);
    test_free_bytes(pool);
    return done_testing();
}

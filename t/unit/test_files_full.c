/* A filesystem that is really full: a small tmpfs in a mount namespace of this program's own. */
#include "scratch.h"

#include <sched.h>
#include <sys/mount.h>

#include "files/cib_blob.h"
#include "files/cib_generation.h"
#include "files/cib_tracefile.h"
#include "util/cib_error.h"

#define MIB (1024 * 1024)

static const cib_storage_t *storage;
static char chunk[MIB];

static void mount_small(apr_pool_t *pool)
{
    const char *dir = scratch_file(pool, "small");

    mkdir(dir, 0700);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=4m") != 0)
        skip_all("no small filesystem can be mounted here: %s", strerror(errno));
}

static apr_int64_t free_bytes(apr_pool_t *pool)
{
    apr_int64_t bytes = -1;

    cib_storage_free_bytes(storage, &bytes, pool);
    return bytes;
}

/* Leave so many bytes free. */
static const char *fill_up(apr_pool_t *pool, apr_int64_t leave)
{
    const char *path = cib_storage_path(storage, "filler", pool);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    if (posix_fallocate(fd, 0, free_bytes(pool) - leave) != 0)
        bail_out("cannot fill the filesystem");
    close(fd);
    return path;
}

static void test_blob(apr_pool_t *parent)
{
    apr_int64_t before = free_bytes(parent);
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *pool;
    cib_blob_t *blob;
    cib_error_t *err;

    apr_pool_create(&pool, parent);
    is_rv(cib_blob_begin(&blob, storage, CIB_AREA_ARTIFACTS, 1, "archive", pool), APR_SUCCESS,
          "a blob");
    for (int i = 0; i < 5 && rv == APR_SUCCESS; i++)
        rv = cib_blob_write(blob, chunk, MIB);
    is_rv(rv, ENOSPC, "... larger than the filesystem");
    err = cib_error_system(pool, rv, "store it");
    is_int(err->reason, CIB_REASON_NO_SPACE, "... is told as what it is");
    is_rv(cib_blob_seal(blob), ENOSPC, "... cannot be sealed");
    is_rv(cib_blob_publish(blob), ENOSPC, "... nor published");
    cib_blob_abandon(blob);
    /* folders may have been made */
    ok(free_bytes(parent) >= before - 65536, "... and leaves no bytes behind");
    apr_pool_destroy(pool);
}

static void test_trace(apr_pool_t *parent)
{
    cib_trace_state_t state, next;
    cib_tracefile_t *trace;
    const char *filler;
    apr_pool_t *pool;

    apr_pool_create(&pool, parent);
    cib_tracefile_lock(&trace, storage, 2, &state, pool);
    next = state;
    next.received = next.stored = 1000;
    cib_tracefile_write(trace, 0, chunk, 1000);
    is_rv(cib_tracefile_commit(trace, &next), APR_SUCCESS, "a trace");
    filler = fill_up(pool, 0);
    is_rv(cib_tracefile_write(trace, 1000, chunk, MIB), ENOSPC, "... that can grow no more");
    next.received = next.stored = 500;
    is_rv(cib_tracefile_commit(trace, &next), ENOSPC, "... nor have its second record");
    cib_tracefile_close(trace);
    is_rv(cib_tracefile_stat(storage, 2, &state, pool), APR_SUCCESS, "... still says");
    is_int(state.stored, 1000, "... what it said before");
    is_rv(cib_tracefile_lock(&trace, storage, 3, &state, pool), APR_SUCCESS,
          "a new trace needs no space");
    cib_tracefile_close(trace);
    unlink(filler);
    cib_tracefile_lock(&trace, storage, 2, &state, pool);
    next = state;
    next.received = next.stored = 1000 + MIB;
    is_rv(cib_tracefile_write(trace, 1000, chunk, MIB), APR_SUCCESS, "with space again");
    is_rv(cib_tracefile_commit(trace, &next), APR_SUCCESS, "... it goes on");
    cib_tracefile_close(trace);
    cib_tracefile_remove(storage, 2, NULL, pool);
    apr_pool_destroy(pool);
}

/* A map of a file with holes would be fatal at the first touch. */
static void test_generation(apr_pool_t *pool)
{
    const char *filler = fill_up(pool, 65536);
    cib_generation_t *gen = NULL;

    is_rv(cib_generation_open(&gen, storage, pool), ENOSPC, "no space for the generations");
    unlink(filler);
    is_rv(cib_generation_open(&gen, storage, pool), APR_SUCCESS, "with space they open");
    filler = fill_up(pool, 0);
    for (int id = 0; id < 65536; id++)
        cib_generation_raise(gen, id);
    ok(1, "... and full again every counter can be written");
    unlink(filler);
}

static void test_create(apr_pool_t *pool)
{
    const char *filler = fill_up(pool, 0);
    const char *dir = cib_storage_path(storage, "inner", pool);
    cib_storage_t *opened;

    is_rv(cib_storage_create(dir, "sqlite3", NULL, pool), ENOSPC, "no space for a config");
    is_rv(cib_storage_open(&opened, dir, pool), APR_ENOENT, "... then it is no storage directory");
    unlink(filler);
    is_rv(cib_storage_create(dir, "sqlite3", NULL, pool), APR_SUCCESS, "with space it becomes one");
    is_rv(cib_storage_open(&opened, dir, pool), APR_SUCCESS, "... that opens");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();
    const char *dir;

    scratch_dir();
    mount_small(pool);
    dir = scratch_file(pool, "small");
    storage = scratch_storage(pool, "small");
    memset(chunk, 'x', sizeof(chunk));
    test_blob(pool);
    test_trace(pool);
    test_generation(pool);
    test_create(pool);
    if (umount2(dir, MNT_DETACH) != 0)
        diag("cannot unmount: %s", strerror(errno));
    return done_testing();
}

/* A directory to play in, storage directories, and children that can be waited for and killed. */
#ifndef CIB_SCRATCH_H
#define CIB_SCRATCH_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#include "files/cib_storage.h"
#include "tap.h"

static char scratch_path[PATH_MAX];
static pid_t scratch_owner;

static int scratch_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void scratch_remove(void)
{
    if (getpid() == scratch_owner)
        nftw(scratch_path, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* The program's own directory, removed when it ends. */
TAP_UNUSED static const char *scratch_dir(void)
{
    const char *tmp = getenv("TMPDIR");

    if (!scratch_owner) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/cib-unit-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(path) || !realpath(path, scratch_path))
            bail_out("no temporary directory: %s", strerror(errno));
        scratch_owner = getpid();
        atexit(scratch_remove);
    }
    return scratch_path;
}

/* A path in it. */
TAP_UNUSED static const char *scratch_file(apr_pool_t *pool, const char *name)
{
    return apr_pstrcat(pool, scratch_dir(), "/", name, NULL);
}

/* A new storage directory of that name in it. */
TAP_UNUSED static const cib_storage_t *scratch_storage(apr_pool_t *pool, const char *name)
{
    cib_storage_t *storage = NULL;
    const char *dir = scratch_file(pool, name);
    apr_status_t rv = cib_storage_create(dir, "sqlite3", NULL, pool);

    if (rv == APR_SUCCESS)
        rv = cib_storage_open(&storage, dir, pool);
    if (rv != APR_SUCCESS)
        bail_out("no storage directory: error %d", (int)rv);
    return storage;
}

TAP_UNUSED static int exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* Write a whole file. */
TAP_UNUSED static void spew(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, data, len) != (ssize_t)len)
        bail_out("cannot write %s: %s", path, strerror(errno));
    close(fd);
}

/* Read a whole file into `pool`, with a NUL behind it; NULL where it is not there. */
TAP_UNUSED static char *slurp(const char *path, size_t *len, apr_pool_t *pool)
{
    struct stat st;
    char *data;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) != 0)
        bail_out("cannot stat %s: %s", path, strerror(errno));
    data = apr_pcalloc(pool, (size_t)st.st_size + 1);
    if (read(fd, data, (size_t)st.st_size) != st.st_size)
        bail_out("cannot read %s: %s", path, strerror(errno));
    close(fd);
    if (len)
        *len = (size_t)st.st_size;
    return data;
}

/* A child. It tells its parent things byte by byte (child_tell, child_hear) and waits for a word
 * (child_release, child_wait). It must end in _exit: child_fn's result is its exit code. */
typedef struct child_t {
    pid_t pid;
    int hear; /* the parent's end of what it tells */
    int release;
} child_t;

static int child_tell_fd = -1, child_wait_fd = -1;

typedef int (*child_fn)(void *baton);

TAP_UNUSED static void child_tell(void)
{
    if (write(child_tell_fd, "!", 1) != 1)
        _exit(99);
}

TAP_UNUSED static void child_wait(void)
{
    char word;

    if (read(child_wait_fd, &word, 1) != 1)
        _exit(98);
}

TAP_UNUSED static child_t child_start(child_fn fn, void *baton)
{
    int up[2], down[2];
    child_t child;

    if (pipe2(up, O_CLOEXEC) != 0 || pipe2(down, O_CLOEXEC) != 0)
        bail_out("no pipe: %s", strerror(errno));
    fflush(stdout);
    child.pid = fork();
    if (child.pid < 0)
        bail_out("no child: %s", strerror(errno));
    if (child.pid == 0) {
        close(up[0]);
        close(down[1]);
        child_tell_fd = up[1];
        child_wait_fd = down[0];
        _exit(fn(baton));
    }
    close(up[1]);
    close(down[0]);
    child.hear = up[0];
    child.release = down[1];
    return child;
}

/* Wait for one word; 0: it ended before it said anything. */
TAP_UNUSED static int child_hear(const child_t *child)
{
    char word;

    return read(child->hear, &word, 1) == 1;
}

TAP_UNUSED static void child_release(const child_t *child)
{
    if (write(child->release, "!", 1) != 1)
        diag("the child is gone");
}

/* Its exit code, or 128 and the signal that ended it. */
TAP_UNUSED static int child_end(child_t *child)
{
    int status = 0;

    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(child->hear);
    close(child->release);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TAP_UNUSED static int child_kill(child_t *child)
{
    kill(child->pid, SIGKILL);
    return child_end(child);
}

#endif

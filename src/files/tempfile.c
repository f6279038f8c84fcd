#include "tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

int cib_tempfile_always_named;

apr_status_t cib_tempfile_random(const char **hex, apr_pool_t *pool)
{
    unsigned char bytes[16];
    apr_status_t rv = cib_random(bytes, sizeof(bytes));

    if (rv == APR_SUCCESS)
        *hex = cib_hex(bytes, sizeof(bytes), pool);
    return rv;
}

#define PROC_PATH_LEN sizeof("/proc/self/fd/-2147483648")

static const char *proc_path(char *path, int fd)
{
    snprintf(path, PROC_PATH_LEN, "/proc/self/fd/%d", fd);
    return path;
}

/* APR_ENOTIMPL: it takes a name here. */
static apr_status_t open_unnamed(int *fd, const char *folder, mode_t mode)
{
    char path[PROC_PATH_LEN];
    apr_status_t rv;

    *fd = -1;
    if (cib_tempfile_always_named)
        return APR_ENOTIMPL;
    rv = cib_fd_open(fd, folder, O_TMPFILE | O_RDWR, mode);
    /* EISDIR and EINVAL: kernels and filesystems that do not know the flag */
    if (rv == EOPNOTSUPP || rv == EISDIR || rv == EINVAL || rv == ENOSYS)
        return APR_ENOTIMPL;
    if (rv != APR_SUCCESS)
        return rv;
    /* without /proc it could never be given a name */
    if (access(proc_path(path, *fd), F_OK) != 0) {
        cib_fd_close(fd);
        return APR_ENOTIMPL;
    }
    return APR_SUCCESS;
}

/* Between open and lock somebody who tidies up may take it for a leftover: then it has no link any
 * more, and another is made. */
static apr_status_t open_named(int *fd, const char *hidden, mode_t mode)
{
    for (int tries = 0; tries < 10; tries++) {
        struct stat st;
        apr_status_t rv = cib_fd_open(fd, hidden, O_CREAT | O_EXCL | O_RDWR, mode);

        if (rv != APR_SUCCESS)
            return rv;
        rv = cib_fd_lock(*fd, LOCK_EX);
        if (rv == APR_SUCCESS && fstat(*fd, &st) != 0)
            rv = errno;
        if (rv == APR_SUCCESS && st.st_nlink > 0)
            return APR_SUCCESS;
        cib_fd_close(fd);
        if (rv != APR_SUCCESS) {
            unlink(hidden);
            return rv;
        }
    }
    return APR_EBUSY;
}

apr_status_t cib_tempfile_open(cib_tempfile_t *temp, const char *folder, const char *stem,
                               mode_t mode, apr_pool_t *pool)
{
    apr_status_t rv;

    temp->hidden = apr_pstrcat(pool, folder, "/.", stem, NULL);
    temp->named = 0;
    rv = open_unnamed(&temp->fd, folder, mode);
    if (rv == APR_ENOTIMPL) {
        rv = open_named(&temp->fd, temp->hidden, mode);
        temp->named = rv == APR_SUCCESS;
    } else if (rv == APR_SUCCESS) {
        rv = cib_fd_lock(temp->fd, LOCK_EX);
        if (rv != APR_SUCCESS)
            cib_fd_close(&temp->fd);
    }
    return rv;
}

static apr_status_t link_unnamed(int fd, const char *path)
{
    char from[PROC_PATH_LEN];

    if (linkat(AT_FDCWD, proc_path(from, fd), AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0)
        return errno;
    return APR_SUCCESS;
}

apr_status_t cib_tempfile_link(cib_tempfile_t *temp, const char *path)
{
    if (!temp->named)
        return link_unnamed(temp->fd, path);
    /* not rename: that would silently take the place of what is there */
    if (link(temp->hidden, path) != 0)
        return errno;
    unlink(temp->hidden);
    temp->named = 0;
    return APR_SUCCESS;
}

void cib_tempfile_drop(cib_tempfile_t *temp)
{
    if (temp->named)
        unlink(temp->hidden);
    temp->named = 0;
    /* not left to close: a child on its way to exec may still have the same open file */
    if (temp->fd >= 0)
        cib_fd_lock(temp->fd, LOCK_UN);
    cib_fd_close(&temp->fd);
}

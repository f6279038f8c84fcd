#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

apr_status_t cib_fd_open(int *fd, const char *path, int flags, mode_t mode)
{
    do {
        *fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    } while (*fd < 0 && errno == EINTR);
    return *fd < 0 ? errno : APR_SUCCESS;
}

apr_status_t cib_fd_write(int fd, const void *data, apr_size_t len, apr_off_t offset)
{
    const char *at = data;

    while (len) {
        ssize_t done = pwrite(fd, at, len, offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        if (done == 0)
            return ENOSPC; /* no filesystem should, and turning for ever helps nobody */
        at += done;
        len -= (apr_size_t)done;
        offset += done;
    }
    return APR_SUCCESS;
}

apr_status_t cib_fd_read(int fd, void *data, apr_size_t len, apr_off_t offset, apr_size_t *got)
{
    char *at = data;

    *got = 0;
    while (*got < len) {
        ssize_t done = pread(fd, at + *got, len - *got, offset + (apr_off_t)*got);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        if (done == 0)
            break;
        *got += (apr_size_t)done;
    }
    return APR_SUCCESS;
}

apr_status_t cib_fd_sync(int fd)
{
    while (fsync(fd) != 0) {
        if (errno != EINTR)
            return errno;
    }
    return APR_SUCCESS;
}

apr_status_t cib_fd_lock(int fd, int operation)
{
    while (flock(fd, operation) != 0) {
        if (errno != EINTR)
            return errno;
    }
    return APR_SUCCESS;
}

void cib_fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

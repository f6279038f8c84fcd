/* Plain descriptors: what APR's files do not offer (O_TMPFILE, flock, fsync, pwrite), with EINTR
 * and short transfers dealt with. Every function returns errno's value as an apr_status_t. */
#ifndef CIB_FILES_DESCRIPTOR_H
#define CIB_FILES_DESCRIPTOR_H

#include <sys/types.h>

#include <apr_errno.h>

/* open(2), never following a link at the end of the path, never inherited by another program.
 * `*fd` is -1 when it failed. */
apr_status_t cib_fd_open(int *fd, const char *path, int flags, mode_t mode);

/* All of `len` bytes at `offset`. */
apr_status_t cib_fd_write(int fd, const void *data, apr_size_t len, apr_off_t offset);

/* Up to `len` bytes at `offset`; `*got` is less only at the end of the file. */
apr_status_t cib_fd_read(int fd, void *data, apr_size_t len, apr_off_t offset, apr_size_t *got);

/* fsync. A failure is final: the kernel may have dropped what it could not write. */
apr_status_t cib_fd_sync(int fd);

/* flock with `operation`; APR_EAGAIN where LOCK_NB finds it taken. */
apr_status_t cib_fd_lock(int fd, int operation);

/* Close and forget. Only for what is synced or worthless: an error has no consequence here. */
void cib_fd_close(int *fd);

#endif

/* Calls that fail when they are told to: this program's own, in front of the C library's; so are
 * those that libapr, SQLite and libpq make (unit.mk exports them). One file of a program includes
 * this.
 */
#ifndef CIB_FAULT_H
#define CIB_FAULT_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum { FAULT_NONE, FAULT_FILES, FAULT_SOCKETS } fault_e;

static struct {
    fault_e kind;
    int error;     /* errno of what fails */
    int countdown; /* calls to come until then */
    int hit;
    const char *dir;
    size_t dir_len;
} fault;

/* How many there were of each. */
static int files_failed, sockets_failed;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_due(fault_e kind)
{
    if (fault.kind != kind || fault.countdown-- != 0)
        return 0;
    fault.hit = 1;
    fault.kind = FAULT_NONE;
    if (kind == FAULT_FILES)
        files_failed++;
    else
        sockets_failed++;
    return 1;
}

static int path_fails(const char *path)
{
    if (fault.kind != FAULT_FILES || strncmp(path, fault.dir, fault.dir_len) != 0 ||
        !is_due(FAULT_FILES))
        return 0;
    errno = fault.error;
    return 1;
}

static int fd_fails(int fd)
{
    char link[64], path[256];
    ssize_t len;

    if (fault.kind != FAULT_FILES)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    if (len < 0)
        return 0;
    path[len] = '\0';
    return path_fails(path);
}

/* The connection breaks where the call stood. */
static int socket_fails(int fd)
{
    if (!is_due(FAULT_SOCKETS))
        return 0;
    shutdown(fd, SHUT_RDWR);
    errno = ECONNRESET;
    return 1;
}

ssize_t write(int fd, const void *data, size_t len)
{
    return fd_fails(fd) ? -1 : REAL(write)(fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return fd_fails(fd) ? -1 : REAL(pwrite)(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    return fd_fails(fd) ? -1 : REAL(pwrite64)(fd, data, len, offset);
}

int fsync(int fd)
{
    return fd_fails(fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return fd_fails(fd) ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t len)
{
    return fd_fails(fd) ? -1 : REAL(ftruncate)(fd, len);
}

int ftruncate64(int fd, off64_t len)
{
    return fd_fails(fd) ? -1 : REAL(ftruncate64)(fd, len);
}

/* It is closed all the same, as on Linux. */
int close(int fd)
{
    int fails = fd_fails(fd);
    int rc = REAL(close)(fd);

    if (!fails)
        return rc;
    errno = fault.error;
    return -1;
}

static mode_t mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    mode_t mode;
    va_list args;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return path_fails(path) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode;
    va_list args;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return path_fails(path) ? -1 : REAL(open64)(path, flags, mode);
}

int link(const char *from, const char *to)
{
    return path_fails(to) ? -1 : REAL(link)(from, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    return path_fails(to) ? -1 : REAL(linkat)(from_fd, from, to_fd, to, flags);
}

int rename(const char *from, const char *to)
{
    return path_fails(to) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    return path_fails(path) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode)
{
    return path_fails(path) ? -1 : REAL(mkdir)(path, mode);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    return socket_fails(fd) ? -1 : REAL(send)(fd, data, len, flags);
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    return socket_fails(fd) ? -1 : REAL(recv)(fd, data, len, flags);
}

int syncfs(int fd)
{
    return fd_fails(fd) ? -1 : REAL(syncfs)(fd);
}

/* The N-th call from now on fails with `error`: of those that write below `dir`, or speak to
 * PostgreSQL. */
static void fault_arm(const char *dir, fault_e kind, int error, int countdown)
{
    fault.dir = dir;
    fault.dir_len = strlen(dir);
    fault.error = error;
    fault.countdown = countdown;
    fault.hit = 0;
    fault.kind = kind;
}

#endif

#include "files/cib_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <apr_thread_mutex.h>

#include "descriptor.h"

struct cib_lock_t {
    int fd;
    pid_t owner;
    apr_thread_mutex_t *turn; /* flock is the process's: its threads take turns */
};

static apr_status_t lock_cleanup(void *data)
{
    cib_lock_t *lock = data;

    cib_fd_close(&lock->fd);
    return APR_SUCCESS;
}

apr_status_t cib_lock_open(cib_lock_t **lock, const cib_storage_t *storage, apr_pool_t *pool)
{
    cib_lock_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->turn, APR_THREAD_MUTEX_DEFAULT, pool);

    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_fd_open(&made->fd, cib_storage_path(storage, "lock", pool), O_RDWR | O_CREAT, 0640);
    if (rv != APR_SUCCESS)
        return rv;
    made->owner = getpid();
    apr_pool_cleanup_register(pool, made, lock_cleanup, apr_pool_cleanup_null);
    *lock = made;
    return APR_SUCCESS;
}

apr_status_t cib_lock_acquire(cib_lock_t *lock)
{
    apr_status_t rv;

    if (lock->owner != getpid())
        return APR_EINVAL;
    rv = apr_thread_mutex_lock(lock->turn);
    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_fd_lock(lock->fd, LOCK_EX);
    if (rv != APR_SUCCESS)
        apr_thread_mutex_unlock(lock->turn);
    return rv;
}

apr_time_t cib_lock_noted(const cib_lock_t *lock)
{
    apr_time_t noted = 0;

    if (pread(lock->fd, &noted, sizeof(noted), 0) != (ssize_t)sizeof(noted))
        return 0;
    return noted;
}

void cib_lock_note(const cib_lock_t *lock, apr_time_t now)
{
    /* nothing depends on it but how long others wait */
    if (pwrite(lock->fd, &now, sizeof(now), 0) != (ssize_t)sizeof(now))
        return;
}

void cib_lock_release(cib_lock_t *lock)
{
    cib_fd_lock(lock->fd, LOCK_UN);
    apr_thread_mutex_unlock(lock->turn);
}

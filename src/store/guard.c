/* Sections on PostgreSQL that must not last for ever.
 *
 * libpq waits without an end for a server that says nothing: one that is stopped, a machine that is
 * gone. So each section's socket is known to a thread, which shuts it down when the section's time
 * is over; libpq then wakes up to a connection that is lost. The socket is duplicated, so that it
 * is the one meant even if libpq has closed it meanwhile and its number is another's.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_thread_cond.h>
#include <apr_thread_proc.h>

#include "internal.h"

typedef int (*socket_fn)(const void *connection);

struct cib_guard_t {
    apr_interval_time_t patience;
    socket_fn socket_of;       /* libpq's; atomically */
    apr_thread_mutex_t *mutex; /* over all that follows */
    apr_thread_cond_t *begun;
    cib_guarded_t *first; /* the one whose time is over first: all have the same patience */
    cib_guarded_t *last;
    int idle; /* the thread sleeps until somebody wakes it */
    int ending;
    apr_thread_t *thread;
};

static void leave(cib_guard_t *guard, cib_guarded_t *one)
{
    if (one->before)
        one->before->after = one->after;
    else
        guard->first = one->after;
    if (one->after)
        one->after->before = one->before;
    else
        guard->last = one->before;
    one->before = one->after = NULL;
}

static void cut_late(cib_guard_t *guard, apr_time_t now)
{
    while (guard->first && guard->first->until <= now) {
        cib_guarded_t *late = guard->first;

        leave(guard, late);
        late->cut = 1;
        (void)shutdown(late->fd, SHUT_RDWR);
    }
}

/* A thread that had to be woken for each section would cost more than the sections do. So it looks
 * by itself as long as there was somebody when it looked last: whoever has come since is not late
 * before it looks again. */
static void rest(cib_guard_t *guard, int was_busy)
{
    apr_interval_time_t left = guard->patience;

    if (guard->first && guard->first->until - apr_time_now() < left)
        left = guard->first->until - apr_time_now();
    if (guard->first || was_busy) {
        if (left > 0) /* APR takes less for ever */
            (void)apr_thread_cond_timedwait(guard->begun, guard->mutex, left);
        return;
    }
    guard->idle = 1;
    (void)apr_thread_cond_wait(guard->begun, guard->mutex);
    guard->idle = 0;
}

static void *APR_THREAD_FUNC keep_guard(apr_thread_t *thread, void *baton)
{
    cib_guard_t *guard = baton;
    int busy = 0;

    apr_thread_mutex_lock(guard->mutex);
    while (!guard->ending) {
        int was_busy = busy;

        cut_late(guard, apr_time_now());
        busy = guard->first != NULL;
        rest(guard, was_busy);
    }
    apr_thread_mutex_unlock(guard->mutex);
    return NULL;
}

static apr_status_t end_guard(void *baton)
{
    cib_guard_t *guard = baton;
    apr_status_t ended;

    apr_thread_mutex_lock(guard->mutex);
    guard->ending = 1;
    apr_thread_cond_signal(guard->begun);
    apr_thread_mutex_unlock(guard->mutex);
    return apr_thread_join(&ended, guard->thread);
}

apr_status_t cib_guard_create(cib_guard_t **guard, apr_interval_time_t patience, apr_pool_t *pool)
{
    cib_guard_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    made->patience = patience;
    if (rv == APR_SUCCESS)
        rv = apr_thread_cond_create(&made->begun, pool);
    if (rv == APR_SUCCESS)
        rv = apr_thread_create(&made->thread, NULL, keep_guard, made, pool);
    if (rv != APR_SUCCESS)
        return rv;
    apr_pool_pre_cleanup_register(pool, made, end_guard);
    *guard = made;
    return APR_SUCCESS;
}

/* The driver brings libpq into the process; we do not link it, for many have no use for it. */
static int socket_of(cib_guard_t *guard, const cib_connection_t *connection)
{
    socket_fn found = __atomic_load_n(&guard->socket_of, __ATOMIC_RELAXED);

    if (!found) {
        found = (socket_fn)dlsym(RTLD_DEFAULT, "PQsocket");
        __atomic_store_n(&guard->socket_of, found, __ATOMIC_RELAXED);
    }
    return found ? found(apr_dbd_native_handle(connection->driver, connection->handle)) : -1;
}

void cib_guard_begin(cib_guard_t *guard, const cib_connection_t *connection, cib_guarded_t *one)
{
    int fd = guard ? socket_of(guard, connection) : -1;

    one->before = one->after = NULL;
    one->cut = 0;
    one->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (one->fd < 0)
        return;
    apr_thread_mutex_lock(guard->mutex);
    one->until = apr_time_now() + guard->patience;
    one->before = guard->last;
    if (guard->last)
        guard->last->after = one;
    else
        guard->first = one;
    guard->last = one;
    if (guard->idle)
        apr_thread_cond_signal(guard->begun);
    apr_thread_mutex_unlock(guard->mutex);
}

void cib_guard_end(cib_guard_t *guard, cib_guarded_t *one)
{
    if (one->fd < 0)
        return;
    apr_thread_mutex_lock(guard->mutex);
    if (!one->cut)
        leave(guard, one);
    apr_thread_mutex_unlock(guard->mutex);
    close(one->fd);
    one->fd = -1;
}

/* A trial of what parking rests on, the way the MPM will do it. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <apr_network_io.h>
#include <apr_poll.h>
#include <apr_portable.h>

#include "trial.h"

#define PATIENCE apr_time_from_sec(1)

/* Is a ring of the bell told as readiness of the socket? */
static apr_status_t hear(apr_socket_t *socket, int bell, apr_pool_t *pool)
{
    apr_pollfd_t asked = {.p = pool, .desc_type = APR_POLL_SOCKET, .reqevents = APR_POLLIN};
    const apr_pollfd_t *heard = NULL;
    apr_pollset_t *pollset;
    apr_int32_t n = 0;
    apr_status_t rv;

    asked.desc.s = socket;
    rv = apr_pollset_create(&pollset, 1, pool, APR_POLLSET_THREADSAFE | APR_POLLSET_NOCOPY);
    if (rv != APR_SUCCESS)
        return rv;
    rv = apr_pollset_add(pollset, &asked);
    if (rv == APR_SUCCESS && eventfd_write(bell, 1) != 0)
        rv = errno;
    if (rv == APR_SUCCESS)
        rv = apr_pollset_poll(pollset, PATIENCE, &n, &heard);
    if (rv == APR_SUCCESS && (n != 1 || heard[0].desc.s != socket))
        rv = APR_ENOTIMPL;
    if (rv == APR_SUCCESS)
        rv = apr_pollset_remove(pollset, &asked);
    apr_pollset_destroy(pollset);
    return rv;
}

static apr_status_t swap(apr_socket_t *socket, int bell, apr_pool_t *pool)
{
    apr_os_sock_t own, seen;
    apr_status_t rv = apr_os_sock_get(&own, socket);

    if (rv != APR_SUCCESS)
        return rv;
    rv = apr_os_sock_put(&socket, &bell, pool);
    if (rv == APR_SUCCESS)
        rv = apr_os_sock_get(&seen, socket);
    if (rv == APR_SUCCESS && seen != bell)
        rv = APR_ENOTIMPL;
    if (rv == APR_SUCCESS)
        rv = hear(socket, bell, pool);
    apr_os_sock_put(&socket, &own, pool);
    return rv;
}

apr_status_t cib_trial(apr_pool_t *pool)
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    apr_socket_t *socket;
    apr_status_t rv;

    if (bell < 0)
        return errno;
    rv = apr_socket_create(&socket, APR_INET, SOCK_STREAM, APR_PROTO_TCP, pool);
    if (rv == APR_SUCCESS) {
        rv = swap(socket, bell, pool);
        apr_socket_close(socket);
    }
    close(bell);
    return rv;
}

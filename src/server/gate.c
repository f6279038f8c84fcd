/* Gates: who waits for a connection waits for a moment only. mod_dbd's pool would let them wait for
 * ever. */
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "internal.h"

struct cib_gate_t {
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *left;
    int room;
};

apr_status_t cib_gate_create(cib_gate_t **gate, int room, apr_pool_t *pool)
{
    cib_gate_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    made->room = room;
    if (rv == APR_SUCCESS)
        rv = apr_thread_cond_create(&made->left, pool);
    *gate = made;
    return rv;
}

int cib_gate_enter(cib_gate_t *gate, apr_time_t until)
{
    apr_interval_time_t rest;
    int entered;

    apr_thread_mutex_lock(gate->mutex);
    while (gate->room <= 0 && (rest = until - apr_time_now()) > 0)
        (void)apr_thread_cond_timedwait(gate->left, gate->mutex, rest);
    entered = gate->room > 0;
    if (entered)
        gate->room--;
    apr_thread_mutex_unlock(gate->mutex);
    return entered;
}

void cib_gate_leave(cib_gate_t *gate)
{
    apr_thread_mutex_lock(gate->mutex);
    gate->room++;
    apr_thread_cond_signal(gate->left);
    apr_thread_mutex_unlock(gate->mutex);
}

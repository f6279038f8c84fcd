/* Wakers: who listens for raised generations. */
#include <signal.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "server/cib_config.h"
#include "server/cib_waker.h"

APLOG_USE_MODULE(ci_builds);

typedef struct waker_t {
    struct waker_t *next;
    cib_instance_t *instance;
    apr_thread_t *thread;
} waker_t;

/* Of this process. */
static apr_pool_t *wakers_pool;
static apr_thread_mutex_t *wakers_mutex;
static waker_t *wakers; /* only ever grows, at its head: read without the mutex */
static cib_waker_fn on_raise;
static int ending;

int cib_waker_is_wanted(server_rec *main_server)
{
    for (server_rec *s = main_server; s; s = s->next)
        if (cib_config_number(s, CIB_CONF_ENABLED) && cib_config_number(s, CIB_CONF_LONG_POLL))
            return 1;
    return 0;
}

/* What is announced while this looks around makes it look once more. */
static void *APR_THREAD_FUNC listen_on(apr_thread_t *thread, void *baton)
{
    cib_instance_t *instance = baton;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* they are the MPM's */
    for (;;) {
        apr_uint32_t seen = cib_generation_announced(instance->gen);

        if (__atomic_load_n(&ending, __ATOMIC_SEQ_CST))
            return NULL;
        on_raise(instance);
        cib_generation_wait(instance->gen, seen);
    }
}

/* Other processes that listen to the same generations are woken in vain, which hurts nobody. */
static apr_status_t end_all(void *data)
{
    apr_status_t ended;

    apr_thread_mutex_lock(wakers_mutex);
    __atomic_store_n(&ending, 1, __ATOMIC_SEQ_CST);
    apr_thread_mutex_unlock(wakers_mutex);
    for (waker_t *waker = wakers; waker; waker = waker->next) {
        cib_generation_announce(waker->instance->gen);
        apr_thread_join(&ended, waker->thread);
    }
    wakers = NULL;
    return APR_SUCCESS;
}

void cib_waker_open(apr_pool_t *pool, cib_waker_fn raised)
{
    wakers = NULL;
    ending = 0;
    on_raise = raised;
    apr_pool_create(&wakers_pool, pool);
    apr_pool_tag(wakers_pool, "cib_wakers");
    if (apr_thread_mutex_create(&wakers_mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        wakers_mutex = NULL;
        return;
    }
    apr_pool_pre_cleanup_register(pool, NULL, end_all);
}

static int is_heard(const cib_instance_t *instance)
{
    for (waker_t *waker = __atomic_load_n(&wakers, __ATOMIC_ACQUIRE); waker; waker = waker->next)
        if (waker->instance == instance)
            return 1;
    return 0;
}

static apr_status_t begin(cib_instance_t *instance)
{
    waker_t *waker = apr_pcalloc(wakers_pool, sizeof(*waker));
    apr_status_t rv;

    waker->next = wakers;
    waker->instance = instance;
    rv = apr_thread_create(&waker->thread, NULL, listen_on, instance, wakers_pool);
    if (rv == APR_SUCCESS)
        __atomic_store_n(&wakers, waker, __ATOMIC_RELEASE);
    return rv;
}

int cib_waker_listen(cib_instance_t *instance)
{
    apr_status_t rv = APR_SUCCESS;

    if (is_heard(instance))
        return 1;
    if (!wakers_mutex)
        return 0;
    apr_thread_mutex_lock(wakers_mutex);
    if (__atomic_load_n(&ending, __ATOMIC_SEQ_CST))
        rv = APR_EOF;
    else if (!is_heard(instance))
        rv = begin(instance);
    apr_thread_mutex_unlock(wakers_mutex);
    if (rv != APR_SUCCESS)
        ap_log_error(APLOG_MARK, APLOG_DEBUG, rv, instance->server,
                     "CIB0250: cannot listen for what changes in %s: requests are not parked",
                     instance->storage->dir);
    return rv == APR_SUCCESS;
}

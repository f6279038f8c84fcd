#include "hasher.h"

#include <signal.h>

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "util/cib_crypto.h"

struct cib_hasher_t {
    cib_sha256_t *sha;
    apr_size_t alone; /* so much was hashed without a thread */
    int may_start;    /* a thread, when there is much; once */
    /* NULL: there is no thread. It has an allocator of its own: a request's must not be used by two
     * threads. */
    apr_pool_t *pool;
    apr_thread_t *thread;
    apr_thread_mutex_t *mutex; /* for all below */
    apr_thread_cond_t *changed;
    const void *data; /* to be hashed; NULL: nothing */
    apr_size_t len;
    int over;
    apr_status_t rv; /* the first failure */
};

apr_status_t cib_hasher_begin(cib_hasher_t **hasher, int threads, apr_pool_t *pool)
{
    cib_hasher_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = cib_sha256_begin(&made->sha, pool);

    made->may_start = threads;
    *hasher = made;
    return rv;
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    cib_hasher_t *hasher = data;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* they are the MPM's */
    apr_thread_mutex_lock(hasher->mutex);
    for (;;) {
        apr_status_t rv;

        while (!hasher->data && !hasher->over)
            apr_thread_cond_wait(hasher->changed, hasher->mutex);
        if (!hasher->data)
            break;
        apr_thread_mutex_unlock(hasher->mutex);
        rv = cib_sha256_update(hasher->sha, hasher->data, hasher->len);
        apr_thread_mutex_lock(hasher->mutex);
        if (hasher->rv == APR_SUCCESS)
            hasher->rv = rv;
        hasher->data = NULL;
        apr_thread_cond_signal(hasher->changed);
    }
    apr_thread_mutex_unlock(hasher->mutex);
    return NULL;
}

/* Where it cannot be had, hashing goes on without. */
static void start(cib_hasher_t *hasher)
{
    apr_status_t rv = apr_pool_create_unmanaged_ex(&hasher->pool, NULL, NULL);

    hasher->may_start = 0;
    if (rv == APR_SUCCESS)
        rv = apr_thread_mutex_create(&hasher->mutex, APR_THREAD_MUTEX_DEFAULT, hasher->pool);
    else
        hasher->pool = NULL;
    if (rv == APR_SUCCESS)
        rv = apr_thread_cond_create(&hasher->changed, hasher->pool);
    if (rv == APR_SUCCESS)
        rv = apr_thread_create(&hasher->thread, NULL, work, hasher, hasher->pool);
    if (rv != APR_SUCCESS && hasher->pool)
        apr_pool_destroy(hasher->pool);
    if (rv != APR_SUCCESS)
        hasher->pool = NULL;
}

/* With the mutex: until the thread has nothing to do. */
static apr_status_t wait_locked(cib_hasher_t *hasher)
{
    while (hasher->data)
        apr_thread_cond_wait(hasher->changed, hasher->mutex);
    return hasher->rv;
}

apr_status_t cib_hasher_wait(cib_hasher_t *hasher)
{
    apr_status_t rv;

    if (!hasher->pool)
        return hasher->rv;
    apr_thread_mutex_lock(hasher->mutex);
    rv = wait_locked(hasher);
    apr_thread_mutex_unlock(hasher->mutex);
    return rv;
}

static apr_status_t take_alone(cib_hasher_t *hasher, const void *data, apr_size_t len)
{
    hasher->alone += len;
    if (hasher->rv == APR_SUCCESS)
        hasher->rv = cib_sha256_update(hasher->sha, data, len);
    return hasher->rv;
}

apr_status_t cib_hasher_take(cib_hasher_t *hasher, const void *data, apr_size_t len)
{
    apr_status_t rv;

    if (hasher->may_start && hasher->alone >= CIB_HASHER_ALONE)
        start(hasher);
    if (!hasher->pool)
        return take_alone(hasher, data, len);
    apr_thread_mutex_lock(hasher->mutex);
    rv = wait_locked(hasher);
    if (rv == APR_SUCCESS && len) {
        hasher->data = data;
        hasher->len = len;
        apr_thread_cond_signal(hasher->changed);
    }
    apr_thread_mutex_unlock(hasher->mutex);
    return rv;
}

void cib_hasher_drop(cib_hasher_t *hasher)
{
    apr_status_t ignored;

    if (!hasher->pool)
        return;
    apr_thread_mutex_lock(hasher->mutex);
    hasher->over = 1;
    apr_thread_cond_signal(hasher->changed);
    apr_thread_mutex_unlock(hasher->mutex);
    apr_thread_join(&ignored, hasher->thread);
    apr_pool_destroy(hasher->pool);
    hasher->pool = NULL;
}

apr_status_t cib_hasher_end(cib_hasher_t *hasher, unsigned char *digest)
{
    apr_status_t rv = cib_hasher_wait(hasher);

    cib_hasher_drop(hasher);
    return rv == APR_SUCCESS ? cib_sha256_end(hasher->sha, digest) : rv;
}

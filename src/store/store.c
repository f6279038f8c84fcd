/* The store itself: what a process keeps of one instance's database. */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"

static apr_status_t driver_of(const char *name, cib_driver_e *driver)
{
    if (name && strcmp(name, "sqlite3") == 0)
        *driver = CIB_DRIVER_SQLITE3;
    else if (name && strcmp(name, "pgsql") == 0)
        *driver = CIB_DRIVER_PGSQL;
    else
        return APR_ENOTIMPL;
    return APR_SUCCESS;
}

apr_status_t cib_store_create(cib_store_t **store, const cib_storage_t *storage,
                              cib_generation_t *gen, apr_pool_t *pool)
{
    cib_store_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = driver_of(storage->driver, &made->driver);

    made->storage = storage;
    made->gen = gen;
    if (rv == APR_SUCCESS)
        rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    if (rv == APR_SUCCESS && made->driver == CIB_DRIVER_SQLITE3) {
        rv = cib_lock_open(&made->lock, storage, pool);
        if (rv == APR_SUCCESS)
            rv = cib_combiner_create(&made->combiner, pool);
    }
    if (rv == APR_SUCCESS && made->driver == CIB_DRIVER_PGSQL)
        rv = cib_gatherer_create(&made->gatherer, pool);
    if (rv == APR_SUCCESS)
        *store = made;
    return rv;
}

/* A statement that is canceled leaves a connection of use, so it has its time before the guard. */
apr_status_t cib_store_limit(cib_store_t *store, apr_interval_time_t patience, apr_pool_t *pool)
{
    store->patience = patience;
    if (store->driver == CIB_DRIVER_SQLITE3)
        return APR_SUCCESS;
    return cib_guard_create(&store->guard, patience + patience / 6, pool);
}

void cib_store_make_sure(cib_store_t *store)
{
    store->make_sure = 1;
}

cib_driver_e cib_store_driver(const cib_store_t *store)
{
    return store->driver;
}

void cib_store_note(cib_store_t *store, const cib_error_t *err)
{
    apr_thread_mutex_lock(store->mutex);
    store->error_time = apr_time_now();
    apr_cpystrn(store->error_text, err->detail ? err->detail : "", sizeof(store->error_text));
    apr_thread_mutex_unlock(store->mutex);
    if (store->tell)
        store->tell(store->tell_baton, err->detail ? err->detail : "");
}

void cib_store_on_error(cib_store_t *store, cib_store_error_fn tell, void *baton)
{
    store->tell = tell;
    store->tell_baton = baton;
}

apr_time_t cib_store_last_error(cib_store_t *store, const char **text, apr_pool_t *pool)
{
    apr_time_t when;

    apr_thread_mutex_lock(store->mutex);
    when = store->error_time;
    *text = apr_pstrdup(pool, store->error_text);
    apr_thread_mutex_unlock(store->mutex);
    return when;
}

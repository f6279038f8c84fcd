/* Connections of one's own. */
#include <string.h>

#include <apr_file_info.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "internal.h"
#include "store/cib_source.h"

typedef struct own_t own_t;

/* One connection, open or free; it lives in the pool of its own that it opened in. */
typedef struct kept_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_pool_t *pool;
    struct kept_t *next; /* while it is free */
} kept_t;

struct own_t {
    const apr_dbd_driver_t *driver;
    const char *params;
    const char *file; /* must be there; NULL: may be made, or is no file */
    apr_thread_mutex_t *mutex;
    kept_t *free;
    apr_pool_t *pool;
};

static apr_status_t close_handle(void *data)
{
    kept_t *kept = data;

    return apr_dbd_close(kept->driver, kept->handle);
}

apr_status_t cib_pool_own(apr_pool_t **pool, apr_pool_t *parent)
{
    apr_allocator_t *allocator;
    apr_status_t rv = apr_allocator_create(&allocator);

    if (rv != APR_SUCCESS)
        return rv;
    rv = apr_pool_create_ex(pool, parent, NULL, allocator);
    if (rv == APR_SUCCESS)
        apr_allocator_owner_set(allocator, *pool);
    else
        apr_allocator_destroy(allocator);
    return rv;
}

static apr_status_t connect_new(own_t *own, kept_t **kept)
{
    apr_finfo_t info;
    apr_pool_t *pool;
    apr_status_t rv = cib_pool_own(&pool, own->pool); /* one thread after the other uses it */

    if (rv != APR_SUCCESS)
        return rv;
    *kept = apr_pcalloc(pool, sizeof(**kept));
    (*kept)->pool = pool;
    (*kept)->driver = own->driver;
    /* SQLite would make an empty database of a mistyped name without a word */
    if (own->file)
        rv = apr_stat(&info, own->file, APR_FINFO_TYPE, pool);
    if (rv == APR_SUCCESS)
        rv = apr_dbd_open(own->driver, pool, own->params, &(*kept)->handle);
    if (rv == APR_SUCCESS)
        apr_pool_cleanup_register(pool, *kept, close_handle, apr_pool_cleanup_null);
    else
        apr_pool_destroy(pool);
    return rv;
}

static apr_status_t own_open(void *baton, apr_pool_t *pool, cib_connection_t *connection)
{
    own_t *own = baton;
    apr_status_t rv = APR_SUCCESS;
    kept_t *kept;

    apr_thread_mutex_lock(own->mutex);
    kept = own->free;
    if (kept)
        own->free = kept->next;
    else
        rv = connect_new(own, &kept);
    apr_thread_mutex_unlock(own->mutex);
    if (rv != APR_SUCCESS)
        return rv;
    connection->driver = kept->driver;
    connection->handle = kept->handle;
    connection->pool = kept->pool;
    connection->impl = kept;
    return APR_SUCCESS;
}

static void own_close(void *baton, cib_connection_t *connection, int broken)
{
    own_t *own = baton;
    kept_t *kept = connection->impl;

    apr_thread_mutex_lock(own->mutex);
    if (broken) {
        apr_pool_destroy(kept->pool);
    } else {
        kept->next = own->free;
        own->free = kept;
    }
    apr_thread_mutex_unlock(own->mutex);
}

apr_status_t cib_source_own(const cib_source_t **source, const char *driver, const char *params,
                            int create, apr_pool_t *pool)
{
    own_t *own = apr_pcalloc(pool, sizeof(*own));
    cib_source_t *made = apr_pcalloc(pool, sizeof(*made));
    int sqlite = strcmp(driver, "sqlite3") == 0;
    apr_status_t rv;

    if (!sqlite && strcmp(driver, "pgsql") != 0)
        return APR_ENOTIMPL;
    own->params = apr_pstrdup(pool, params);
    own->file = sqlite && !create ? own->params : NULL;
    rv = apr_dbd_init(pool);
    if (rv == APR_SUCCESS)
        rv = apr_dbd_get_driver(pool, driver, &own->driver);
    if (rv == APR_SUCCESS)
        rv = apr_thread_mutex_create(&own->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    if (rv == APR_SUCCESS)
        rv = apr_pool_create(&own->pool, pool);
    if (rv != APR_SUCCESS)
        return rv;
    made->open = own_open;
    made->close = own_close;
    made->baton = own;
    *source = made;
    return APR_SUCCESS;
}

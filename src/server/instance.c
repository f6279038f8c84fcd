/* Instances: which storages the virtual hosts name, and each opened once in this process. */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <ap_mpm.h>

#include "internal.h"
#include "server/cib_config.h"
#include "store/cib_listener.h"
#include "util/cib_text.h"

APLOG_USE_MODULE(ci_builds);

/* mod_dbd's own, where DBDMax does not say. */
#define DBD_MAX 10

/* Requests are answered within 5 seconds whatever the database does: WAIT_MAX (source.c) for a
 * connection, and then either one is made or a section runs. */
#define CONNECT_SECONDS "3"
#define PATIENCE apr_time_from_sec(3)

/* One storage directory. Known from post_config on; opened after the fork. */
typedef struct place_t {
    const char *dir;
    server_rec *server;
    cib_slot_t *slot;
    int connections;          /* that mod_dbd may have */
    cib_instance_t *instance; /* read and set atomically; NULL: not opened */
    apr_time_t tried;         /* under the mutex */
} place_t;

/* Of this configuration, set anew in each post_config; and of this process. */
static apr_array_header_t *places; /* place_t * */
static apr_pool_t *process_pool;
static apr_thread_mutex_t *process_mutex;

static place_t *place_of(const server_rec *s)
{
    const char *dir = cib_config_text(s, CIB_CONF_STORAGE);

    if (!places || !dir || !cib_config_number(s, CIB_CONF_ENABLED))
        return NULL;
    for (int i = 0; i < places->nelts; i++) {
        place_t *place = APR_ARRAY_IDX(places, i, place_t *);

        if (!strcmp(place->dir, dir))
            return place;
    }
    return NULL;
}

static int connections_of(const server_rec *s, apr_pool_t *pool)
{
    const char *most = cib_tree_argument(s, "DBDMax", pool);
    apr_int64_t n;

    return most && cib_int_parse(most, 1, APR_INT32_MAX, &n) == APR_SUCCESS ? (int)n : DBD_MAX;
}

/* libpq waits without an end where DBDParams do not say connect_timeout; it also looks here. */
static void bound_connecting(void)
{
    (void)setenv("PGCONNECT_TIMEOUT", CONNECT_SECONDS, 0);
}

int cib_instances_declare(apr_pool_t *pconf, server_rec *main_server)
{
    const apr_array_header_t *servers = cib_config_servers(main_server, pconf);

    places = apr_array_make(pconf, 4, sizeof(place_t *));
    process_mutex = NULL;
    bound_connecting();
    for (int i = 0; i < servers->nelts; i++) {
        server_rec *s = APR_ARRAY_IDX(servers, i, server_rec *);
        place_t *place;

        if (place_of(s))
            continue;
        place = apr_pcalloc(pconf, sizeof(*place));
        place->dir = cib_config_text(s, CIB_CONF_STORAGE);
        place->server = s;
        place->slot = cib_board_slot(place->dir, pconf);
        if (!place->slot) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "CIB0220: more storage directories than this httpd has room for: stop it "
                         "and start it again");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        cib_guesses_declare(pconf, s, place->slot);
        place->connections = connections_of(s, pconf);
        APR_ARRAY_PUSH(places, place_t *) = place;
    }
    return OK;
}

apr_array_header_t *cib_instance_servers(apr_pool_t *pool)
{
    apr_array_header_t *servers = apr_array_make(pool, 4, sizeof(server_rec *));

    for (int i = 0; places && i < places->nelts; i++)
        APR_ARRAY_PUSH(servers, server_rec *) = APR_ARRAY_IDX(places, i, place_t *)->server;
    return servers;
}

/* --- opening */

static void note_failure(void *baton, const char *text)
{
    cib_board_db_error(baton, text);
}

static apr_status_t open_parts(cib_instance_t *instance, const char *dir, const char **what,
                               apr_pool_t *pool)
{
    cib_storage_t *storage;
    apr_status_t rv;

    *what = "read";
    rv = cib_storage_open(&storage, dir, pool);
    if (rv != APR_SUCCESS)
        return rv;
    ap_mpm_query(AP_MPMQ_IS_THREADED, &storage->threads);
    instance->storage = storage;
    *what = "map the generations of";
    rv = cib_generation_open(&instance->gen, storage, pool);
    if (rv != APR_SUCCESS)
        return rv;
    *what = "open the store of";
    rv = cib_store_create(&instance->store, storage, instance->gen, pool);
    if (rv == APR_SUCCESS)
        rv = cib_store_limit(instance->store, PATIENCE, pool);
    if (rv == APR_SUCCESS)
        cib_store_on_error(instance->store, note_failure, instance->slot);
    if (rv == APR_SUCCESS)
        rv = cib_memo_create(&instance->idle, pool);
    return rv;
}

/* Without it nothing is wrong, only slower: whoever asks is answered by a search. */
static void begin_to_listen(const cib_instance_t *instance, apr_pool_t *pool)
{
    apr_status_t rv = cib_listener_begin(instance->store, pool);

    if (rv != APR_SUCCESS)
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, instance->server,
                     "CIB0224: cannot listen to what other hosts tell by NOTIFY; each poll "
                     "searches the database, and none is parked");
}

static void open_place(place_t *place)
{
    const char *what = NULL;
    apr_pool_t *pool;
    apr_status_t rv;
    cib_instance_t *instance;

    apr_pool_create(&pool, process_pool);
    apr_pool_tag(pool, "cib_instance");
    instance = apr_pcalloc(pool, sizeof(*instance));
    instance->server = place->server;
    instance->slot = place->slot;
    rv = open_parts(instance, place->dir, &what, pool);
    if (rv == APR_SUCCESS)
        rv = cib_gate_create(&instance->pool, place->connections, pool);
    if (rv == APR_SUCCESS)
        rv = cib_gate_create(&instance->door, 1, pool);
    if (rv == APR_SUCCESS) {
        begin_to_listen(instance, pool);
        __atomic_store_n(&place->instance, instance, __ATOMIC_RELEASE);
        return;
    }
    apr_pool_destroy(pool);
    if (cib_quiet_may_speak(cib_board_quiet(place->slot, CIB_QUIET_OPEN), apr_time_now()))
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, place->server,
                     "CIB0221: cannot %s the storage directory %s", what, place->dir);
}

/* In a child, and with -X in the only process there is. */
void cib_instances_open(apr_pool_t *pool, server_rec *main_server)
{
    apr_pool_create(&process_pool, pool);
    apr_pool_tag(process_pool, "cib_instances");
    if (apr_thread_mutex_create(&process_mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        process_mutex = NULL;
        return;
    }
    for (int i = 0; i < places->nelts; i++) {
        place_t *place = APR_ARRAY_IDX(places, i, place_t *);

        place->tried = apr_time_now();
        open_place(place);
    }
    cib_watch_begin(pool, main_server);
    cib_source_begin(pool);
}

static cib_instance_t *opened(const place_t *place)
{
    return __atomic_load_n(&place->instance, __ATOMIC_ACQUIRE);
}

cib_instance_t *cib_instance_of(server_rec *s)
{
    place_t *place = place_of(s);
    apr_time_t now;

    if (!place || !process_mutex)
        return NULL;
    if (opened(place))
        return opened(place);
    now = apr_time_now();
    apr_thread_mutex_lock(process_mutex);
    if (!opened(place) && (now < place->tried || now - place->tried >= apr_time_from_sec(1))) {
        place->tried = now;
        open_place(place);
    }
    apr_thread_mutex_unlock(process_mutex);
    return opened(place);
}

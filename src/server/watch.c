/* Turns of upkeep, by mod_watchdog: a watchdog for each storage, so that one whose database hangs
 * does not hold up another. */
#include <unistd.h>

#include <apr_network_io.h>
#include <apr_optional.h>
#include <apr_strings.h>
#include <apr_thread_rwlock.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_watchdog.h>

#include "internal.h"
#include "server/cib_watch.h"

APLOG_USE_MODULE(ci_builds);

#define INTERVAL apr_time_from_sec(1)

/* While the database is away: mod_dbd logs each attempt to reach it. */
#define PAUSE apr_time_from_sec(5)

typedef struct watch_t {
    server_rec *server;
    cib_watch_turn_fn turn;
    apr_time_t pause_from; /* of this process; 0: none */
} watch_t;

/* mod_watchdog's threads outlive the child's pool, and with it the connections and the stores. A
 * turn is a reader of this lock; the end of the pool becomes its writer and stays that. */
static apr_thread_rwlock_t *ending;

static apr_status_t end_turns(void *lock)
{
    return apr_thread_rwlock_wrlock(lock);
}

void cib_watch_begin(apr_pool_t *pool, server_rec *s)
{
    apr_thread_rwlock_t *made;

    /* in the process's pool: the threads ask for it to the last */
    if (apr_thread_rwlock_create(&made, s->process->pool) != APR_SUCCESS)
        return;
    apr_pool_pre_cleanup_register(pool, made, end_turns);
    __atomic_store_n(&ending, made, __ATOMIC_RELEASE);
}

/* Names this process among all hosts that share the database. */
static const char *holder_name(apr_pool_t *pool)
{
    char host[APRMAXHOSTLEN];

    if (apr_gethostname(host, sizeof(host), pool) != APR_SUCCESS)
        apr_cpystrn(host, "unknown", sizeof(host));
    return apr_psprintf(pool, "%s/%ld", host, (long)getpid());
}

static void tell(cib_instance_t *instance, const cib_error_t *err, apr_pool_t *pool)
{
    cib_quiet_t *quiet = cib_board_quiet(instance->slot, CIB_QUIET_TURN);

    if (!err) {
        if (cib_quiet_over(quiet))
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, instance->server,
                         "CIB0241: upkeep of %s works again", instance->storage->dir);
        return;
    }
    if (cib_quiet_may_speak(quiet, apr_time_now()))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, instance->server, "CIB0240: upkeep of %s: %s",
                     instance->storage->dir, cib_error_text(err, pool));
}

static int is_paused(const watch_t *watch, apr_time_t now)
{
    return now >= watch->pause_from && now - watch->pause_from < PAUSE;
}

static void take_turn(watch_t *watch, cib_instance_t *instance, apr_pool_t *pool)
{
    apr_time_t since = cib_board_turn_begins(instance->slot, apr_time_now());
    cib_error_t *err = watch->turn(instance, holder_name(pool), since, pool);
    int heard = !err || err->reason != CIB_REASON_UNAVAILABLE;

    cib_board_turn_ends(instance->slot, apr_time_now(), heard);
    watch->pause_from = heard ? 0 : apr_time_now();
    tell(instance, err, pool);
}

static apr_status_t on_watchdog(int state, void *data, apr_pool_t *pool)
{
    apr_thread_rwlock_t *lock = __atomic_load_n(&ending, __ATOMIC_ACQUIRE);
    watch_t *watch = data;
    cib_instance_t *instance;

    if (state != AP_WATCHDOG_STATE_RUNNING)
        return APR_SUCCESS;
    if (!lock || apr_thread_rwlock_tryrdlock(lock) != APR_SUCCESS)
        return APR_SUCCESS;
    instance = cib_instance_of(watch->server);
    if (instance)
        cib_guesses_tell(instance);
    if (instance && !is_paused(watch, apr_time_now()))
        take_turn(watch, instance, pool);
    apr_thread_rwlock_unlock(lock);
    return APR_SUCCESS;
}

static apr_status_t watch_server(server_rec *s, int number, cib_watch_turn_fn turn,
                                 apr_pool_t *pconf)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) * get_instance;
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) * register_callback;
    const char *name = apr_psprintf(pconf, "_ci_builds_%d_", number);
    watch_t *watch = apr_pcalloc(pconf, sizeof(*watch));
    ap_watchdog_t *watchdog;
    apr_status_t rv;

    get_instance = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    register_callback = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    if (!get_instance || !register_callback)
        return APR_ENOTIMPL;
    watch->server = s;
    watch->turn = turn;
    rv = get_instance(&watchdog, name, 0, 1, pconf);
    return rv == APR_SUCCESS ? register_callback(watchdog, INTERVAL, watch, on_watchdog) : rv;
}

int cib_watch_register(apr_pool_t *pconf, server_rec *s, cib_watch_turn_fn turn)
{
    const apr_array_header_t *servers = cib_instance_servers(pconf);

    for (int i = 0; i < servers->nelts; i++) {
        server_rec *server = APR_ARRAY_IDX(servers, i, server_rec *);
        apr_status_t rv = watch_server(server, i + 1, turn, pconf);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, rv, server,
                         "CIB0223: cannot register with mod_watchdog");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* Connections from mod_dbd, looked at before the store sees them. */
#include <string.h>
#include <unistd.h>

#include <apr_dbd.h>
#include <apr_optional.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_dbd.h>

#include "internal.h"

APLOG_USE_MODULE(ci_builds);

/* An attempt that failed slower than that had a time-out, and so will the next. */
#define FAILED_FAST apr_time_from_msec(500)

/* For at most so long after it: mod_dbd lets one thread connect at a time, so that many who wait
 * for a database that does not answer would wait for each other too. */
#define SLEEP_MAX apr_time_from_sec(5)

/* How long a connection may be waited for. */
#define WAIT_MAX apr_time_from_msec(1200)

/* In a connection's pool: the id of the instance it was found to suit. */
static const char suits_key[] = "cib_suits";

static APR_OPTIONAL_FN_TYPE(ap_dbd_open) * dbd_open;
static APR_OPTIONAL_FN_TYPE(ap_dbd_close) * dbd_close;

typedef struct source_t {
    cib_source_t source;
    server_rec *server;
    cib_instance_t *instance;
} source_t;

void cib_instances_find_dbd(void)
{
    dbd_open = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open);
    dbd_close = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close);
}

/* May this thread ask? Once the database has let somebody wait for nothing, one does at a time. */
static int may_ask(cib_instance_t *instance, apr_time_t now)
{
    apr_time_t until = __atomic_load_n(&instance->asleep, __ATOMIC_RELAXED);

    if (!until)
        return 1;
    if (now < until && until - now <= SLEEP_MAX)
        return 0;
    return __atomic_compare_exchange_n(&instance->asleep, &until, now + SLEEP_MAX, 0,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void asked(cib_instance_t *instance, int found, apr_interval_time_t took)
{
    apr_time_t until = 0;

    if (!found && took >= FAILED_FAST)
        until = apr_time_now() + (took < SLEEP_MAX ? took : SLEEP_MAX);
    if (until || __atomic_load_n(&instance->asleep, __ATOMIC_RELAXED))
        __atomic_store_n(&instance->asleep, until, __ATOMIC_RELAXED);
}

/* mod_dbd gives up when the connection it happened to pick turns out dead; the next one it picks or
 * makes may well live. */
static ap_dbd_t *ask(const source_t *from, apr_pool_t *pool)
{
    apr_time_t begun = apr_time_now();
    apr_interval_time_t took = 0;
    ap_dbd_t *found = NULL;

    if (!dbd_open || !may_ask(from->instance, begun))
        return NULL;
    for (int tries = 0; !found && tries < 2 && took < FAILED_FAST; tries++) {
        found = dbd_open(pool, from->server);
        took = apr_time_now() - begun;
    }
    asked(from->instance, found != NULL, took);
    return found;
}

/* How many this thread has now. */
static __thread int lent;

/* prefork ends a child from within a signal handler, in the midst of whatever it is at. A
 * connection that is in use can neither be closed then nor be missing from mod_dbd's pool, which
 * aborts the process. What is not committed is lost in any case. */
static apr_status_t end_lent(void *nothing)
{
    if (lent)
        _exit(0);
    return APR_SUCCESS;
}

void cib_source_begin(apr_pool_t *pool)
{
    apr_pool_pre_cleanup_register(pool, NULL, end_lent);
}

/* Where a connection has to be made, those behind wait for their moment and not for each other. */
static ap_dbd_t *acquire(const source_t *from, apr_pool_t *pool)
{
    apr_time_t until = apr_time_now() + WAIT_MAX;
    ap_dbd_t *found = NULL;

    if (!cib_gate_enter(from->instance->pool, until))
        return NULL;
    lent++;
    if (cib_gate_enter(from->instance->door, until)) {
        found = ask(from, pool);
        cib_gate_leave(from->instance->door);
    }
    if (!found) {
        lent--;
        cib_gate_leave(from->instance->pool);
    }
    return found;
}

static void release(const source_t *from, ap_dbd_t *found)
{
    dbd_close(from->server, found);
    lent--;
    cib_gate_leave(from->instance->pool);
}

static void lend(const ap_dbd_t *found, cib_connection_t *connection)
{
    connection->driver = found->driver;
    connection->handle = found->handle;
    connection->pool = found->pool;
    connection->impl = (void *)found;
}

/* --- the first look */

/* A source of the one connection that is being looked at. */
static apr_status_t held_open(void *baton, apr_pool_t *pool, cib_connection_t *connection)
{
    lend(baton, connection);
    return APR_SUCCESS;
}

static void held_close(void *baton, cib_connection_t *connection, int broken)
{
}

const char *cib_instance_mismatch(const cib_storage_t *storage, const cib_schema_state_t *state,
                                  apr_pool_t *pool)
{
    if (state->version == 0)
        return apr_psprintf(pool,
                            "the database has no schema of ci-builds: let DBDParams name the one "
                            "that 'ci-builds -s %s init' printed, or run that again",
                            storage->dir);
    if (!state->instance_id || strcmp(state->instance_id, storage->id))
        return apr_psprintf(pool,
                            "the database belongs to another storage directory than %s: let "
                            "DBDParams and CIBuildsStorage name what 'ci-builds init' printed",
                            storage->dir);
    if (state->version < cib_schema_version())
        return apr_psprintf(pool,
                            "the database's schema is version %d, this module needs %d: run "
                            "'ci-builds -s %s init'",
                            state->version, cib_schema_version(), storage->dir);
    if (state->version > cib_schema_version())
        return apr_psprintf(pool,
                            "the database's schema is version %d, this module knows %d: install "
                            "the mod_ci_builds that belongs to the ci-builds that made it",
                            state->version, cib_schema_version());
    return NULL;
}

/* NULL, or why this connection is not for this instance. */
static const char *examine(const source_t *from, ap_dbd_t *found, apr_pool_t *pool)
{
    const cib_source_t held = {held_open, held_close, found};
    const cib_storage_t *storage = from->instance->storage;
    const char *driver = apr_dbd_name(found->driver);
    cib_schema_state_t state = {0, NULL};
    cib_error_t *err;

    if (strcmp(driver, storage->driver))
        return apr_psprintf(pool, "DBDriver is %s, but the storage directory %s was made for %s",
                            driver, storage->dir, storage->driver);
    err = cib_schema_state(from->instance->store, &held, &state, pool);
    return err ? cib_error_text(err, pool) : cib_instance_mismatch(storage, &state, pool);
}

static int is_known(const source_t *from, const ap_dbd_t *found)
{
    void *id = NULL;

    apr_pool_userdata_get(&id, suits_key, found->pool);
    return id && !strcmp(id, from->instance->storage->id);
}

static int suits(const source_t *from, ap_dbd_t *found, apr_pool_t *pool)
{
    cib_quiet_t *quiet = cib_board_quiet(from->instance->slot, CIB_QUIET_REFUSE);
    const char *why;

    if (is_known(from, found))
        return 1;
    why = examine(from, found, pool);
    if (!why) {
        apr_pool_userdata_setn(from->instance->storage->id, suits_key, NULL, found->pool);
        cib_quiet_over(quiet);
        return 1;
    }
    if (cib_quiet_may_speak(quiet, apr_time_now()))
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, from->server, "CIB0230: %s", why);
    return 0;
}

/* --- the source */

static apr_status_t source_open(void *baton, apr_pool_t *pool, cib_connection_t *connection)
{
    const source_t *from = baton;
    ap_dbd_t *found = acquire(from, pool);

    if (!found)
        return APR_EGENERAL;
    if (!suits(from, found, pool)) {
        release(from, found);
        return APR_EGENERAL;
    }
    lend(found, connection);
    return APR_SUCCESS;
}

/* mod_dbd cannot be told to throw a connection away. One that broke is looked at again before it is
 * used again. */
static void source_close(void *baton, cib_connection_t *connection, int broken)
{
    const source_t *from = baton;
    ap_dbd_t *found = connection->impl;

    if (broken)
        apr_pool_userdata_setn(NULL, suits_key, NULL, found->pool);
    release(from, found);
}

const cib_source_t *cib_instance_source(server_rec *s, apr_pool_t *pool)
{
    cib_instance_t *instance = cib_instance_of(s);
    source_t *made;

    if (!instance)
        return NULL;
    made = apr_pcalloc(pool, sizeof(*made));
    made->source.open = source_open;
    made->source.close = source_close;
    made->source.baton = made;
    made->server = s;
    made->instance = instance;
    return &made->source;
}

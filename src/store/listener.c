/* The listener: a thread that hears what PostgreSQL tells, and raises it. */
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <libpq-fe.h>

#include "internal.h"
#include "store/cib_listener.h"
#include "store/cib_source.h"
#include "util/cib_crypto.h"

/* The generations are trusted that long after the listener asked; it asks three times meanwhile. */
#define TRUST apr_time_from_msec(900)
#define PERIOD apr_time_from_msec(300)

/* An answer that takes longer will not come. */
#define PATIENCE apr_time_from_sec(2)

/* Between two looks whether the host's listener has ended, or the database is back. */
#define STAND_BY apr_time_from_sec(1)

/* Before another look at a database that does not deliver. */
#define DEAF apr_time_from_sec(60)

/* More, in one notice, and everybody is meant. PostgreSQL takes 7,999 bytes. */
#define MAX_NOTICE 7000

/* libpq's, which comes with the driver (see guard.c). */
typedef struct libpq_t {
    __typeof__(&PQsocket) socket;
    __typeof__(&PQsendQuery) send;
    __typeof__(&PQconsumeInput) consume;
    __typeof__(&PQisBusy) is_busy;
    __typeof__(&PQgetResult) result;
    __typeof__(&PQresultStatus) status;
    __typeof__(&PQntuples) count;
    __typeof__(&PQclear) clear;
    __typeof__(&PQnotifies) notifies;
    __typeof__(&PQfreemem) free;
} libpq_t;

typedef struct listener_t {
    cib_store_t *store;
    apr_pool_t *pool; /* the thread's */
    const char *channel;
    libpq_t pq;
    int stop; /* an eventfd: readable when it is to end */
    int ours; /* this process listens for the host */
    int connected;
    const cib_source_t *source;
    apr_pool_t *below; /* the source's, one for each connection */
    cib_connection_t connection;
    apr_uint64_t wanted; /* the mark of what it has told itself; 0: it has come */
    apr_thread_t *thread;
} listener_t;

/* --- telling */

static const cib_sql_t notify = {"SELECT pg_notify(%s, %s)", NULL};

static const char *channel_of(const cib_store_t *store, apr_pool_t *pool)
{
    return apr_pstrcat(pool, "ci_builds_", store->storage->id, NULL);
}

static const char *notice_of(const cib_raises_t *raises, apr_uint64_t mark, apr_pool_t *pool)
{
    char *text = apr_palloc(pool, MAX_NOTICE + 64);
    char *at = text + apr_snprintf(text, 32, "%016" APR_UINT64_T_HEX_FMT, mark);
    int fits = !raises->all;

    for (int i = 0; i < raises->runners->nelts && fits; i++) {
        at += apr_snprintf(at, 32, " %" APR_INT64_T_FMT,
                           APR_ARRAY_IDX(raises->runners, i, apr_int64_t));
        fits = at - text < MAX_NOTICE;
    }
    if (!fits)
        apr_cpystrn(text + 16, " all", 5);
    return text;
}

cib_error_t *cib_notice_send(cib_db_t *db, apr_uint64_t *mark, apr_pool_t *pool)
{
    const char *text;
    cib_rows_t *rows;
    apr_status_t rv = cib_random(mark, sizeof(*mark));

    if (rv != APR_SUCCESS)
        return cib_error_system(pool, rv, "make a random number");
    *mark |= 1;
    text = notice_of(&db->raises, *mark, pool);
    return cib_db_select(db, &notify,
                         CIB_ARGS(CIB_TEXT(channel_of(db->store, pool)), CIB_TEXT(text)), 1, &rows,
                         pool);
}

/* --- hearing */

static PGconn *handle_of(const listener_t *listener)
{
    return apr_dbd_native_handle(listener->connection.driver, listener->connection.handle);
}

/* Whatever cannot be read is about everybody. */
static void raise_named(cib_generation_t *gen, const char *text)
{
    while (*text) {
        char *end;
        long long id = strtoll(text, &end, 10);

        if (*text != ' ' || end == text || id <= 0) {
            cib_generation_raise_all(gen);
            return;
        }
        cib_generation_raise(gen, id);
        text = end;
    }
}

/* What its writer, on this host, has raised already need not be raised again; nor the other way
 * round. */
static int hear(listener_t *listener, const char *text)
{
    cib_generation_t *gen = listener->store->gen;
    apr_uint64_t mark = strtoull(text, NULL, 16);

    if (mark == listener->wanted)
        listener->wanted = 0;
    if (mark && cib_generation_is_marked(gen, mark))
        return 0;
    if (mark && strlen(text) >= 16)
        raise_named(gen, text + 16);
    else
        cib_generation_raise_all(gen);
    if (mark)
        cib_generation_mark(gen, mark);
    return 1;
}

/* All that has arrived; 0: the connection is lost. */
static int drain(listener_t *listener)
{
    PGconn *conn = handle_of(listener);
    int raised = 0, alive = listener->pq.consume(conn);
    PGnotify *one;

    while ((one = listener->pq.notifies(conn)) != NULL) {
        raised |= hear(listener, one->extra);
        listener->pq.free(one);
    }
    if (raised)
        cib_generation_announce(listener->store->gen);
    return alive;
}

/* --- waiting */

/* Until something arrives, the time is over, or the listener is to end. 0: that. */
static int wait_for(const listener_t *listener, apr_interval_time_t time)
{
    struct pollfd fds[2] = {{.fd = listener->stop, .events = POLLIN}, {.fd = -1, .events = POLLIN}};

    if (listener->connected)
        fds[1].fd = listener->pq.socket(handle_of(listener));
    (void)poll(fds, 2, time > 0 ? (int)apr_time_as_msec(time) + 1 : 0);
    return !fds[0].revents;
}

/* --- asking */

static int rows_of(const listener_t *listener, PGresult *result)
{
    ExecStatusType status = listener->pq.status(result);
    int rows = status == PGRES_TUPLES_OK    ? listener->pq.count(result)
               : status == PGRES_COMMAND_OK ? 0
                                            : -1;

    listener->pq.clear(result);
    return rows;
}

/* Until there is an answer to what was sent last. Its number of rows; -1: there is none. */
static int await(listener_t *listener)
{
    apr_time_t until = cib_generation_clock() + PATIENCE;
    PGconn *conn = handle_of(listener);
    int rows = -1;
    PGresult *result;

    do {
        /* before each of them: the last may come when the connection has nothing more to say */
        while (listener->pq.is_busy(conn)) {
            apr_interval_time_t left = until - cib_generation_clock();

            if (left <= 0 || !wait_for(listener, left) || !drain(listener))
                return -1;
        }
        result = listener->pq.result(conn);
        if (result)
            rows = rows_of(listener, result);
    } while (result);
    return rows;
}

static int ask(listener_t *listener, const char *sql)
{
    return listener->pq.send(handle_of(listener), sql) ? await(listener) : -1;
}

/* Is this very backend listening? All that was committed before the question has come then. */
static int listens_still(listener_t *listener)
{
    static const char question[] = "SELECT 1 FROM pg_listening_channels() AS c WHERE c = '%s'";
    apr_time_t asked = cib_generation_clock();
    char sql[sizeof(question) + 64];

    apr_snprintf(sql, sizeof(sql), question, listener->channel);
    if (ask(listener, sql) != 1 || !drain(listener))
        return 0;
    cib_generation_hear(listener->store->gen, asked);
    return 1;
}

/* --- the connection */

static void disconnect(listener_t *listener)
{
    if (listener->connected)
        listener->source->close(listener->source->baton, &listener->connection, 1);
    listener->connected = 0;
    if (listener->below)
        apr_pool_destroy(listener->below);
    listener->below = NULL;
}

static int connect_anew(listener_t *listener)
{
    const cib_storage_t *storage = listener->store->storage;

    apr_pool_create(&listener->below, listener->pool);
    apr_pool_tag(listener->below, "cib_listener");
    listener->connected = cib_source_own(&listener->source, storage->driver, storage->params, 0,
                                         listener->below) == APR_SUCCESS &&
                          listener->source->open(listener->source->baton, listener->below,
                                                 &listener->connection) == APR_SUCCESS;
    return listener->connected;
}

/* Tell itself something. 0: the connection is lost. */
static int tell_itself(listener_t *listener)
{
    char sql[200];

    if (cib_random(&listener->wanted, sizeof(listener->wanted)) != APR_SUCCESS)
        return 0;
    listener->wanted |= 1;
    apr_snprintf(sql, sizeof(sql), "NOTIFY %s, '%016" APR_UINT64_T_HEX_FMT "'", listener->channel,
                 listener->wanted);
    return ask(listener, sql) >= 0;
}

/* Until it has heard what it told itself, or time enough for that is over. 0: the connection is
 * lost, or it is to end. */
static int hear_itself(listener_t *listener)
{
    apr_time_t until = cib_generation_clock() + PATIENCE;
    apr_interval_time_t left = PATIENCE;

    while (listener->wanted && left > 0) {
        if (!wait_for(listener, left) || !drain(listener))
            return 0;
        left = until - cib_generation_clock();
    }
    return 1;
}

static void note_deafness(const listener_t *listener)
{
    apr_pool_t *pool = listener->below;
    cib_error_t *err = cib_error(pool, CIB_REASON_UNAVAILABLE, APR_SUCCESS, NULL);

    cib_store_note(listener->store,
                   cib_error_detail(pool, err, "database: what is told by NOTIFY does not arrive"));
}

/* What was told while nobody listened is not known: so everything is new. */
static apr_interval_time_t begin_to_listen(listener_t *listener)
{
    const char *sql = apr_pstrcat(listener->below, "LISTEN ", listener->channel, NULL);

    if (ask(listener, sql) < 0 || !tell_itself(listener) || !hear_itself(listener))
        return STAND_BY;
    if (listener->wanted) {
        note_deafness(listener);
        return DEAF;
    }
    cib_generation_raise_all(listener->store->gen);
    cib_generation_announce(listener->store->gen);
    return 0;
}

/* --- the thread */

/* Whether what it takes is there; the time to wait before the next attempt where it is not. */
static apr_interval_time_t prepare(listener_t *listener)
{
    apr_interval_time_t pause = STAND_BY;

    if (!listener->ours)
        listener->ours =
            cib_generation_take_ear(listener->store->gen, listener->pool) == APR_SUCCESS;
    if (!listener->ours)
        return STAND_BY;
    if (connect_anew(listener))
        pause = begin_to_listen(listener);
    if (pause)
        disconnect(listener);
    return pause;
}

static void *APR_THREAD_FUNC listen_on(apr_thread_t *thread, void *baton)
{
    listener_t *listener = baton;
    apr_interval_time_t pause = 0;
    apr_time_t next = 0;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* they are the MPM's */
    while (wait_for(listener, pause)) {
        int alive = 1;

        if (!listener->connected && (pause = prepare(listener)) > 0)
            continue;
        if (cib_generation_clock() >= next) {
            next = cib_generation_clock() + PERIOD;
            alive = listens_still(listener);
        } else {
            alive = drain(listener);
        }
        if (!alive)
            disconnect(listener);
        pause = alive ? next - cib_generation_clock() : STAND_BY;
    }
    disconnect(listener);
    return NULL;
}

static apr_status_t end_listener(void *baton)
{
    listener_t *listener = baton;
    uint64_t one = 1;
    apr_status_t ended;

    if (write(listener->stop, &one, sizeof(one)) == (ssize_t)sizeof(one))
        apr_thread_join(&ended, listener->thread);
    close(listener->stop);
    return APR_SUCCESS;
}

static int find_libpq(libpq_t *pq)
{
    const struct {
        const char *name;
        void **function;
    } wanted[] = {
        {"PQsocket", (void **)&pq->socket},        {"PQsendQuery", (void **)&pq->send},
        {"PQconsumeInput", (void **)&pq->consume}, {"PQisBusy", (void **)&pq->is_busy},
        {"PQgetResult", (void **)&pq->result},     {"PQresultStatus", (void **)&pq->status},
        {"PQntuples", (void **)&pq->count},        {"PQclear", (void **)&pq->clear},
        {"PQnotifies", (void **)&pq->notifies},    {"PQfreemem", (void **)&pq->free},
    };

    for (apr_size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        *wanted[i].function = dlsym(RTLD_DEFAULT, wanted[i].name);
        if (!*wanted[i].function)
            return 0;
    }
    return 1;
}

apr_status_t cib_listener_begin(cib_store_t *store, apr_pool_t *pool)
{
    const apr_dbd_driver_t *driver;
    listener_t *made;
    apr_status_t rv;

    if (store->driver != CIB_DRIVER_PGSQL)
        return APR_SUCCESS;
    made = apr_pcalloc(pool, sizeof(*made));
    made->store = store;
    rv = cib_pool_own(&made->pool, pool);
    if (rv != APR_SUCCESS)
        return rv;
    apr_pool_tag(made->pool, "cib_listener");
    made->channel = channel_of(store, pool);
    rv = apr_dbd_get_driver(pool, store->storage->driver, &driver);
    if (rv != APR_SUCCESS)
        return rv;
    if (!find_libpq(&made->pq))
        return APR_ENOTIMPL;
    made->stop = eventfd(0, EFD_CLOEXEC);
    if (made->stop < 0)
        return errno;
    rv = apr_thread_create(&made->thread, NULL, listen_on, made, pool);
    if (rv != APR_SUCCESS) {
        close(made->stop);
        return rv;
    }
    apr_pool_pre_cleanup_register(pool, made, end_listener);
    return APR_SUCCESS;
}

int cib_store_hears(const cib_store_t *store)
{
    apr_time_t heard, now;

    if (store->driver == CIB_DRIVER_SQLITE3)
        return store->gen != NULL;
    heard = store->gen ? cib_generation_heard(store->gen) : 0;
    now = cib_generation_clock();
    return heard && now >= heard && now - heard < TRUST;
}

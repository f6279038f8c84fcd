/* Connections made ready, statements prepared once per connection, rows copied.
 *
 * apr_dbd's SQLite driver prepares with the oldest interface: when any other connection changes the
 * schema (ALTER, ANALYZE, VACUUM), every statement prepared before fails from then on, and so does
 * the first one prepared after, by the schema the connection remembers. So the cache is ours and is
 * thrown away when a statement fails; outside of a transaction the statement is tried once more at
 * once, inside one the section is run again.
 *
 * On PostgreSQL they are named, and planned once: planning each time costs more than most of them
 * take. Names go with the backend when the connection is reset, which mod_dbd may do between any
 * two requests without a word; so after any failure they are made anew, under names not yet used,
 * for the backend may be the same after all.
 */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"

#define STATEMENTS_KEY "cib-statements"
#define MAX_ARGS 32

/* Throwing the cache away leaks it until the connection is closed; hence an end to that. */
#define MAX_PURGES 200

/* SQLite waits with apr_dbd's mutex held, which every other thread of the process needs for its own
 * SQLite work, so it must not wait long. Our own writers never meet (combiner.c); this is for the
 * moments in which somebody else opens or closes the file. For longer waits the driver polls, 16
 * times in 1.6 s, and lets go of the mutex in between. */
#define BUSY_TIMEOUT "PRAGMA busy_timeout=10"

/* The driver waits when a statement runs, but not when preparing it is what finds the file locked:
 * for the moment in which another process opens it first, or closes it last. */
#define SQLITE_IS_BUSY 5
#define PREPARE_TRIES 100
#define PREPARE_PAUSE apr_time_from_msec(10)

#define ASK_TRIES 4

/* So many times the patience of somebody who would have said something by then. */
#define GONE 3

/* A plan that stays must suit whatever the tables hold later, so it may not depend on what they
 * held when it was made: an empty queue is best read whole, and is not empty for long. Everything
 * asked here is one seek after another, so nothing else is to be thought of; where there is no
 * index the planner still reads the table, and its alarm at that (jit) would cost more than the
 * reading. */
#define PLAN_ONCE                                                                                  \
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "                         \
    "SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "         \
    "SET jit = off"

/* Where a pooler gives each statement another backend names are of no use: after that many
 * failures a connection does without. */
#define MAX_NAMED_PURGES 10

/* What drivers say in words only, for they have no codes in common. */
static const struct {
    const char *fragment;
    cib_reason_e reason;
} reasons[] = {
    {"database or disk is full", CIB_REASON_NO_SPACE},
    {"No space left on device", CIB_REASON_NO_SPACE},
    {"Disk quota exceeded", CIB_REASON_NO_SPACE},
    {"database is locked", CIB_REASON_UNAVAILABLE},
    {"database table is locked", CIB_REASON_UNAVAILABLE},
    {"disk I/O error", CIB_REASON_UNAVAILABLE},
    {"unable to open database file", CIB_REASON_UNAVAILABLE},
    {"canceling statement due to", CIB_REASON_UNAVAILABLE},
    {"deadlock detected", CIB_REASON_UNAVAILABLE},
    {"read-only transaction", CIB_REASON_UNAVAILABLE},
};

static cib_reason_e reason_of(const char *text)
{
    for (apr_size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strstr(text, reasons[i].fragment))
            return reasons[i].reason;
    return CIB_REASON_INTERNAL;
}

/* --- connections */

static cib_error_t *unavailable(cib_store_t *store, apr_status_t rv, const char *what,
                                apr_pool_t *pool)
{
    cib_error_t *err = cib_error(pool, CIB_REASON_UNAVAILABLE, rv, NULL);

    err = cib_error_detail(pool, err, "database: %s", what);
    cib_store_note(store, err);
    return err;
}

static cib_statements_t *statements_create(apr_pool_t *pool)
{
    cib_statements_t *made = apr_pcalloc(pool, sizeof(*made));

    made->prepared = apr_hash_make(pool);
    return made;
}

/* What SQLite forgets with each connection. foreign_keys comes before anything is prepared, for it
 * makes prepared statements stale. (WAL is kept in the file: see schema.c.) */
static cib_error_t *set_up_sqlite(cib_db_t *db, apr_pool_t *pool)
{
    CIB_TRY(cib_db_ask(db, "PRAGMA foreign_keys=ON", NULL, pool));
    CIB_TRY(cib_db_ask(db, "PRAGMA synchronous=FULL", NULL, pool));
    return cib_db_ask(db, BUSY_TIMEOUT, NULL, pool);
}

/* Who has patience ends or cuts each section when that is over. So a transaction that is still open
 * long after, and nobody says anything in it, is that of a host that is gone: what it has locked
 * must not stay locked until the server's TCP finds out, which takes it hours.
 *
 * A connection from a pool may have died before its first use. That is no failure yet: the section
 * finds out, and has a second turn. */
static void set_up_pgsql(cib_db_t *db, apr_pool_t *pool)
{
    const char *text = PLAN_ONCE;

    if (db->store->patience)
        text = apr_psprintf(pool,
                            PLAN_ONCE "; SET statement_timeout = %d; "
                                      "SET idle_in_transaction_session_timeout = %d",
                            (int)apr_time_as_msec(db->store->patience),
                            (int)apr_time_as_msec(db->store->patience * GONE));
    (void)cib_db_execute(db, text, pool);
}

static cib_error_t *set_up(cib_db_t *db, apr_pool_t *pool)
{
    cib_connection_t *connection = &db->connection;
    void *kept = NULL;

    apr_pool_userdata_get(&kept, STATEMENTS_KEY, connection->pool);
    db->statements = kept;
    if (kept)
        return CIB_OK;
    if (strcmp(apr_dbd_name(connection->driver), db->store->storage->driver) != 0)
        return unavailable(db->store, APR_EINVAL, "the connection is of another driver", pool);
    if (db->store->driver == CIB_DRIVER_SQLITE3)
        CIB_TRY(set_up_sqlite(db, pool));
    else
        set_up_pgsql(db, pool);
    db->statements = statements_create(connection->pool);
    apr_pool_userdata_setn(db->statements, STATEMENTS_KEY, NULL, connection->pool);
    return CIB_OK;
}

cib_error_t *cib_db_open(cib_db_t *db, cib_store_t *store, const cib_source_t *source,
                         apr_pool_t *pool)
{
    apr_status_t rv;
    cib_error_t *err;

    memset(db, 0, sizeof(*db));
    db->store = store;
    db->source = source;
    db->pool = pool;
    db->raises.runners = apr_array_make(pool, 4, sizeof(apr_int64_t));
    db->raises.lanes = apr_array_make(pool, 4, sizeof(cib_lane_t));
    rv = source->open(source->baton, pool, &db->connection);
    if (rv != APR_SUCCESS)
        return unavailable(store, rv, "no connection", pool);
    cib_guard_begin(store->guard, &db->connection, &db->guarded);
    err = set_up(db, pool);
    if (err)
        cib_db_close(db, 1);
    return err;
}

void cib_db_close(cib_db_t *db, int broken)
{
    if (db->statements && db->statements->purges > MAX_PURGES)
        broken = 1;
    cib_guard_end(db->store->guard, &db->guarded);
    db->source->close(db->source->baton, &db->connection, broken);
}

cib_error_t *cib_db_run(cib_db_t *db, cib_section_fn section, void *baton, apr_pool_t *pool)
{
    cib_error_t *err;

    db->failure = NULL;
    db->outdated = 0;
    err = section(db, baton, pool);
    return err ? err : db->failure;
}

/* --- statements */

static const char *first_line(const char *text, apr_pool_t *pool)
{
    return text ? apr_pstrmemdup(pool, text, strcspn(text, "\r\n")) : "no reason given";
}

/* Called right after the failing call: the driver keeps the text of the last one only. */
static cib_error_t *fail(cib_db_t *db, int rc, apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;
    const char *text = first_line(apr_dbd_error(c->driver, c->handle, rc), pool);
    cib_error_t *err = cib_error(pool, reason_of(text), APR_SUCCESS, NULL);

    err = cib_error_detail(pool, err, "database: %s (%d)", text, rc);
    if (!db->failure)
        db->failure = err;
    return err;
}

/* One statement: what to run and where its outcome goes. */
typedef struct call_t {
    const cib_sql_t *sql;
    const void **values;
    apr_dbd_results_t **results; /* NULL: it returns no rows */
    int *changed;
} call_t;

typedef struct prepared_t {
    const cib_sql_t *key;
    apr_dbd_prepared_t *statement;
} prepared_t;

/* Is it worth another try? Waits a little where it is. */
static int was_busy(const cib_db_t *db, int rc, int tries)
{
    if (db->store->driver != CIB_DRIVER_SQLITE3 || rc != SQLITE_IS_BUSY || tries >= PREPARE_TRIES)
        return 0;
    apr_sleep(PREPARE_PAUSE);
    return 1;
}

/* NULL: without one. */
static const char *next_name(const cib_db_t *db)
{
    cib_statements_t *statements = db->statements;

    if (db->store->driver == CIB_DRIVER_SQLITE3 || statements->purges > MAX_NAMED_PURGES)
        return NULL;
    return apr_psprintf(db->connection.pool, "cib_%d", ++statements->names);
}

static int prepare(cib_db_t *db, const cib_sql_t *sql, prepared_t **prepared)
{
    const cib_connection_t *c = &db->connection;
    const char *text = db->store->driver == CIB_DRIVER_PGSQL && sql->pgsql ? sql->pgsql : sql->text;
    prepared_t *made = apr_pcalloc(c->pool, sizeof(*made));
    const char *name = next_name(db);
    int tries = 0, rc;

    do
        rc = apr_dbd_prepare(c->driver, c->pool, c->handle, text, name, &made->statement);
    while (was_busy(db, rc, ++tries));
    if (rc == 0) {
        made->key = sql;
        apr_hash_set(db->statements->prepared, &made->key, sizeof(made->key), made);
        *prepared = made;
    }
    return rc;
}

static int call_once(cib_db_t *db, const call_t *call, apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;
    prepared_t *prepared = apr_hash_get(db->statements->prepared, &call->sql, sizeof(call->sql));
    int rc = 0;

    if (!prepared)
        rc = prepare(db, call->sql, &prepared);
    if (rc != 0)
        return rc;
    if (call->results) {
        *call->results = NULL;
        return apr_dbd_pbselect(c->driver, pool, c->handle, call->results, prepared->statement, 1,
                                call->values);
    }
    return apr_dbd_pbquery(c->driver, pool, c->handle, call->changed, prepared->statement,
                           call->values);
}

void cib_db_purge(cib_db_t *db)
{
    apr_hash_clear(db->statements->prepared);
    db->statements->purges++;
}

void cib_db_renew(cib_db_t *db, apr_pool_t *pool)
{
    cib_db_purge(db);
    set_up_pgsql(db, pool);
}

/* The failure may be nothing but a schema that went on, which cannot be told from the driver's
 * code: whatever fails is tried once more. */
static int may_try_again(cib_db_t *db)
{
    if (db->store->driver != CIB_DRIVER_SQLITE3)
        return 0;
    cib_db_purge(db);
    /* SQLite may have rolled the transaction back, and then what follows would be committed one by
     * one: so the section decides, not we */
    if (db->in_transaction)
        db->outdated = 1;
    return !db->in_transaction;
}

static cib_error_t *call_statement(cib_db_t *db, const call_t *call, apr_pool_t *pool)
{
    cib_error_t *err;
    int rc;

    if (db->failure && db->in_transaction)
        return db->failure; /* the transaction is lost already */
    rc = call_once(db, call, pool);
    if (rc == 0)
        return CIB_OK;
    err = fail(db, rc, pool);
    if (!may_try_again(db))
        return err;
    rc = call_once(db, call, pool);
    if (rc != 0)
        return fail(db, rc, pool);
    db->failure = NULL;
    return CIB_OK;
}

static cib_error_t *bind_values(const cib_arg_t *args, apr_size_t nargs, const void **values,
                                apr_pool_t *pool)
{
    if (nargs > MAX_ARGS)
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_INTERNAL, APR_EINVAL, NULL),
                                "database: a statement of %d arguments", (int)nargs);
    for (apr_size_t i = 0; i < nargs; i++) {
        if (args[i].kind == CIB_ARG_INT)
            values[i] = &args[i].number;
        else
            values[i] = args[i].kind == CIB_ARG_TEXT ? args[i].text : NULL;
    }
    return CIB_OK;
}

cib_error_t *cib_db_change(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, int *changed, apr_pool_t *pool)
{
    const void *values[MAX_ARGS];
    int rows = 0;
    call_t call = {sql, values, NULL, &rows};

    CIB_TRY(bind_values(args, nargs, values, pool));
    CIB_TRY(call_statement(db, &call, pool));
    if (changed)
        *changed = rows;
    return CIB_OK;
}

/* --- rows */

struct cib_rows_t {
    int count;
    int columns;
    const char **cells;
};

static const char *cell_of(const apr_dbd_driver_t *driver, apr_dbd_row_t *row, int column,
                           apr_pool_t *pool)
{
    char *text = NULL;

    /* get_entry has no NULL on PostgreSQL, only "" */
    if (apr_dbd_datum_get(driver, row, column, APR_DBD_TYPE_STRING, &text) != APR_SUCCESS)
        return NULL;
    return apr_pstrdup(pool, text);
}

/* PostgreSQL's driver frees the texts when the end is reached, hence the copies. */
static cib_rows_t *copy_rows(const apr_dbd_driver_t *driver, apr_dbd_results_t *results,
                             int columns, apr_pool_t *pool)
{
    cib_rows_t *rows = apr_pcalloc(pool, sizeof(*rows));
    int expected = apr_dbd_num_tuples(driver, results);
    apr_dbd_row_t *row = NULL;

    rows->columns = columns;
    rows->cells = apr_palloc(pool, sizeof(char *) * (apr_size_t)(expected > 0 ? expected : 0) *
                                       (apr_size_t)columns);
    while (apr_dbd_get_row(driver, pool, results, &row, -1) == 0 && rows->count < expected) {
        for (int i = 0; i < columns; i++)
            rows->cells[rows->count * columns + i] = cell_of(driver, row, i, pool);
        rows->count++;
    }
    return rows;
}

cib_error_t *cib_db_select(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, int columns, cib_rows_t **rows, apr_pool_t *pool)
{
    const void *values[MAX_ARGS];
    apr_dbd_results_t *results = NULL;
    call_t call = {sql, values, &results, NULL};

    CIB_TRY(bind_values(args, nargs, values, pool));
    CIB_TRY(call_statement(db, &call, pool));
    *rows = copy_rows(db->connection.driver, results, columns, pool);
    return CIB_OK;
}

cib_rows_t *cib_rows_cut(const cib_rows_t *rows, int row, int from, int columns, apr_pool_t *pool)
{
    cib_rows_t *cut = apr_pcalloc(pool, sizeof(*cut));

    cut->count = 1;
    cut->columns = columns;
    cut->cells = apr_palloc(pool, sizeof(char *) * (apr_size_t)columns);
    for (int i = 0; i < columns; i++)
        cut->cells[i] = apr_pstrdup(pool, cib_row_text(rows, row, from + i));
    return cut;
}

int cib_rows_count(const cib_rows_t *rows)
{
    return rows->count;
}

const char *cib_row_text(const cib_rows_t *rows, int row, int column)
{
    return rows->cells[row * rows->columns + column];
}

apr_int64_t cib_row_int(const cib_rows_t *rows, int row, int column)
{
    const char *text = cib_row_text(rows, row, column);

    return text ? apr_atoi64(text) : 0;
}

/* --- what many questions need */

cib_error_t *cib_db_number(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, apr_int64_t missing, apr_int64_t *number,
                           apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, args, nargs, 1, &rows, pool));
    *number = cib_rows_count(rows) ? cib_row_int(rows, 0, 0) : missing;
    return CIB_OK;
}

cib_error_t *cib_db_ids(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args, apr_size_t nargs,
                        apr_array_header_t **ids, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, args, nargs, 1, &rows, pool));
    *ids = apr_array_make(pool, rows->count + 1, sizeof(apr_int64_t));
    for (int i = 0; i < rows->count; i++)
        APR_ARRAY_PUSH(*ids, apr_int64_t) = cib_row_int(rows, i, 0);
    return CIB_OK;
}

cib_error_t *cib_db_texts(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                          apr_size_t nargs, apr_array_header_t **texts, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, args, nargs, 1, &rows, pool));
    *texts = apr_array_make(pool, rows->count + 1, sizeof(const char *));
    for (int i = 0; i < rows->count; i++)
        APR_ARRAY_PUSH(*texts, const char *) = cib_row_text(rows, i, 0);
    return CIB_OK;
}

cib_arg_t cib_arg_nonzero(apr_int64_t number)
{
    return number ? CIB_INT(number) : CIB_NULL;
}

cib_arg_t cib_arg_limit(int limit)
{
    return CIB_INT(limit < 0 ? APR_INT64_MAX : limit);
}

/* --- statements as they stand */

cib_error_t *cib_db_execute(cib_db_t *db, const char *text, apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;
    int changed = 0;
    int rc = apr_dbd_query(c->driver, c->handle, &changed, text);

    return rc == 0 ? CIB_OK : fail(db, rc, pool);
}

cib_error_t *cib_db_execute_all(cib_db_t *db, const char *const *texts, apr_pool_t *pool)
{
    for (; *texts; texts++)
        CIB_TRY(cib_db_execute(db, *texts, pool));
    return CIB_OK;
}

static int select_text(cib_db_t *db, const char *text, apr_dbd_results_t **results,
                       apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;
    int tries = 0, rc;

    do
        rc = apr_dbd_select(c->driver, pool, c->handle, results, text, 1);
    while (was_busy(db, rc, ++tries));
    return rc;
}

cib_error_t *cib_db_ask(cib_db_t *db, const char *text, const char **value, apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;
    int sqlite = db->store->driver == CIB_DRIVER_SQLITE3;
    apr_dbd_results_t *results = NULL;
    int rc = select_text(db, text, &results, pool);
    cib_rows_t *rows;

    /* the schema may have gone on since the last look, also under this: with the log's mode, and
     * then with the tables, where somebody makes them just now */
    for (int tries = 1; rc != 0 && sqlite && tries < ASK_TRIES; tries++)
        rc = select_text(db, text, &results, pool);
    if (rc != 0)
        return fail(db, rc, pool);
    rows = copy_rows(c->driver, results, 1, pool);
    if (value)
        *value = rows->count && apr_dbd_num_cols(c->driver, results) ? rows->cells[0] : NULL;
    return CIB_OK;
}

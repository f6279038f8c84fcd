/* The database: where a connection comes from, sections that read, sections that write, statements.
 *
 * The rest of the program never sees SQL, a driver's return code or a transaction. It asks for a
 * section and calls the questions of store/cib_questions.h in it:
 *
 *   cib_store_read    a function over a connection, no transaction, no lock
 *   cib_store_write   a function in a transaction that is committed if it succeeds
 *
 * Sections are short: no body is read, nothing is sent and nobody waits inside one. A section may
 * be run again from its start when the connection turned out dead, its statements stale or one of
 * those it shares a commit with has failed, so its only lasting effects are those in the database
 * and in its baton's results.
 *
 * SQLite: one writer at a time over all processes. The writes of a process that wait at the same
 * time are run one after the other by one of the waiting threads, and committed together (group
 * commit) under the instance's lock (flock, files/cib_lock.h); each is answered only after COMMIT.
 * Where one fails all are rolled back and run once more, each under a savepoint. So a writing
 * function may run in another thread than its caller's, which waits; its pool is its own all the
 * while. PostgreSQL: each on its own connection, BEGIN and COMMIT as plain statements
 * (apr_dbd_transaction_start crashes on a dead connection); CIB_WRITE_ONE saves both.
 *
 * Reasons: UNAVAILABLE when there is no connection, it is busy, full of others, or broke twice;
 * NO_SPACE when the database's disk is full; INTERNAL for a statement that fails for itself.
 * Details are for the log: PostgreSQL's may hold values, so they are cut at their first line. A
 * write that failed has changed nothing, unless it is `unsure` (PostgreSQL).
 */
#ifndef CIB_DB_H
#define CIB_DB_H

#include <apr_dbd.h>
#include "files/cib_generation.h"
#include "files/cib_lock.h"
#include "util/cib_error.h"

/* An open connection. `pool` lives as long as it does: statements are kept in its userdata. */
typedef struct cib_connection_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_pool_t *pool;
    void *impl; /* the source's own */
} cib_connection_t;

/* Where connections come from: mod_dbd's pool in httpd, one of its own in ci-builds. */
typedef struct cib_source_t {
    /* APR_SUCCESS with a connection that answers, or why there is none. */
    apr_status_t (*open)(void *baton, apr_pool_t *pool, cib_connection_t *connection);
    /* Give it back; `broken`: do not use it again. */
    void (*close)(void *baton, cib_connection_t *connection, int broken);
    void *baton;
} cib_source_t;

typedef enum { CIB_DRIVER_SQLITE3, CIB_DRIVER_PGSQL } cib_driver_e;

/* The store of one instance in one process: threads may share it. */
typedef struct cib_store_t cib_store_t;

/* A connection inside a section. */
typedef struct cib_db_t cib_db_t;

/* Make the process's store. Call it after the last fork. `gen` may be NULL (tests).
 * It lives in `pool`. */
apr_status_t cib_store_create(cib_store_t **store, const cib_storage_t *storage,
                              cib_generation_t *gen, apr_pool_t *pool);

/* Let no section of the server wait for the database longer than that, about: on PostgreSQL
 * statements are canceled then, and soon after it connections that say nothing are given up;
 * UNAVAILABLE. Without it sections wait as long as it takes. To be called before the store is used;
 * `pool` as above. */
apr_status_t cib_store_limit(cib_store_t *store, apr_interval_time_t patience, apr_pool_t *pool);

/* Let no write be unsure where that can be helped: on PostgreSQL, what became of a transaction
 * whose COMMIT was sent and not answered is asked on new connections, for ten seconds, and the
 * write has succeeded or failed accordingly. For who may wait so long, and would do it twice or not
 * at all. To be called before the store is used. */
void cib_store_make_sure(cib_store_t *store);

cib_driver_e cib_store_driver(const cib_store_t *store);

/* The last failure of the database, for mod_status: its time, 0 when there was none, and a text of
 * at most 200 bytes copied to `pool`. */
apr_time_t cib_store_last_error(cib_store_t *store, const char **text, apr_pool_t *pool);

/* Have `tell` called at each failure of the database, with the text that cib_store_last_error would
 * give: quickly, from any thread, inside sections. To be set before the store is used; NULL:
 * nobody.
 */
typedef void (*cib_store_error_fn)(void *baton, const char *text);
void cib_store_on_error(cib_store_t *store, cib_store_error_fn tell, void *baton);

typedef cib_error_t *(*cib_section_fn)(cib_db_t *db, void *baton, apr_pool_t *pool);

cib_error_t *cib_store_read(cib_store_t *store, const cib_source_t *source, cib_section_fn section,
                            void *baton, apr_pool_t *pool);

/* CIB_WRITE_ONE: the section runs exactly one statement that changes anything. On PostgreSQL it may
 * have been committed twice when a connection is lost at the wrong moment, so it is for what bears
 * that: a word heard, a lease, a claim (the first build goes back when nothing is heard of it). */
typedef enum { CIB_WRITE_MANY = 0, CIB_WRITE_ONE = 1 } cib_write_e;
cib_error_t *cib_store_write(cib_store_t *store, const cib_source_t *source, cib_write_e kind,
                             cib_section_fn section, void *baton, apr_pool_t *pool);

/* A section for many. On PostgreSQL those who ask by the same function and key at the same time, in
 * this process, are given to it together: a few at most, in the order they came, by the thread of
 * one of them while the others sleep. On SQLite, where writes are committed together anyhow, and
 * where nobody else asks, it is one. Statements are the section's to save.
 *
 * What a wish is answered with goes into its baton, and lives in its pool. Its own failure goes to
 * `err`; what the section returns all have failed by, each told in its own pool. READ has no
 * transaction, and neither has ONE: there each statement is committed as it is run, and whose wish
 * it granted is marked `granted`, which a failure or a second run after it does not concern. */
typedef struct cib_wish_t {
    void *baton;
    apr_pool_t *pool;
    cib_error_t *err;
    int granted;
} cib_wish_t;
typedef enum { CIB_GATHER_READ, CIB_GATHER_ONE, CIB_GATHER_MANY } cib_gather_e;
typedef cib_error_t *(*cib_wishes_fn)(cib_db_t *db, cib_wish_t *const *wishes, int count,
                                      apr_pool_t *pool);
cib_error_t *cib_store_gather(cib_store_t *store, const cib_source_t *source, cib_gather_e kind,
                              const char *key, cib_wishes_fn section, void *baton,
                              apr_pool_t *pool);

/* To be called in a writing section: after its commit the answer to these runners changes
 * (see cib_generation.h for what a kill in between does). For builds of a project and tag set that
 * became pending: all runners that may take them; for a runner's own settings; for everybody. */
cib_error_t *cib_db_raise_queue(cib_db_t *db, apr_int64_t project_id, apr_int64_t tagset_id,
                                apr_pool_t *pool);
void cib_db_raise_runner(cib_db_t *db, apr_int64_t runner_id);
void cib_db_raise_all(cib_db_t *db);

/* A statement: the text for SQLite, and for PostgreSQL where that differs (NULL: the same).
 * Parameters are apr_dbd's: %lld, %s. Always static const: a connection's prepared statements are
 * found by the address. */
typedef struct cib_sql_t {
    const char *text;
    const char *pgsql;
} cib_sql_t;

/* An argument. Texts must outlive the call; a NULL text is SQL's NULL. */
typedef struct cib_arg_t {
    enum { CIB_ARG_INT, CIB_ARG_TEXT, CIB_ARG_NULL } kind;
    apr_int64_t number;
    const char *text;
} cib_arg_t;
#define CIB_INT(n)                                                                                 \
    (cib_arg_t)                                                                                    \
    {                                                                                              \
        CIB_ARG_INT, (n), NULL                                                                     \
    }
#define CIB_TEXT(s)                                                                                \
    (cib_arg_t)                                                                                    \
    {                                                                                              \
        CIB_ARG_TEXT, 0, (s)                                                                       \
    }
#define CIB_NULL                                                                                   \
    (cib_arg_t)                                                                                    \
    {                                                                                              \
        CIB_ARG_NULL, 0, NULL                                                                      \
    }
#define CIB_ARGS(...)                                                                              \
    (const cib_arg_t[]){__VA_ARGS__}, sizeof((cib_arg_t[]){__VA_ARGS__}) / sizeof(cib_arg_t)

/* Rows, copied to the pool before the driver lets go of them. */
typedef struct cib_rows_t cib_rows_t;

/* For src/store's own files only. `changed` (or NULL) takes the number of rows. */
cib_error_t *cib_db_select(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, int columns, cib_rows_t **rows, apr_pool_t *pool);
cib_error_t *cib_db_change(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, int *changed, apr_pool_t *pool);
int cib_rows_count(const cib_rows_t *rows);
const char *cib_row_text(const cib_rows_t *rows, int row, int column); /* NULL: SQL's NULL */
apr_int64_t cib_row_int(const cib_rows_t *rows, int row, int column);  /* 0: SQL's NULL */

#endif

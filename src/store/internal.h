/* What the files of this room share and nobody else sees. */
#ifndef CIB_STORE_INTERNAL_H
#define CIB_STORE_INTERNAL_H

#include <apr_hash.h>
#include <apr_tables.h>
#include <apr_thread_mutex.h>

#include "store/cib_db.h"

#define CIB_LAST_ERROR_LEN 200

typedef struct cib_combiner_t cib_combiner_t;
typedef struct cib_gatherer_t cib_gatherer_t;
typedef struct cib_guard_t cib_guard_t;

/* A section whose time is measured. */
typedef struct cib_guarded_t {
    apr_time_t until;
    int fd;  /* its socket, a duplicate; -1: not measured */
    int cut; /* its time is over, and its connection lost */
    struct cib_guarded_t *before;
    struct cib_guarded_t *after;
} cib_guarded_t;

struct cib_store_t {
    const cib_storage_t *storage;
    cib_generation_t *gen; /* NULL: nobody is told */
    cib_driver_e driver;
    cib_lock_t *lock;             /* SQLite */
    cib_combiner_t *combiner;     /* SQLite */
    cib_gatherer_t *gatherer;     /* PostgreSQL */
    apr_interval_time_t patience; /* of sections; 0: for ever */
    cib_guard_t *guard;           /* PostgreSQL, with patience; else NULL */
    int make_sure;                /* of what became of a commit that was not answered */
    apr_thread_mutex_t *mutex;    /* over what follows */
    apr_time_t error_time;
    char error_text[CIB_LAST_ERROR_LEN + 1];
    cib_store_error_fn tell; /* or NULL */
    void *tell_baton;
};

/* What a commit will raise: ids of runners, and the lanes that were asked for already. */
typedef struct cib_raises_t {
    apr_array_header_t *runners; /* apr_int64_t */
    apr_array_header_t *lanes;   /* cib_lane_t */
    int all;
} cib_raises_t;

typedef struct cib_lane_t {
    apr_int64_t project_id;
    apr_int64_t tagset_id;
} cib_lane_t;

/* How much of it there was, to go back to when a section fails. */
typedef struct cib_raise_mark_t {
    int runners;
    int lanes;
    int all;
} cib_raise_mark_t;

/* A connection's prepared statements; lives in the connection's pool. */
typedef struct cib_statements_t {
    apr_hash_t *prepared; /* by the address of their cib_sql_t */
    int purges;           /* each leaks the old ones until the connection is closed */
    int names;            /* given so far, PostgreSQL */
} cib_statements_t;

struct cib_db_t {
    cib_store_t *store;
    const cib_source_t *source;
    cib_connection_t connection;
    cib_statements_t *statements;
    cib_guarded_t guarded;
    int in_transaction;
    cib_error_t *failure; /* the first statement that failed in this run of the section */
    int outdated;         /* maybe only because the schema has changed: worth a second run */
    cib_raises_t raises;
    apr_pool_t *pool;
};

/* --- store.c */

/* Remember `err` for cib_store_last_error. */
void cib_store_note(cib_store_t *store, const cib_error_t *err);

/* --- source.c */

/* A pool with an allocator of its own, for a thread: the parent's may be another's, and prefork's
 * has no lock. It ends with `parent`. */
apr_status_t cib_pool_own(apr_pool_t **pool, apr_pool_t *parent);

/* --- db.c */

/* Take a connection from the source and make it ready; UNAVAILABLE. */
cib_error_t *cib_db_open(cib_db_t *db, cib_store_t *store, const cib_source_t *source,
                         apr_pool_t *pool);
void cib_db_close(cib_db_t *db, int broken);

/* The connection may be another than it was, under the same handle: make it ready again. */
void cib_db_renew(cib_db_t *db, apr_pool_t *pool);

/* Throw the prepared statements away: on SQLite they do not outlive a change of the schema. */
void cib_db_purge(cib_db_t *db);

/* Run the section, with `failure` and `outdated` fresh. A section that swallowed the failure of a
 * statement has failed all the same. */
cib_error_t *cib_db_run(cib_db_t *db, cib_section_fn section, void *baton, apr_pool_t *pool);

/* A statement without parameters or rows, as it stands: BEGIN and its like, definitions. */
cib_error_t *cib_db_execute(cib_db_t *db, const char *text, apr_pool_t *pool);

/* Several of them, up to a NULL. */
cib_error_t *cib_db_execute_all(cib_db_t *db, const char *const *texts, apr_pool_t *pool);

/* A statement without parameters that may return rows, unprepared: PRAGMA. `value` (or NULL) takes
 * the first row's first column. */
cib_error_t *cib_db_ask(cib_db_t *db, const char *text, const char **value, apr_pool_t *pool);

/* The first row's first column as a number; `missing` where there is no row. */
cib_error_t *cib_db_number(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, apr_int64_t missing, apr_int64_t *number,
                           apr_pool_t *pool);

/* The first column of all rows: an array of apr_int64_t. */
cib_error_t *cib_db_ids(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args, apr_size_t nargs,
                        apr_array_header_t **ids, apr_pool_t *pool);

/* The same of texts: const char *. */
cib_error_t *cib_db_texts(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                          apr_size_t nargs, apr_array_header_t **texts, apr_pool_t *pool);

/* Some columns of one row, copied to another pool. */
cib_rows_t *cib_rows_cut(const cib_rows_t *rows, int row, int from, int columns, apr_pool_t *pool);

/* A time or an id, 0 being SQL's NULL. */
cib_arg_t cib_arg_nonzero(apr_int64_t number);

/* A limit as both drivers take it: negative is none. */
cib_arg_t cib_arg_limit(int limit);

/* --- section.c */

cib_raise_mark_t cib_raise_mark(const cib_db_t *db);
void cib_raise_forget(cib_db_t *db, cib_raise_mark_t mark);
int cib_raise_any(const cib_db_t *db);

/* Tell them; after the commit. */
void cib_raise_now(cib_db_t *db);

/* --- combiner.c */

apr_status_t cib_combiner_create(cib_combiner_t **combiner, apr_pool_t *pool);

/* Run the section in a transaction that it may share with those of other threads. */
cib_error_t *cib_combiner_write(cib_store_t *store, const cib_source_t *source,
                                cib_section_fn section, void *baton, apr_pool_t *pool);

/* --- gather.c */

apr_status_t cib_gatherer_create(cib_gatherer_t **gatherer, apr_pool_t *pool);

/* --- listener.c */

/* On PostgreSQL, tell all hosts what the transaction will raise; within it. `mark` takes what tells
 * this notice from others. */
cib_error_t *cib_notice_send(cib_db_t *db, apr_uint64_t *mark, apr_pool_t *pool);

/* --- guard.c */

/* Make a guard, with its thread; it ends with `pool`. */
apr_status_t cib_guard_create(cib_guard_t **guard, apr_interval_time_t patience, apr_pool_t *pool);

/* From here on the connection is cut when the guard's patience is over, until cib_guard_end, which
 * must come before the connection is closed or reset. `guard` may be NULL: it has patience. */
void cib_guard_begin(cib_guard_t *guard, const cib_connection_t *connection, cib_guarded_t *one);
void cib_guard_end(cib_guard_t *guard, cib_guarded_t *one);

/* --- outcome.c: PostgreSQL, what became of a transaction */

/* The number of the transaction that is open; 0 where it has changed nothing. */
cib_error_t *cib_outcome_number(cib_db_t *db, apr_int64_t *number, apr_pool_t *pool);

/* The transaction's COMMIT failed with `lost`: CIB_OK if it was committed, `lost` if not; and
 * `lost`, unsure, if that cannot be learned. */
cib_error_t *cib_outcome_of(cib_store_t *store, const cib_source_t *source, apr_int64_t number,
                            cib_error_t *lost, apr_pool_t *pool);

/* --- takes.c: which tag sets a runner's tags allow */

/* On PostgreSQL, let nobody else make a tag set or change what a runner may take until this
 * transaction ends: two that did not see each other would leave a pair out for ever, or a runner
 * untold. */
cib_error_t *cib_takes_lock(cib_db_t *db, apr_pool_t *pool);

/* Let nobody change who may take what until this transaction ends, for it is about to ask. */
cib_error_t *cib_takes_share(cib_db_t *db, apr_pool_t *pool);
cib_error_t *cib_takes_of_tagset(cib_db_t *db, apr_int64_t tagset_id, const char *tags,
                                 apr_pool_t *pool);
cib_error_t *cib_takes_of_runner(cib_db_t *db, apr_int64_t runner_id, const char *tags,
                                 int run_untagged, apr_pool_t *pool);

#endif

/* Reading the database as it is at one moment. */
#include "internal.h"
#include "store/cib_dump.h"

/* SQLite's begins with the first statement that reads, and so does this of PostgreSQL. */
#define BEGIN_SQLITE "BEGIN"
#define BEGIN_PGSQL "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

static cib_error_t *run_within(cib_db_t *db, cib_section_fn section, void *baton, apr_pool_t *pool)
{
    int sqlite = cib_store_driver(db->store) == CIB_DRIVER_SQLITE3;
    cib_error_t *err;

    CIB_TRY(cib_db_execute(db, sqlite ? BEGIN_SQLITE : BEGIN_PGSQL, pool));
    db->in_transaction = 1;
    err = cib_db_run(db, section, baton, pool);
    return err ? err : cib_db_execute(db, "COMMIT", pool);
}

/* Whatever failed, the connection is given up with its transaction. */
static cib_error_t *take_turn(cib_store_t *store, const cib_source_t *source,
                              cib_section_fn section, void *baton, int *again, apr_pool_t *pool)
{
    cib_error_t *err;
    cib_db_t db;

    *again = 0;
    CIB_TRY(cib_db_open(&db, store, source, pool));
    err = run_within(&db, section, baton, pool);
    if (db.failure)
        cib_store_note(store, db.failure);
    *again = db.failure != NULL;
    cib_db_close(&db, err != NULL);
    return err;
}

cib_error_t *cib_store_snapshot(cib_store_t *store, const cib_source_t *source,
                                cib_section_fn section, void *baton, apr_pool_t *pool)
{
    int again;
    cib_error_t *err = take_turn(store, source, section, baton, &again, pool);

    return err && again ? take_turn(store, source, section, baton, &again, pool) : err;
}

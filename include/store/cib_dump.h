/* Every row of an instance, table by table, in no dialect: what `backup` takes away and `restore`
 * puts into an empty database of either driver. Leases are left out, for they are over by then, and
 * of `meta` what is the database's own (its schema's version and its instance).
 */
#ifndef CIB_DUMP_H
#define CIB_DUMP_H

#include "store/cib_db.h"

typedef struct cib_dump_column_t {
    const char *name;
    int is_number;       /* else a text */
    const char *missing; /* what a row of an older schema has here; NULL: SQL's NULL */
} cib_dump_column_t;

#define CIB_DUMP_COLUMNS_MAX 32

typedef struct cib_dump_table_t {
    const char *name;
    const cib_dump_column_t *columns; /* the key first */
    int count;
    int keys;
    int at_once;  /* rows read at a time: the wider, the fewer */
    int numbered; /* has ids that are never used again */
    cib_sql_t page;
    cib_sql_t put;
} cib_dump_table_t;

/* In an order in which they can be filled; ends with a NULL name. A column that is added to the
 * schema must be added here (t/unit/test_store_dump.c tells), and what a migration changes in rows
 * that are there must be done to those of an older backup in cib_dump_end. */
extern const cib_dump_table_t cib_dump_tables[];

/* NULL: there is no such table. */
const cib_dump_table_t *cib_dump_table(const char *name);

/* A row's cells in the order of the columns; NULL is SQL's NULL. Good during the call. */
typedef cib_error_t *(*cib_dump_fn)(void *baton, const char *const *cells, apr_pool_t *pool);

/* Give `each` every row of a table, by its key. In a section. `pool` does not grow with the rows.
 */
cib_error_t *cib_dump_rows(cib_db_t *db, const cib_dump_table_t *table, cib_dump_fn each,
                           void *baton, apr_pool_t *pool);

/* The one row of that artifact, if it is there. */
cib_error_t *cib_dump_artifact(cib_db_t *db, apr_int64_t build_id, const char *type,
                               cib_dump_fn each, void *baton, apr_pool_t *pool);

/* The highest id that was ever given to a row of a numbered table. */
cib_error_t *cib_dump_last_id(cib_db_t *db, const cib_dump_table_t *table, apr_int64_t *id,
                              apr_pool_t *pool);

/* Run a reading section that sees the database as it is at one moment, all the time. It holds up no
 * writer, but while it runs nothing that is deleted can be cleaned away: so it waits for nobody. */
cib_error_t *cib_store_snapshot(cib_store_t *store, const cib_source_t *source,
                                cib_section_fn section, void *baton, apr_pool_t *pool);

/* Into an empty database: begin, outside of any section; make, put for each row, ids and end, all
 * in one writing section, which leaves it empty where it fails. */

/* CONFLICT: there is something in it already. */
cib_error_t *cib_dump_begin(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool);
/* The schema of this program, for the instance `id`. W */
cib_error_t *cib_dump_make(cib_db_t *db, const char *id, apr_pool_t *pool);
cib_error_t *cib_dump_put(cib_db_t *db, const cib_dump_table_t *table, const char *const *cells,
                          apr_pool_t *pool); /* W */
/* Give no id up to this one to a row again. W */
cib_error_t *cib_dump_set_last_id(cib_db_t *db, const cib_dump_table_t *table, apr_int64_t id,
                                  apr_pool_t *pool);
/* Builds that wait get claims by numbers never given before: their next token is not that of a
 * claim made after the rows were read. `now` is what tells one restore from another. W */
cib_error_t *cib_dump_end(cib_db_t *db, apr_time_t now, apr_pool_t *pool);

/* Empty it again: after that section was committed, for who fails in what had to follow. */
cib_error_t *cib_dump_undo(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool);

#endif

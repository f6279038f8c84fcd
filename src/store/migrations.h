/* The statements that make the schema, version by version. */
#ifndef CIB_STORE_MIGRATIONS_H
#define CIB_STORE_MIGRATIONS_H

/* From the version before to this one: each list ends with NULL, one statement an entry (SQLite's
 * driver hides the failure of all but the last of several). */
typedef struct cib_migration_t {
    const char *const *sqlite;
    const char *const *pgsql;
} cib_migration_t;

/* Entry 0 makes version 1. */
extern const cib_migration_t cib_migrations[];
extern const int cib_migrations_count;

#endif

/* What a database holds, and bringing it up to date. */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"
#include "migrations.h"
#include "store/cib_schema.h"

/* Any number of our own: who upgrades on PostgreSQL holds this lock. */
#define UPGRADE_LOCK "SELECT pg_advisory_xact_lock(4857120390021)"

#define HAS_META_SQLITE "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'"
#define HAS_META_PGSQL "SELECT CASE WHEN to_regclass('meta') IS NULL THEN 0 ELSE 1 END"

static const cib_sql_t record_version = {
    "INSERT INTO meta (key, value) VALUES ('schema_version', %s) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    NULL,
};

static const cib_sql_t record_instance = {
    "INSERT INTO meta (key, value) VALUES ('instance_id', %s)",
    NULL,
};

static const cib_sql_t record_rotation = {
    "INSERT INTO meta (key, value) VALUES ('registration_rotation', '0')",
    NULL,
};

int cib_schema_version(void)
{
    return cib_migrations_count;
}

/* Unprepared, for it is asked around changes of the schema. */
static cib_error_t *read_state(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_schema_state_t *state = baton;
    int sqlite = cib_store_driver(db->store) == CIB_DRIVER_SQLITE3;
    const char *text = NULL;

    state->version = 0;
    state->instance_id = NULL;
    CIB_TRY(cib_db_ask(db, sqlite ? HAS_META_SQLITE : HAS_META_PGSQL, &text, pool));
    if (!text || strcmp(text, "0") == 0)
        return CIB_OK;
    CIB_TRY(cib_db_ask(db, "SELECT value FROM meta WHERE key = 'schema_version'", &text, pool));
    state->version = text ? (int)apr_atoi64(text) : 0;
    return cib_db_ask(db, "SELECT value FROM meta WHERE key = 'instance_id'", &state->instance_id,
                      pool);
}

cib_error_t *cib_schema_state(cib_store_t *store, const cib_source_t *source,
                              cib_schema_state_t *state, apr_pool_t *pool)
{
    return cib_store_read(store, source, read_state, state, pool);
}

static cib_error_t *judge(const cib_schema_state_t *state, const char *id, apr_pool_t *pool)
{
    if (state->instance_id && strcmp(state->instance_id, id) != 0)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "the database belongs to another storage directory");
    if (state->version > cib_schema_version())
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "the database has schema %d, newer than this program's %d", state->version,
                         cib_schema_version());
    return CIB_OK;
}

/* Kept in the file. Not possible inside a transaction, nor on a filesystem without shared memory
 * mappings. */
static cib_error_t *choose_wal(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const char *mode = NULL;

    CIB_TRY(cib_db_ask(db, "PRAGMA journal_mode=WAL", &mode, pool));
    if (!mode || strcmp(mode, "wal") != 0)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "SQLite cannot use its write-ahead log there (journal mode %s)",
                         mode ? mode : "unknown");
    return CIB_OK;
}

/* Under the writers' lock, for it takes the whole file to itself. */
static cib_error_t *switch_to_wal(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool)
{
    apr_status_t rv = cib_lock_acquire(store->lock);
    cib_error_t *err;

    if (rv != APR_SUCCESS)
        return cib_error_system(pool, rv, "take the writers' lock");
    err = cib_store_read(store, source, choose_wal, NULL, pool);
    cib_lock_release(store->lock);
    return err;
}

typedef struct step_t {
    const char *id;
    int version; /* what it is now */
} step_t;

static cib_error_t *record(cib_db_t *db, const char *id, int version, apr_pool_t *pool)
{
    const char *number = apr_itoa(pool, version);

    CIB_TRY(cib_db_change(db, &record_version, CIB_ARGS(CIB_TEXT(number)), NULL, pool));
    if (version > 1)
        return CIB_OK;
    CIB_TRY(cib_db_change(db, &record_instance, CIB_ARGS(CIB_TEXT(id)), NULL, pool));
    return cib_db_change(db, &record_rotation, NULL, 0, NULL, pool);
}

/* One version up, if nobody else was faster. */
static cib_error_t *take_step(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    step_t *step = baton;
    int sqlite = cib_store_driver(db->store) == CIB_DRIVER_SQLITE3;
    const cib_migration_t *migration;
    cib_schema_state_t state;

    if (!sqlite)
        CIB_TRY(cib_db_ask(db, UPGRADE_LOCK, NULL, pool));
    CIB_TRY(read_state(db, &state, pool));
    CIB_TRY(judge(&state, step->id, pool));
    step->version = state.version;
    if (state.version == cib_schema_version())
        return CIB_OK;
    migration = &cib_migrations[state.version];
    CIB_TRY(cib_db_execute_all(db, sqlite ? migration->sqlite : migration->pgsql, pool));
    cib_db_purge(db);
    step->version = state.version + 1;
    return record(db, step->id, step->version, pool);
}

cib_error_t *cib_schema_prepare(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool)
{
    if (cib_store_driver(store) == CIB_DRIVER_SQLITE3)
        return switch_to_wal(store, source, pool);
    return CIB_OK;
}

cib_error_t *cib_schema_make(cib_db_t *db, const char *id, apr_pool_t *pool)
{
    step_t step = {id, 0};

    while (step.version < cib_schema_version())
        CIB_TRY(take_step(db, &step, pool));
    return CIB_OK;
}

static cib_error_t *make_all(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_schema_make(db, baton, pool);
}

/* In one transaction: who looks meanwhile sees the old schema or the new one, none in between. */
cib_error_t *cib_schema_upgrade(cib_store_t *store, const cib_source_t *source, const char *id,
                                int *from, apr_pool_t *pool)
{
    cib_schema_state_t state;

    CIB_TRY(cib_schema_state(store, source, &state, pool));
    *from = state.version;
    CIB_TRY(judge(&state, id, pool));
    if (state.version == 0)
        CIB_TRY(cib_schema_prepare(store, source, pool));
    if (state.version == cib_schema_version())
        return CIB_OK;
    return cib_store_write(store, source, CIB_WRITE_MANY, make_all, (void *)id, pool);
}

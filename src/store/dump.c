/* All rows, out and in. */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"
#include "store/cib_dump.h"
#include "store/cib_schema.h"

/* --- the tables: FIRST and NEXT of (kind, column, what a row of an older schema has) */

#define PROJECTS(FIRST, NEXT)                                                                      \
    FIRST(NUMBER, id, NULL)                                                                        \
    NEXT(TEXT, name, NULL)                                                                         \
    NEXT(TEXT, repo_url, NULL)                                                                     \
    NEXT(NUMBER, repo_auth_token, NULL)                                                            \
    NEXT(NUMBER, timeout, NULL)                                                                    \
    NEXT(NUMBER, allow_git_fetch, NULL)                                                            \
    NEXT(NUMBER, shared_runners_enabled, NULL)                                                     \
    NEXT(NUMBER, builds_enabled, NULL)                                                             \
    NEXT(NUMBER, removing, NULL)                                                                   \
    NEXT(NUMBER, rotation, NULL)                                                                   \
    NEXT(TEXT, token_sha256, NULL)                                                                 \
    NEXT(TEXT, token_sealed, NULL)                                                                 \
    NEXT(NUMBER, created_at, NULL)

#define RUNNERS(FIRST, NEXT)                                                                       \
    FIRST(NUMBER, id, NULL)                                                                        \
    NEXT(TEXT, description, NULL)                                                                  \
    NEXT(NUMBER, active, NULL)                                                                     \
    NEXT(NUMBER, is_shared, NULL)                                                                  \
    NEXT(NUMBER, locked, NULL)                                                                     \
    NEXT(NUMBER, run_untagged, NULL)                                                               \
    NEXT(TEXT, tags, NULL)                                                                         \
    NEXT(TEXT, token_sha256, NULL)                                                                 \
    NEXT(NUMBER, contacted_at, NULL)                                                               \
    NEXT(TEXT, name, NULL)                                                                         \
    NEXT(TEXT, version, NULL)                                                                      \
    NEXT(TEXT, revision, NULL)                                                                     \
    NEXT(TEXT, platform, NULL)                                                                     \
    NEXT(TEXT, architecture, NULL)                                                                 \
    NEXT(NUMBER, info_changed_at, NULL)                                                            \
    NEXT(NUMBER, info_changes, NULL)                                                               \
    NEXT(NUMBER, created_at, NULL)                                                                 \
    NEXT(NUMBER, maximum_timeout, NULL)

#define RUNNER_MACHINES(FIRST, NEXT)                                                               \
    FIRST(NUMBER, runner_id, NULL)                                                                 \
    NEXT(TEXT, system_id, NULL)                                                                    \
    NEXT(NUMBER, contacted_at, NULL)                                                               \
    NEXT(TEXT, name, NULL)                                                                         \
    NEXT(TEXT, version, NULL)                                                                      \
    NEXT(TEXT, revision, NULL)                                                                     \
    NEXT(TEXT, platform, NULL)                                                                     \
    NEXT(TEXT, architecture, NULL)                                                                 \
    NEXT(NUMBER, created_at, NULL)

#define RUNNER_PROJECTS(FIRST, NEXT)                                                               \
    FIRST(NUMBER, runner_id, NULL)                                                                 \
    NEXT(NUMBER, project_id, NULL)

#define TAGSETS(FIRST, NEXT)                                                                       \
    FIRST(NUMBER, id, NULL)                                                                        \
    NEXT(TEXT, tags, NULL)

#define TAKES(FIRST, NEXT)                                                                         \
    FIRST(NUMBER, runner_id, NULL)                                                                 \
    NEXT(NUMBER, tagset_id, NULL)

#define BUILDS(FIRST, NEXT)                                                                        \
    FIRST(NUMBER, id, NULL)                                                                        \
    NEXT(NUMBER, project_id, NULL)                                                                 \
    NEXT(TEXT, status, NULL)                                                                       \
    NEXT(TEXT, name, NULL)                                                                         \
    NEXT(TEXT, stage, NULL)                                                                        \
    NEXT(TEXT, ref, NULL)                                                                          \
    NEXT(NUMBER, tag, NULL)                                                                        \
    NEXT(TEXT, sha, NULL)                                                                          \
    NEXT(TEXT, before_sha, NULL)                                                                   \
    NEXT(NUMBER, tagset_id, NULL)                                                                  \
    NEXT(NUMBER, runner_id, NULL)                                                                  \
    NEXT(NUMBER, on_shared_runner, NULL)                                                           \
    NEXT(NUMBER, timeout, NULL)                                                                    \
    NEXT(NUMBER, claim, NULL)                                                                      \
    NEXT(NUMBER, requeues, NULL)                                                                   \
    NEXT(NUMBER, created_at, NULL)                                                                 \
    NEXT(NUMBER, queued_at, NULL)                                                                  \
    NEXT(NUMBER, started_at, NULL)                                                                 \
    NEXT(NUMBER, heard_at, NULL)                                                                   \
    NEXT(NUMBER, finished_at, NULL)                                                                \
    NEXT(NUMBER, erased_at, NULL)                                                                  \
    NEXT(TEXT, failure_reason, NULL)                                                               \
    NEXT(NUMBER, exit_code, NULL)                                                                  \
    NEXT(NUMBER, retry_of, NULL)                                                                   \
    NEXT(TEXT, trace_checksum, NULL)                                                               \
    NEXT(NUMBER, short_traces, "0")                                                                \
    NEXT(NUMBER, followed_until, NULL)

#define BUILD_SPECS(FIRST, NEXT)                                                                   \
    FIRST(NUMBER, build_id, NULL)                                                                  \
    NEXT(TEXT, commands, NULL)                                                                     \
    NEXT(TEXT, options, NULL)

#define BUILD_VARIABLES(FIRST, NEXT)                                                               \
    FIRST(NUMBER, build_id, NULL)                                                                  \
    NEXT(NUMBER, position, NULL)                                                                   \
    NEXT(TEXT, key, NULL)                                                                          \
    NEXT(TEXT, value, NULL)                                                                        \
    NEXT(NUMBER, is_public, NULL)                                                                  \
    NEXT(NUMBER, is_file, "0")                                                                     \
    NEXT(NUMBER, is_raw, "0")

#define BUILD_NEEDS(FIRST, NEXT)                                                                   \
    FIRST(NUMBER, build_id, NULL)                                                                  \
    NEXT(NUMBER, needs_id, NULL)

#define QUEUE(FIRST, NEXT)                                                                         \
    FIRST(NUMBER, tagset_id, NULL)                                                                 \
    NEXT(NUMBER, project_id, NULL)                                                                 \
    NEXT(NUMBER, build_id, NULL)

#define ARTIFACTS(FIRST, NEXT)                                                                     \
    FIRST(NUMBER, build_id, NULL)                                                                  \
    NEXT(TEXT, type, NULL)                                                                         \
    NEXT(TEXT, format, NULL)                                                                       \
    NEXT(TEXT, filename, NULL)                                                                     \
    NEXT(NUMBER, size, NULL)                                                                       \
    NEXT(TEXT, sha256, NULL)                                                                       \
    NEXT(TEXT, blob, NULL)                                                                         \
    NEXT(NUMBER, created_at, NULL)                                                                 \
    NEXT(NUMBER, expire_at, NULL)

#define META(FIRST, NEXT)                                                                          \
    FIRST(TEXT, key, NULL)                                                                         \
    NEXT(TEXT, value, NULL)

/* --- what is made of them */

#define IS_NUMBER 1
#define IS_TEXT 0
#define PLACE_NUMBER "%lld"
#define PLACE_TEXT "%s"

#define COLUMN(kind, name, missing) {#name, IS_##kind, missing},
#define FIRST_NAME(kind, name, missing) #name
#define NEXT_NAME(kind, name, missing) ", " #name
#define FIRST_PLACE(kind, name, missing) PLACE_##kind
#define NEXT_PLACE(kind, name, missing) ", " PLACE_##kind

#define COLUMNS(LIST)                                                                              \
    {                                                                                              \
        LIST(COLUMN, COLUMN)                                                                       \
    }
#define NAMES(LIST) LIST(FIRST_NAME, NEXT_NAME)
#define PLACES(LIST) LIST(FIRST_PLACE, NEXT_PLACE)

static const cib_dump_column_t projects[] = COLUMNS(PROJECTS);
static const cib_dump_column_t runners[] = COLUMNS(RUNNERS);
static const cib_dump_column_t runner_machines[] = COLUMNS(RUNNER_MACHINES);
static const cib_dump_column_t runner_projects[] = COLUMNS(RUNNER_PROJECTS);
static const cib_dump_column_t tagsets[] = COLUMNS(TAGSETS);
static const cib_dump_column_t takes[] = COLUMNS(TAKES);
static const cib_dump_column_t builds[] = COLUMNS(BUILDS);
static const cib_dump_column_t build_specs[] = COLUMNS(BUILD_SPECS);
static const cib_dump_column_t build_variables[] = COLUMNS(BUILD_VARIABLES);
static const cib_dump_column_t build_needs[] = COLUMNS(BUILD_NEEDS);
static const cib_dump_column_t queue[] = COLUMNS(QUEUE);
static const cib_dump_column_t artifacts[] = COLUMNS(ARTIFACTS);
static const cib_dump_column_t meta[] = COLUMNS(META);

#define PAGE(name, LIST, after, order)                                                             \
    "SELECT " NAMES(LIST) " FROM " #name " WHERE " after " ORDER BY " order " LIMIT %lld"
#define PUT(name, LIST, conflict)                                                                  \
    "INSERT INTO " #name " (" NAMES(LIST) ") VALUES (" PLACES(LIST) ")" conflict

/* `after`: the row's key is behind the one given; `order`: the key. */
#define TABLE(table, LIST, its_keys, rows, has_ids, after, order, conflict)                        \
    {                                                                                              \
        .name = #table, .columns = (table), .count = (int)(sizeof(table) / sizeof(*(table))),      \
        .keys = (its_keys), .at_once = (rows), .numbered = (has_ids),                              \
        .page = {PAGE(table, LIST, after, order), NULL}, .put = {                                  \
            PUT(table, LIST, conflict),                                                            \
            NULL                                                                                   \
        }                                                                                          \
    }

const cib_dump_table_t cib_dump_tables[] = {
    TABLE(projects, PROJECTS, 1, 500, 1, "id > %lld", "id", ""),
    TABLE(runners, RUNNERS, 1, 500, 1, "id > %lld", "id", ""),
    TABLE(runner_machines, RUNNER_MACHINES, 2, 500, 0, "(runner_id, system_id) > (%lld, %s)",
          "runner_id, system_id", ""),
    TABLE(runner_projects, RUNNER_PROJECTS, 2, 500, 0, "(runner_id, project_id) > (%lld, %lld)",
          "runner_id, project_id", ""),
    TABLE(tagsets, TAGSETS, 1, 500, 1, "id > %lld", "id", ""),
    TABLE(takes, TAKES, 2, 500, 0, "(runner_id, tagset_id) > (%lld, %lld)", "runner_id, tagset_id",
          ""),
    TABLE(builds, BUILDS, 1, 500, 1, "id > %lld", "id", ""),
    TABLE(build_specs, BUILD_SPECS, 1, 25, 0, "build_id > %lld", "build_id", ""),
    TABLE(build_variables, BUILD_VARIABLES, 2, 200, 0, "(build_id, position) > (%lld, %lld)",
          "build_id, position", ""),
    TABLE(build_needs, BUILD_NEEDS, 2, 500, 0, "(build_id, needs_id) > (%lld, %lld)",
          "build_id, needs_id", ""),
    TABLE(queue, QUEUE, 3, 500, 0, "(tagset_id, project_id, build_id) > (%lld, %lld, %lld)",
          "tagset_id, project_id, build_id", ""),
    TABLE(artifacts, ARTIFACTS, 2, 500, 0, "(build_id, type) > (%lld, %s)", "build_id, type", ""),
    TABLE(meta, META, 1, 500, 0, "key > %s AND key NOT IN ('schema_version', 'instance_id')", "key",
          " ON CONFLICT (key) DO UPDATE SET value = excluded.value"),
    {NULL, NULL, 0, 0, 0, 0, {NULL, NULL}, {NULL, NULL}},
};

static const cib_sql_t one_artifact = {
    "SELECT " NAMES(ARTIFACTS) " FROM artifacts WHERE build_id = %lld AND type = %s",
    NULL,
};

const cib_dump_table_t *cib_dump_table(const char *name)
{
    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++) {
        if (strcmp(table->name, name) == 0)
            return table;
    }
    return NULL;
}

/* --- out */

static cib_arg_t arg_of(const cib_dump_column_t *column, const char *cell)
{
    if (!cell)
        return CIB_NULL;
    return column->is_number ? CIB_INT(apr_atoi64(cell)) : CIB_TEXT(cell);
}

/* Before all keys that there can be. */
static const char *lowest(const cib_dump_column_t *column)
{
    return column->is_number ? "-1" : "";
}

static cib_error_t *give(const cib_rows_t *rows, int columns, cib_dump_fn each, void *baton,
                         apr_pool_t *pool)
{
    const char *cells[CIB_DUMP_COLUMNS_MAX];

    for (int row = 0; row < cib_rows_count(rows); row++) {
        for (int i = 0; i < columns; i++)
            cells[i] = cib_row_text(rows, row, i);
        CIB_TRY(each(baton, cells, pool));
    }
    return CIB_OK;
}

/* Two pools in turn: a page is read by the last key of the one before. */
cib_error_t *cib_dump_rows(cib_db_t *db, const cib_dump_table_t *table, cib_dump_fn each,
                           void *baton, apr_pool_t *pool)
{
    cib_arg_t args[CIB_DUMP_COLUMNS_MAX];
    apr_pool_t *pages[2];
    cib_rows_t *rows;
    int turn = 0;

    apr_pool_create(&pages[0], pool);
    apr_pool_create(&pages[1], pool);
    for (int i = 0; i < table->keys; i++)
        args[i] = arg_of(&table->columns[i], lowest(&table->columns[i]));
    args[table->keys] = CIB_INT(table->at_once);
    do {
        int last;

        apr_pool_clear(pages[turn]);
        CIB_TRY(cib_db_select(db, &table->page, args, (apr_size_t)table->keys + 1, table->count,
                              &rows, pages[turn]));
        CIB_TRY(give(rows, table->count, each, baton, pages[turn]));
        last = cib_rows_count(rows) - 1;
        for (int i = 0; i < table->keys && last >= 0; i++)
            args[i] = arg_of(&table->columns[i], cib_row_text(rows, last, i));
        turn = !turn;
    } while (cib_rows_count(rows) == table->at_once);
    apr_pool_destroy(pages[0]);
    apr_pool_destroy(pages[1]);
    return CIB_OK;
}

cib_error_t *cib_dump_artifact(cib_db_t *db, apr_int64_t build_id, const char *type,
                               cib_dump_fn each, void *baton, apr_pool_t *pool)
{
    int columns = (int)(sizeof(artifacts) / sizeof(*artifacts));
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &one_artifact, CIB_ARGS(CIB_INT(build_id), CIB_TEXT(type)), columns,
                          &rows, pool));
    return give(rows, columns, each, baton, pool);
}

/* --- ids */

static const cib_sql_t last_id = {
    "SELECT seq FROM sqlite_sequence WHERE name = %s",
    "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, 'id')::regclass)",
};

/* PostgreSQL's asks and changes in one. */
static const cib_sql_t set_last_id = {
    "INSERT INTO sqlite_sequence (seq, name) VALUES (%lld, %s)",
    "SELECT setval(pg_get_serial_sequence(%s, 'id'), %lld)",
};

static const cib_sql_t forget_last_id = {
    "DELETE FROM sqlite_sequence WHERE name = %s",
    NULL,
};

cib_error_t *cib_dump_last_id(cib_db_t *db, const cib_dump_table_t *table, apr_int64_t *id,
                              apr_pool_t *pool)
{
    return cib_db_number(db, &last_id, CIB_ARGS(CIB_TEXT(table->name)), 0, id, pool);
}

cib_error_t *cib_dump_set_last_id(cib_db_t *db, const cib_dump_table_t *table, apr_int64_t id,
                                  apr_pool_t *pool)
{
    cib_rows_t *rows;

    if (id < 1)
        return CIB_OK;
    if (cib_store_driver(db->store) == CIB_DRIVER_PGSQL)
        return cib_db_select(db, &set_last_id, CIB_ARGS(CIB_TEXT(table->name), CIB_INT(id)), 1,
                             &rows, pool);
    CIB_TRY(cib_db_change(db, &forget_last_id, CIB_ARGS(CIB_TEXT(table->name)), NULL, pool));
    return cib_db_change(db, &set_last_id, CIB_ARGS(CIB_INT(id), CIB_TEXT(table->name)), NULL,
                         pool);
}

/* --- in */

static const cib_sql_t count_things = {
    "SELECT count(*) FROM sqlite_master WHERE name <> 'sqlite_sequence'",
    "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace",
};

static const cib_sql_t raise_claims = {
    "UPDATE builds SET claim = claim + %lld WHERE status IN ('created', 'pending')",
    NULL,
};

static cib_error_t *must_be_empty(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    apr_int64_t things;

    CIB_TRY(cib_db_number(db, &count_things, NULL, 0, 0, &things, pool));
    if (things)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "the database is not empty, and a restore overwrites nothing");
    return CIB_OK;
}

cib_error_t *cib_dump_begin(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool)
{
    CIB_TRY(cib_store_read(store, source, must_be_empty, NULL, pool));
    return cib_schema_prepare(store, source, pool);
}

/* From those that others refer to backwards. */
static const char *const drops[] = {
    "DROP TABLE leases",
    "DROP TABLE queue",
    "DROP TABLE artifacts",
    "DROP TABLE build_needs",
    "DROP TABLE build_variables",
    "DROP TABLE build_specs",
    "DROP TABLE builds",
    "DROP TABLE takes",
    "DROP TABLE tagsets",
    "DROP TABLE runner_projects",
    "DROP TABLE runner_machines",
    "DROP TABLE runners",
    "DROP TABLE projects",
    "DROP TABLE meta",
    NULL,
};

static cib_error_t *drop_all(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    CIB_TRY(cib_db_execute_all(db, drops, pool));
    cib_db_purge(db);
    return CIB_OK;
}

cib_error_t *cib_dump_undo(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool)
{
    return cib_store_write(store, source, CIB_WRITE_MANY, drop_all, NULL, pool);
}

/* Asked once more, for what was made meanwhile would be taken for ours. */
cib_error_t *cib_dump_make(cib_db_t *db, const char *id, apr_pool_t *pool)
{
    CIB_TRY(must_be_empty(db, NULL, pool));
    return cib_schema_make(db, id, pool);
}

cib_error_t *cib_dump_put(cib_db_t *db, const cib_dump_table_t *table, const char *const *cells,
                          apr_pool_t *pool)
{
    cib_arg_t args[CIB_DUMP_COLUMNS_MAX];

    for (int i = 0; i < table->count; i++)
        args[i] = arg_of(&table->columns[i], cells[i]);
    return cib_db_change(db, &table->put, args, (apr_size_t)table->count, NULL, pool);
}

/* A build is claimed a few times at most, so seconds tell the claims of two restores apart. */
cib_error_t *cib_dump_end(cib_db_t *db, apr_time_t now, apr_pool_t *pool)
{
    return cib_db_change(db, &raise_claims, CIB_ARGS(CIB_INT(apr_time_sec(now))), NULL, pool);
}

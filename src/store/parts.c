/* What hangs on a build: what to run, its variables, and the builds it needs. */
#include "builds.h"
#include "store/cib_questions.h"

/* --- what to run */

static const cib_sql_t spec_of = {
    "SELECT commands, options FROM build_specs WHERE build_id = %lld",
    NULL,
};

cib_error_t *cib_q_build_spec(cib_db_t *db, apr_int64_t id, cib_build_spec_t **spec,
                              apr_pool_t *pool)
{
    cib_rows_t *rows;

    *spec = NULL;
    CIB_TRY(cib_db_select(db, &spec_of, CIB_ARGS(CIB_INT(id)), 2, &rows, pool));
    if (cib_rows_count(rows) == 0)
        return CIB_OK;
    *spec = apr_pcalloc(pool, sizeof(**spec));
    (*spec)->commands = cib_row_text(rows, 0, 0);
    (*spec)->options = cib_row_text(rows, 0, 1);
    return CIB_OK;
}

/* Most builds have none of these, and then three questions are spared with each claim. */
#define HAS(what)                                                                                  \
    "CASE WHEN EXISTS (SELECT 1 FROM " what " e WHERE e.build_id = b.id) THEN 1 ELSE 0 END"
#define PARTS_COLUMN_COUNT 5

static cib_build_parts_t *parts_in(const cib_rows_t *rows, apr_pool_t *pool)
{
    cib_build_parts_t *parts = apr_pcalloc(pool, sizeof(*parts));

    parts->spec.commands = cib_row_text(rows, 0, 0);
    parts->spec.options = cib_row_text(rows, 0, 1);
    parts->has_variables = (int)cib_row_int(rows, 0, 2);
    parts->has_needs = (int)cib_row_int(rows, 0, 3);
    parts->has_artifacts = (int)cib_row_int(rows, 0, 4);
    return parts;
}

/* --- all of it at once */

#define OWNED CIB_BUILD_COLUMNS ", " CIB_PROJECT_COLUMNS("p.")
#define OWNED_JOINS                                                                                \
    "JOIN tagsets s ON s.id = b.tagset_id LEFT JOIN projects p ON p.id = b.project_id "
#define WHOLE                                                                                      \
    OWNED ", c.commands, c.options, " HAS("build_variables") ", " HAS("build_needs") ", " HAS(     \
        "artifacts") ", " CIB_RUNNER_COLUMNS("r.")
#define WHOLE_JOINS                                                                                \
    OWNED_JOINS "LEFT JOIN build_specs c ON c.build_id = b.id "                                    \
                "LEFT JOIN runners r ON r.id = b.runner_id "

enum {
    WHOLE_PROJECT = CIB_BUILD_COLUMN_COUNT,
    WHOLE_PARTS = WHOLE_PROJECT + CIB_PROJECT_COLUMN_COUNT,
    WHOLE_RUNNER = WHOLE_PARTS + PARTS_COLUMN_COUNT,
    WHOLE_PLACE = WHOLE_RUNNER + CIB_RUNNER_COLUMN_COUNT,
    WHOLE_COLUMN_COUNT
};

static const cib_sql_t whole = {
    "SELECT " WHOLE ", 1 FROM builds b " WHOLE_JOINS "WHERE b.id = %lld",
    NULL,
};

static const cib_sql_t wholes = {
    NULL,
    "SELECT " WHOLE ", w.place FROM unnest(CAST(%s AS bigint[])) WITH ORDINALITY AS w (id, place) "
    "JOIN builds b ON b.id = w.id " WHOLE_JOINS,
};

/* The same without what only a runner is told. */
enum { OWNED_PLACE = WHOLE_PARTS, OWNED_COLUMN_COUNT };

static const cib_sql_t owned = {
    "SELECT " OWNED ", 1 FROM builds b " OWNED_JOINS "WHERE b.id = %lld",
    NULL,
};

static const cib_sql_t owned_many = {
    NULL,
    "SELECT " OWNED ", w.place FROM unnest(CAST(%s AS bigint[])) WITH ORDINALITY AS w (id, place) "
    "JOIN builds b ON b.id = w.id " OWNED_JOINS,
};

static void read_owned(cib_whole_t *of, const cib_rows_t *rows, int row)
{
    apr_pool_t *pool = of->pool;

    of->build = cib_build_of(cib_rows_cut(rows, row, 0, CIB_BUILD_COLUMN_COUNT, pool), 0, pool);
    if (cib_row_text(rows, row, WHOLE_PROJECT))
        of->project = cib_project_of(
            cib_rows_cut(rows, row, WHOLE_PROJECT, CIB_PROJECT_COLUMN_COUNT, pool), 0, pool);
}

static void read_rest(cib_whole_t *of, const cib_rows_t *rows, int row)
{
    apr_pool_t *pool = of->pool;

    if (cib_row_text(rows, row, WHOLE_PARTS))
        of->parts = parts_in(cib_rows_cut(rows, row, WHOLE_PARTS, PARTS_COLUMN_COUNT, pool), pool);
    if (cib_row_text(rows, row, WHOLE_RUNNER))
        of->runner = cib_runner_of(
            cib_rows_cut(rows, row, WHOLE_RUNNER, CIB_RUNNER_COLUMN_COUNT, pool), 0, pool);
}

static cib_error_t *select_wholes(cib_db_t *db, const cib_sql_t *sql, int columns,
                                  cib_whole_t *const *of, int count, cib_rows_t **rows,
                                  apr_pool_t *pool)
{
    apr_array_header_t *ids = apr_array_make(pool, count, sizeof(apr_int64_t));
    cib_arg_t arg = CIB_INT(of[0]->id);

    for (int i = 0; i < count; i++) {
        APR_ARRAY_PUSH(ids, apr_int64_t) = of[i]->id;
        of[i]->build = NULL;
        of[i]->project = NULL;
        of[i]->parts = NULL;
        of[i]->runner = NULL;
    }
    if (count > 1)
        arg = cib_arg_these(db, ids, pool);
    CIB_TRY(cib_db_select(db, sql, &arg, 1, columns, rows, pool));
    for (int i = 0; i < cib_rows_count(*rows); i++)
        read_owned(of[cib_row_int(*rows, i, columns - 1) - 1], *rows, i);
    return CIB_OK;
}

cib_error_t *cib_q_owned(cib_db_t *db, cib_whole_t *const *of, int count, apr_pool_t *pool)
{
    cib_rows_t *rows;

    return select_wholes(db, count > 1 ? &owned_many : &owned, OWNED_COLUMN_COUNT, of, count, &rows,
                         pool);
}

cib_error_t *cib_q_wholes(cib_db_t *db, cib_whole_t *const *of, int count, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(select_wholes(db, count > 1 ? &wholes : &whole, WHOLE_COLUMN_COUNT, of, count, &rows,
                          pool));
    for (int i = 0; i < cib_rows_count(rows); i++)
        read_rest(of[cib_row_int(rows, i, WHOLE_PLACE) - 1], rows, i);
    return CIB_OK;
}

/* --- variables */

static const cib_sql_t variable_add = {
    "INSERT INTO build_variables (build_id, position, key, value, is_public, is_file, is_raw) "
    "VALUES (%lld, %lld, %s, %s, %lld, %lld, %lld)",
    NULL,
};

static const cib_sql_t variables_of = {
    "SELECT key, value, is_public, is_file, is_raw FROM build_variables WHERE build_id = %lld "
    "ORDER BY position",
    NULL,
};

cib_error_t *cib_q_variable_add(cib_db_t *db, apr_int64_t build_id, int position,
                                const cib_variable_t *variable, apr_pool_t *pool)
{
    return cib_db_change(db, &variable_add,
                         CIB_ARGS(CIB_INT(build_id), CIB_INT(position), CIB_TEXT(variable->key),
                                  CIB_TEXT(variable->value), CIB_INT(variable->is_public),
                                  CIB_INT(variable->is_file), CIB_INT(variable->is_raw)),
                         NULL, pool);
}

cib_error_t *cib_q_variables(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **variables,
                             apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &variables_of, CIB_ARGS(CIB_INT(build_id)), 5, &rows, pool));
    *variables = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_variable_t *));
    for (int i = 0; i < cib_rows_count(rows); i++) {
        cib_variable_t *variable = apr_pcalloc(pool, sizeof(*variable));

        variable->key = cib_row_text(rows, i, 0);
        variable->value = cib_row_text(rows, i, 1);
        variable->is_public = (int)cib_row_int(rows, i, 2);
        variable->is_file = (int)cib_row_int(rows, i, 3);
        variable->is_raw = (int)cib_row_int(rows, i, 4);
        APR_ARRAY_PUSH(*variables, cib_variable_t *) = variable;
    }
    return CIB_OK;
}

/* --- needs */

static const cib_sql_t need_add = {
    "INSERT INTO build_needs (build_id, needs_id) VALUES (%lld, %lld) ON CONFLICT DO NOTHING",
    NULL,
};

static const cib_sql_t needs_of = {
    "SELECT " CIB_BUILD_COLUMNS CIB_BUILD_FROM
    "JOIN build_needs n ON n.needs_id = b.id WHERE n.build_id = %lld ORDER BY b.id",
    NULL,
};

/* The few of them that run now may ask for what they need. */
static const cib_sql_t running_needing = {
    "SELECT " CIB_BUILD_COLUMNS CIB_BUILD_FROM
    "JOIN build_needs n ON n.build_id = b.id WHERE n.needs_id = %lld AND b.status = 'running' "
    "ORDER BY b.id",
    NULL,
};

/* On PostgreSQL a join: with ANY it may read all needs in the order asked for, and look through
 * thousands of ids for each. */
static const cib_sql_t needed_by = {
    "SELECT DISTINCT build_id FROM build_needs WHERE needs_id " CIB_THESE_SQLITE
    "ORDER BY build_id",
    "SELECT DISTINCT n.build_id FROM unnest(CAST(%s AS bigint[])) AS t (id) "
    "JOIN build_needs n ON n.needs_id = t.id ORDER BY n.build_id",
};

/* The same of one, which it mostly is: on SQLite without a table for the ids and one to sort in. */
static const cib_sql_t needed_by_one = {
    "SELECT build_id FROM build_needs WHERE needs_id = %lld ORDER BY build_id",
    NULL,
};

/* Those that wait (or are to wait again), a row for each status that there is among their needs. */
#define WAITING(which)                                                                             \
    "SELECT b.id, b.project_id, b.tagset_id, d.status FROM builds b "                              \
    "LEFT JOIN build_needs n ON n.build_id = b.id LEFT JOIN builds d ON d.id = n.needs_id "        \
    "WHERE b." CIB_STATUS_HIDDEN which " AND b.id "
#define BY_STATUS "GROUP BY b.id, d.status ORDER BY b.id"
#define REOPENABLE                                                                                 \
    "'skipped' AND b.erased_at IS NULL "                                                           \
    "AND NOT EXISTS (SELECT 1 FROM builds r WHERE r.retry_of = b.id)"

static const cib_sql_t waiting = {
    WAITING("'created'") CIB_THESE_SQLITE BY_STATUS,
    WAITING("'created'") CIB_THESE_PGSQL BY_STATUS,
};

static const cib_sql_t skipped = {
    WAITING(REOPENABLE) CIB_THESE_SQLITE BY_STATUS,
    WAITING(REOPENABLE) CIB_THESE_PGSQL BY_STATUS,
};

/* Of builds that wait, or never ran and may yet; the others' needs are history. */
#define WAITING_NEEDS                                                                              \
    "WHERE needs_id = %lld AND build_id IN (SELECT b.id FROM builds b "                            \
    "WHERE b.id = build_needs.build_id AND b.status IN ('created', 'skipped') "                    \
    "AND NOT EXISTS (SELECT 1 FROM builds r WHERE r.retry_of = b.id))"

static const cib_sql_t needs_repeat = {
    "INSERT INTO build_needs (build_id, needs_id) "
    "SELECT build_id, CAST(%lld AS bigint) FROM build_needs " WAITING_NEEDS
    " ON CONFLICT DO NOTHING",
    NULL,
};

static const cib_sql_t needs_drop = {
    "DELETE FROM build_needs " WAITING_NEEDS,
    NULL,
};

cib_error_t *cib_q_need_add(cib_db_t *db, apr_int64_t build_id, apr_int64_t needs_id,
                            apr_pool_t *pool)
{
    return cib_db_change(db, &need_add, CIB_ARGS(CIB_INT(build_id), CIB_INT(needs_id)), NULL, pool);
}

cib_error_t *cib_q_needs(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **builds,
                         apr_pool_t *pool)
{
    return cib_db_builds(db, &needs_of, CIB_ARGS(CIB_INT(build_id)), builds, pool);
}

cib_error_t *cib_q_needed_by(cib_db_t *db, const apr_array_header_t *needs,
                             apr_array_header_t **ids, apr_pool_t *pool)
{
    if (needs->nelts == 1)
        return cib_db_ids(db, &needed_by_one,
                          CIB_ARGS(CIB_INT(APR_ARRAY_IDX(needs, 0, apr_int64_t))), ids, pool);
    return cib_db_ids(db, &needed_by, CIB_ARGS(cib_arg_these(db, needs, pool)), ids, pool);
}

static cib_error_t *select_waiting(cib_db_t *db, const cib_sql_t *sql,
                                   const apr_array_header_t *ids, apr_array_header_t **builds,
                                   apr_pool_t *pool)
{
    cib_waiting_t *build = NULL;
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, CIB_ARGS(cib_arg_these(db, ids, pool)), 4, &rows, pool));
    *builds = apr_array_make(pool, ids->nelts + 1, sizeof(cib_waiting_t));
    for (int i = 0; i < cib_rows_count(rows); i++) {
        const char *status = cib_row_text(rows, i, 3);

        if (!build || build->id != cib_row_int(rows, i, 0)) {
            build = &APR_ARRAY_PUSH(*builds, cib_waiting_t);
            build->id = cib_row_int(rows, i, 0);
            build->project_id = cib_row_int(rows, i, 1);
            build->tagset_id = cib_row_int(rows, i, 2);
            build->needs = 0;
        }
        if (status)
            build->needs |= 1U << cib_status_parse(status);
    }
    return CIB_OK;
}

cib_error_t *cib_q_waiting(cib_db_t *db, const apr_array_header_t *ids, apr_array_header_t **builds,
                           apr_pool_t *pool)
{
    return select_waiting(db, &waiting, ids, builds, pool);
}

cib_error_t *cib_q_skipped(cib_db_t *db, const apr_array_header_t *ids, apr_array_header_t **builds,
                           apr_pool_t *pool)
{
    return select_waiting(db, &skipped, ids, builds, pool);
}

cib_error_t *cib_q_running_needing(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **builds,
                                   apr_pool_t *pool)
{
    return cib_db_builds(db, &running_needing, CIB_ARGS(CIB_INT(build_id)), builds, pool);
}

cib_error_t *cib_q_needs_move(cib_db_t *db, apr_int64_t from, apr_int64_t to, apr_pool_t *pool)
{
    CIB_TRY(cib_db_change(db, &needs_repeat, CIB_ARGS(CIB_INT(to), CIB_INT(from)), NULL, pool));
    return cib_db_change(db, &needs_drop, CIB_ARGS(CIB_INT(from)), NULL, pool);
}

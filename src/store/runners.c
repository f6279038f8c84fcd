/* Runners. */
#include <string.h>

#include "builds.h"
#include "store/cib_questions.h"

#define COLUMNS CIB_RUNNER_COLUMNS("")
#define COLUMN_COUNT CIB_RUNNER_COLUMN_COUNT

static const cib_sql_t add = {
    "INSERT INTO runners (description, active, is_shared, locked, run_untagged, tags, "
    "contacted_at, name, version, revision, platform, architecture, "
    "maximum_timeout, token_sha256, created_at) "
    "VALUES (%s, %lld, %lld, %lld, %lld, %s, %lld, %s, %s, %s, %s, %s, %lld, %s, %lld) "
    "RETURNING id",
    NULL,
};

static const cib_sql_t by_id = {
    "SELECT " COLUMNS " FROM runners WHERE id = %lld",
    NULL,
};

/* On SQLite only one writes. */
static const cib_sql_t by_id_held = {
    "SELECT " COLUMNS " FROM runners WHERE id = %lld",
    "SELECT " COLUMNS " FROM runners WHERE id = %lld FOR NO KEY UPDATE",
};

static const cib_sql_t by_token = {
    "SELECT " COLUMNS " FROM runners WHERE token_sha256 = %s",
    NULL,
};

static const cib_sql_t all = {
    "SELECT " COLUMNS " FROM runners ORDER BY id",
    NULL,
};

static const cib_sql_t token_owner = {
    "SELECT id FROM runners WHERE token_sha256 = %s",
    NULL,
};

static const cib_sql_t settings = {
    "SELECT tags, run_untagged FROM runners WHERE id = %lld",
    NULL,
};

static const cib_sql_t update = {
    "UPDATE runners SET description = %s, active = %lld, is_shared = %lld, locked = %lld, "
    "run_untagged = %lld, tags = %s, maximum_timeout = %lld WHERE id = %lld",
    NULL,
};

static const cib_sql_t contact = {
    "UPDATE runners SET contacted_at = %lld, name = %s, version = %s, revision = %s, "
    "platform = %s, architecture = %s, info_changed_at = %lld, info_changes = %lld "
    "WHERE id = %lld",
    NULL,
};

static const cib_sql_t set_token = {
    "UPDATE runners SET token_sha256 = %s WHERE id = %lld",
    NULL,
};

static const cib_sql_t change_token = {
    "UPDATE runners SET token_sha256 = %s WHERE id = %lld AND token_sha256 = %s",
    NULL,
};

static const cib_sql_t remove_row = {
    "DELETE FROM runners WHERE id = %lld",
    NULL,
};

static const cib_sql_t bind_project = {
    "INSERT INTO runner_projects (runner_id, project_id) VALUES (%lld, %lld) "
    "ON CONFLICT DO NOTHING",
    NULL,
};

static const cib_sql_t projects_of = {
    "SELECT project_id FROM runner_projects WHERE runner_id = %lld ORDER BY project_id",
    NULL,
};

static const cib_sql_t runners_for = {
    "SELECT r.id FROM takes t JOIN runners r ON r.id = t.runner_id WHERE t.tagset_id = %lld "
    "AND ((r.is_shared = 1 AND r.locked = 0 AND EXISTS (SELECT 1 FROM projects p "
    "WHERE p.id = %lld AND p.shared_runners_enabled = 1)) "
    "OR EXISTS (SELECT 1 FROM runner_projects rp "
    "WHERE rp.runner_id = r.id AND rp.project_id = %lld)) ORDER BY r.id",
    NULL,
};

static const cib_sql_t of_project = {
    "SELECT " COLUMNS " FROM runners WHERE is_shared = 1 OR id IN "
    "(SELECT runner_id FROM runner_projects WHERE project_id = %lld) ORDER BY id",
    NULL,
};

cib_runner_t *cib_runner_of(const cib_rows_t *rows, int row, apr_pool_t *pool)
{
    cib_runner_t *runner = apr_pcalloc(pool, sizeof(*runner));

    runner->id = cib_row_int(rows, row, 0);
    runner->description = cib_row_text(rows, row, 1);
    runner->active = (int)cib_row_int(rows, row, 2);
    runner->is_shared = (int)cib_row_int(rows, row, 3);
    runner->locked = (int)cib_row_int(rows, row, 4);
    runner->run_untagged = (int)cib_row_int(rows, row, 5);
    runner->tags = cib_row_text(rows, row, 6);
    runner->contacted_at = cib_row_int(rows, row, 7);
    runner->name = cib_row_text(rows, row, 8);
    runner->version = cib_row_text(rows, row, 9);
    runner->revision = cib_row_text(rows, row, 10);
    runner->platform = cib_row_text(rows, row, 11);
    runner->architecture = cib_row_text(rows, row, 12);
    runner->info_changed_at = cib_row_int(rows, row, 13);
    runner->info_changes = (int)cib_row_int(rows, row, 14);
    runner->maximum_timeout = (int)cib_row_int(rows, row, 15);
    runner->created_at = cib_row_int(rows, row, 16);
    return runner;
}

static cib_error_t *select_one(cib_db_t *db, const cib_sql_t *sql, cib_arg_t arg,
                               cib_runner_t **runner, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, &arg, 1, COLUMN_COUNT, &rows, pool));
    *runner = cib_rows_count(rows) ? cib_runner_of(rows, 0, pool) : NULL;
    return CIB_OK;
}

/* Refuse a token that another than `id` has. */
static cib_error_t *check_token(cib_db_t *db, apr_int64_t id, const char *token_sha256,
                                apr_pool_t *pool)
{
    apr_int64_t owner;

    CIB_TRY(cib_db_number(db, &token_owner, CIB_ARGS(CIB_TEXT(token_sha256)), id, &owner, pool));
    if (owner != id)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "the token is another runner's already");
    return CIB_OK;
}

cib_error_t *cib_q_runner_add(cib_db_t *db, const cib_runner_t *runner, const char *token_sha256,
                              apr_time_t now, apr_int64_t *id, apr_pool_t *pool)
{
    const char *tags = runner->tags ? runner->tags : "";

    CIB_TRY(check_token(db, 0, token_sha256, pool));
    CIB_TRY(cib_takes_lock(db, pool));
    CIB_TRY(cib_db_number(
        db, &add,
        CIB_ARGS(CIB_TEXT(runner->description), CIB_INT(runner->active), CIB_INT(runner->is_shared),
                 CIB_INT(runner->locked), CIB_INT(runner->run_untagged), CIB_TEXT(tags),
                 cib_arg_nonzero(runner->contacted_at), CIB_TEXT(runner->name),
                 CIB_TEXT(runner->version), CIB_TEXT(runner->revision), CIB_TEXT(runner->platform),
                 CIB_TEXT(runner->architecture), cib_arg_nonzero(runner->maximum_timeout),
                 CIB_TEXT(token_sha256), CIB_INT(now)),
        0, id, pool));
    return cib_takes_of_runner(db, *id, tags, runner->run_untagged, pool);
}

cib_error_t *cib_q_runner(cib_db_t *db, apr_int64_t id, cib_runner_t **runner, apr_pool_t *pool)
{
    return select_one(db, &by_id, CIB_INT(id), runner, pool);
}

cib_error_t *cib_q_runner_hold(cib_db_t *db, apr_int64_t id, cib_runner_t **runner,
                               apr_pool_t *pool)
{
    return select_one(db, &by_id_held, CIB_INT(id), runner, pool);
}

cib_error_t *cib_q_runner_by_token(cib_db_t *db, const char *token_sha256, cib_runner_t **runner,
                                   apr_pool_t *pool)
{
    return select_one(db, &by_token, CIB_TEXT(token_sha256), runner, pool);
}

/* The same of many tokens, PostgreSQL. */
static const cib_sql_t by_tokens = {
    NULL,
    "SELECT w.place, " CIB_RUNNER_COLUMNS("r.") " FROM unnest(CAST(%s AS text[])) "
                                                "WITH ORDINALITY AS w (token_sha256, place) JOIN "
                                                "runners r ON r.token_sha256 = w.token_sha256",
};

cib_error_t *cib_q_runners_by_token(cib_db_t *db, cib_token_owner_t *const *owners, int count,
                                    apr_pool_t *pool)
{
    apr_array_header_t *tokens = apr_array_make(pool, count, sizeof(const char *));
    cib_arg_t arg;
    cib_rows_t *rows;

    if (count == 1)
        return cib_q_runner_by_token(db, owners[0]->token_sha256, &owners[0]->runner,
                                     owners[0]->pool);
    for (int i = 0; i < count; i++) {
        APR_ARRAY_PUSH(tokens, const char *) = owners[i]->token_sha256;
        owners[i]->runner = NULL;
    }
    arg = cib_arg_texts(tokens, pool);
    CIB_TRY(cib_db_select(db, &by_tokens, &arg, 1, COLUMN_COUNT + 1, &rows, pool));
    for (int i = 0; i < cib_rows_count(rows); i++) {
        cib_token_owner_t *owner = owners[cib_row_int(rows, i, 0) - 1];

        owner->runner =
            cib_runner_of(cib_rows_cut(rows, i, 1, COLUMN_COUNT, owner->pool), 0, owner->pool);
    }
    return CIB_OK;
}

static cib_error_t *select_all(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                               apr_size_t nargs, apr_array_header_t **runners, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, args, nargs, COLUMN_COUNT, &rows, pool));
    *runners = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_runner_t *));
    for (int i = 0; i < cib_rows_count(rows); i++)
        APR_ARRAY_PUSH(*runners, cib_runner_t *) = cib_runner_of(rows, i, pool);
    return CIB_OK;
}

cib_error_t *cib_q_runners(cib_db_t *db, apr_array_header_t **runners, apr_pool_t *pool)
{
    return select_all(db, &all, NULL, 0, runners, pool);
}

cib_error_t *cib_q_project_runners(cib_db_t *db, apr_int64_t project_id,
                                   apr_array_header_t **runners, apr_pool_t *pool)
{
    return select_all(db, &of_project, CIB_ARGS(CIB_INT(project_id)), runners, pool);
}

/* Do the new settings allow other tag sets than those in the row? */
static cib_error_t *tags_differ(cib_db_t *db, const cib_runner_t *runner, int *differ,
                                apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &settings, CIB_ARGS(CIB_INT(runner->id)), 2, &rows, pool));
    *differ = cib_rows_count(rows) && (strcmp(cib_row_text(rows, 0, 0), runner->tags) != 0 ||
                                       cib_row_int(rows, 0, 1) != runner->run_untagged);
    return CIB_OK;
}

cib_error_t *cib_q_runner_update(cib_db_t *db, const cib_runner_t *runner, apr_pool_t *pool)
{
    int differ;

    CIB_TRY(cib_takes_lock(db, pool));
    CIB_TRY(tags_differ(db, runner, &differ, pool));
    CIB_TRY(cib_db_change(db, &update,
                          CIB_ARGS(CIB_TEXT(runner->description), CIB_INT(runner->active),
                                   CIB_INT(runner->is_shared), CIB_INT(runner->locked),
                                   CIB_INT(runner->run_untagged), CIB_TEXT(runner->tags),
                                   cib_arg_nonzero(runner->maximum_timeout), CIB_INT(runner->id)),
                          NULL, pool));
    if (!differ)
        return CIB_OK;
    return cib_takes_of_runner(db, runner->id, runner->tags, runner->run_untagged, pool);
}

cib_error_t *cib_q_runner_contact(cib_db_t *db, const cib_runner_t *runner, apr_pool_t *pool)
{
    return cib_db_change(db, &contact,
                         CIB_ARGS(cib_arg_nonzero(runner->contacted_at), CIB_TEXT(runner->name),
                                  CIB_TEXT(runner->version), CIB_TEXT(runner->revision),
                                  CIB_TEXT(runner->platform), CIB_TEXT(runner->architecture),
                                  cib_arg_nonzero(runner->info_changed_at),
                                  CIB_INT(runner->info_changes), CIB_INT(runner->id)),
                         NULL, pool);
}

cib_error_t *cib_q_runner_set_token(cib_db_t *db, apr_int64_t id, const char *token_sha256,
                                    apr_pool_t *pool)
{
    CIB_TRY(check_token(db, id, token_sha256, pool));
    return cib_db_change(db, &set_token, CIB_ARGS(CIB_TEXT(token_sha256), CIB_INT(id)), NULL, pool);
}

cib_error_t *cib_q_runner_change_token(cib_db_t *db, apr_int64_t id, const char *old_sha256,
                                       const char *token_sha256, int *changed, apr_pool_t *pool)
{
    return cib_db_change(db, &change_token,
                         CIB_ARGS(CIB_TEXT(token_sha256), CIB_INT(id), CIB_TEXT(old_sha256)),
                         changed, pool);
}

cib_error_t *cib_q_runner_remove(cib_db_t *db, apr_int64_t id, int *changed, apr_pool_t *pool)
{
    return cib_db_change(db, &remove_row, CIB_ARGS(CIB_INT(id)), changed, pool);
}

cib_error_t *cib_q_runner_bind(cib_db_t *db, apr_int64_t runner_id, apr_int64_t project_id,
                               apr_pool_t *pool)
{
    CIB_TRY(cib_takes_lock(db, pool));
    return cib_db_change(db, &bind_project, CIB_ARGS(CIB_INT(runner_id), CIB_INT(project_id)), NULL,
                         pool);
}

cib_error_t *cib_q_runner_projects(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **ids,
                                   apr_pool_t *pool)
{
    return cib_db_ids(db, &projects_of, CIB_ARGS(CIB_INT(runner_id)), ids, pool);
}

cib_error_t *cib_q_runners_for(cib_db_t *db, apr_int64_t project_id, apr_int64_t tagset_id,
                               apr_array_header_t **ids, apr_pool_t *pool)
{
    return cib_db_ids(db, &runners_for,
                      CIB_ARGS(CIB_INT(tagset_id), CIB_INT(project_id), CIB_INT(project_id)), ids,
                      pool);
}

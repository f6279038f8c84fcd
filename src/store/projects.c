/* Projects. */
#include "builds.h"
#include "store/cib_questions.h"

#define COLUMNS CIB_PROJECT_COLUMNS("")
#define COLUMN_COUNT CIB_PROJECT_COLUMN_COUNT

static const cib_sql_t add = {
    "INSERT INTO projects (name, repo_url, repo_auth_token, timeout, allow_git_fetch, "
    "shared_runners_enabled, builds_enabled, created_at) "
    "VALUES (%s, %s, %lld, %lld, %lld, %lld, %lld, %lld) RETURNING id",
    NULL,
};

static const cib_sql_t token_owner = {
    "SELECT id FROM projects WHERE token_sha256 = %s",
    NULL,
};

static const cib_sql_t set_token = {
    "UPDATE projects SET token_sha256 = %s, token_sealed = %s, rotation = %lld WHERE id = %lld",
    NULL,
};

static const cib_sql_t by_id = {
    "SELECT " COLUMNS " FROM projects WHERE id = %lld",
    NULL,
};

/* On SQLite only one writes. */
static const cib_sql_t by_id_held = {
    "SELECT " COLUMNS " FROM projects WHERE id = %lld",
    "SELECT " COLUMNS " FROM projects WHERE id = %lld FOR NO KEY UPDATE",
};

static const cib_sql_t by_token = {
    "SELECT " COLUMNS " FROM projects WHERE token_sha256 = %s",
    NULL,
};

static const cib_sql_t all = {
    "SELECT " COLUMNS " FROM projects ORDER BY id",
    NULL,
};

static const cib_sql_t update = {
    "UPDATE projects SET name = %s, repo_url = %s, repo_auth_token = %lld, timeout = %lld, "
    "allow_git_fetch = %lld, shared_runners_enabled = %lld, builds_enabled = %lld WHERE id = %lld",
    NULL,
};

static const cib_sql_t mark_removing = {
    "UPDATE projects SET removing = 1 WHERE id = %lld",
    NULL,
};

static const cib_sql_t has_builds = {
    "SELECT id FROM builds WHERE project_id = %lld ORDER BY id LIMIT 1",
    NULL,
};

static const cib_sql_t remove_row = {
    "DELETE FROM projects WHERE id = %lld",
    NULL,
};

cib_project_t *cib_project_of(const cib_rows_t *rows, int row, apr_pool_t *pool)
{
    cib_project_t *project = apr_pcalloc(pool, sizeof(*project));

    project->id = cib_row_int(rows, row, 0);
    project->name = cib_row_text(rows, row, 1);
    project->repo_url = cib_row_text(rows, row, 2);
    project->repo_auth_token = (int)cib_row_int(rows, row, 3);
    project->timeout = (int)cib_row_int(rows, row, 4);
    project->allow_git_fetch = (int)cib_row_int(rows, row, 5);
    project->shared_runners_enabled = (int)cib_row_int(rows, row, 6);
    project->builds_enabled = (int)cib_row_int(rows, row, 7);
    project->removing = (int)cib_row_int(rows, row, 8);
    project->rotation = (int)cib_row_int(rows, row, 9);
    project->token_sealed = cib_row_text(rows, row, 10);
    return project;
}

static cib_error_t *select_one(cib_db_t *db, const cib_sql_t *sql, cib_arg_t arg,
                               cib_project_t **project, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, &arg, 1, COLUMN_COUNT, &rows, pool));
    *project = cib_rows_count(rows) ? cib_project_of(rows, 0, pool) : NULL;
    return CIB_OK;
}

cib_error_t *cib_q_project_add(cib_db_t *db, const cib_project_t *project, apr_time_t now,
                               apr_int64_t *id, apr_pool_t *pool)
{
    return cib_db_number(db, &add,
                         CIB_ARGS(CIB_TEXT(project->name), CIB_TEXT(project->repo_url),
                                  CIB_INT(project->repo_auth_token), CIB_INT(project->timeout),
                                  CIB_INT(project->allow_git_fetch),
                                  CIB_INT(project->shared_runners_enabled),
                                  CIB_INT(project->builds_enabled), CIB_INT(now)),
                         0, id, pool);
}

cib_error_t *cib_q_project_set_token(cib_db_t *db, apr_int64_t id, const char *token_sha256,
                                     const char *sealed, int rotation, apr_pool_t *pool)
{
    apr_int64_t owner;

    CIB_TRY(cib_db_number(db, &token_owner, CIB_ARGS(CIB_TEXT(token_sha256)), id, &owner, pool));
    if (owner != id)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "the token is another project's already");
    return cib_db_change(
        db, &set_token,
        CIB_ARGS(CIB_TEXT(token_sha256), CIB_TEXT(sealed), CIB_INT(rotation), CIB_INT(id)), NULL,
        pool);
}

cib_error_t *cib_q_project(cib_db_t *db, apr_int64_t id, cib_project_t **project, apr_pool_t *pool)
{
    return select_one(db, &by_id, CIB_INT(id), project, pool);
}

cib_error_t *cib_q_project_hold(cib_db_t *db, apr_int64_t id, cib_project_t **project,
                                apr_pool_t *pool)
{
    return select_one(db, &by_id_held, CIB_INT(id), project, pool);
}

cib_error_t *cib_q_project_by_token(cib_db_t *db, const char *token_sha256, cib_project_t **project,
                                    apr_pool_t *pool)
{
    return select_one(db, &by_token, CIB_TEXT(token_sha256), project, pool);
}

cib_error_t *cib_q_projects(cib_db_t *db, apr_array_header_t **projects, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &all, NULL, 0, COLUMN_COUNT, &rows, pool));
    *projects = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_project_t *));
    for (int i = 0; i < cib_rows_count(rows); i++)
        APR_ARRAY_PUSH(*projects, cib_project_t *) = cib_project_of(rows, i, pool);
    return CIB_OK;
}

cib_error_t *cib_q_project_update(cib_db_t *db, const cib_project_t *project, apr_pool_t *pool)
{
    CIB_TRY(cib_takes_lock(db, pool));
    return cib_db_change(db, &update,
                         CIB_ARGS(CIB_TEXT(project->name), CIB_TEXT(project->repo_url),
                                  CIB_INT(project->repo_auth_token), CIB_INT(project->timeout),
                                  CIB_INT(project->allow_git_fetch),
                                  CIB_INT(project->shared_runners_enabled),
                                  CIB_INT(project->builds_enabled), CIB_INT(project->id)),
                         NULL, pool);
}

cib_error_t *cib_q_project_mark_removing(cib_db_t *db, apr_int64_t id, int *changed,
                                         apr_pool_t *pool)
{
    return cib_db_change(db, &mark_removing, CIB_ARGS(CIB_INT(id)), changed, pool);
}

/* The foreign key would refuse it too, but only as a failed statement. */
cib_error_t *cib_q_project_remove(cib_db_t *db, apr_int64_t id, apr_pool_t *pool)
{
    apr_int64_t build_id;

    CIB_TRY(cib_db_number(db, &has_builds, CIB_ARGS(CIB_INT(id)), 0, &build_id, pool));
    if (build_id)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "the project has builds still");
    return cib_db_change(db, &remove_row, CIB_ARGS(CIB_INT(id)), NULL, pool);
}

/* Projects, and how one goes with all it has. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_build.h"
#include "core/cib_project.h"
#include "core/cib_token.h"
#include "internal.h"
#include "removal.h"
#include "transition.h"

#define URL_MAX 2048

typedef struct asking_t {
    apr_int64_t id;
    cib_project_t *project;
    apr_array_header_t *list;
} asking_t;

static cib_error_t *get(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_project(db, asking->id, &asking->project, pool);
}

cib_error_t *cib_project_get(const cib_ctx_t *ctx, apr_int64_t id, cib_project_t **project)
{
    asking_t asking = {.id = id};

    *project = NULL;
    CIB_TRY(cib_read(ctx, get, &asking));
    if (!asking.project)
        return cib_no_record(ctx->pool, "project", id);
    *project = asking.project;
    return CIB_OK;
}

static cib_error_t *list(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_projects(db, &asking->list, pool);
}

cib_error_t *cib_project_list(const cib_ctx_t *ctx, apr_array_header_t **projects)
{
    asking_t asking = {0};

    CIB_TRY(cib_read(ctx, list, &asking));
    *projects = asking.list;
    return CIB_OK;
}

cib_error_t *cib_project_token(const cib_ctx_t *ctx, const cib_project_t *project,
                               const char **token)
{
    return cib_token_project(ctx->storage, project, token, ctx->pool);
}

/* --- adding and changing --------------------------------------------------------------------- */

typedef struct changing_t {
    const cib_ctx_t *ctx;
    cib_project_t row;
    const cib_project_change_t *change;
    const char *imported;
    const char *token;
} changing_t;

static cib_error_t *check(cib_project_t *row, apr_pool_t *pool)
{
    CIB_TRY(cib_text_check("the project's name", row->name, CIB_SHORT_MAX, pool));
    CIB_TRY(cib_text_check("the repository's URL", row->repo_url, URL_MAX, pool));
    if (row->timeout < 0)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the timeout must be a number of seconds");
    if (!row->timeout)
        row->timeout = CIB_PROJECT_TIMEOUT;
    return CIB_OK;
}

/* Give the project of `changing` its token: the imported one, or the derived one of its rotation.
 */
static cib_error_t *give_token(cib_db_t *db, changing_t *changing, apr_pool_t *pool)
{
    const cib_storage_t *storage = changing->ctx->storage;
    cib_project_t *row = &changing->row;
    cib_project_t *other;
    const char *hash;

    row->token_sealed = NULL;
    if (changing->imported) {
        const char *place = apr_psprintf(pool, "project:%" APR_INT64_T_FMT, row->id);

        CIB_TRY(cib_secret_seal(storage, place, changing->imported, &row->token_sealed, pool));
    }
    CIB_TRY(cib_token_project(storage, row, &changing->token, pool));
    hash = cib_token_hash(changing->token, pool);
    CIB_TRY(cib_q_project_by_token(db, hash, &other, pool));
    if (other && other->id != row->id)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "that token is in use");
    return cib_q_project_set_token(db, row->id, hash, row->token_sealed, row->rotation, pool);
}

static cib_error_t *add(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    changing_t *changing = baton;

    changing->row.rotation = 0;
    CIB_TRY(cib_q_project_add(db, &changing->row, apr_time_now(), &changing->row.id, pool));
    return give_token(db, changing, pool);
}

cib_error_t *cib_project_add(const cib_ctx_t *ctx, const cib_project_t *project,
                             const char *imported, apr_int64_t *id, const char **token)
{
    changing_t changing = {.ctx = ctx, .row = *project, .imported = imported};

    *id = 0;
    *token = NULL;
    CIB_TRY(check(&changing.row, ctx->pool));
    if (imported)
        CIB_TRY(cib_token_importable(imported, ctx->pool));
    changing.row.removing = 0;
    CIB_TRY(cib_write(ctx, add, &changing));
    *id = changing.row.id;
    *token = changing.token;
    return CIB_OK;
}

/* As it is, and stays until the section ends. NO_RECORD where there is none. */
static cib_error_t *hold(cib_db_t *db, apr_int64_t id, cib_project_t **row, apr_pool_t *pool)
{
    CIB_TRY(cib_q_project_hold(db, id, row, pool));
    return *row ? CIB_OK : cib_no_record(pool, "project", id);
}

static void choose(int *value, int wanted)
{
    if (wanted >= 0)
        *value = wanted;
}

static cib_error_t *set(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const changing_t *changing = baton;
    const cib_project_change_t *change = changing->change;
    cib_project_t *row;

    CIB_TRY(hold(db, changing->row.id, &row, pool));
    if (change->name)
        row->name = change->name;
    if (change->repo_url)
        row->repo_url = change->repo_url;
    choose(&row->repo_auth_token, change->repo_auth_token);
    choose(&row->timeout, change->timeout);
    choose(&row->allow_git_fetch, change->allow_git_fetch);
    choose(&row->shared_runners_enabled, change->shared_runners_enabled);
    choose(&row->builds_enabled, change->builds_enabled);
    CIB_TRY(check(row, pool));
    CIB_TRY(cib_q_project_update(db, row, pool));
    cib_db_raise_all(db);
    return CIB_OK;
}

cib_error_t *cib_project_set(const cib_ctx_t *ctx, apr_int64_t id,
                             const cib_project_change_t *change)
{
    changing_t changing = {.row = {.id = id}, .change = change};

    return cib_write(ctx, set, &changing);
}

static cib_error_t *rotate(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    changing_t *changing = baton;
    cib_project_t *row;

    CIB_TRY(hold(db, changing->row.id, &row, pool));
    changing->row = *row;
    changing->row.rotation++;
    return give_token(db, changing, pool);
}

cib_error_t *cib_project_rotate(const cib_ctx_t *ctx, apr_int64_t id, const char **token)
{
    changing_t changing = {.ctx = ctx, .row = {.id = id}};

    *token = NULL;
    CIB_TRY(cib_write(ctx, rotate, &changing));
    *token = changing.token;
    return CIB_OK;
}

/* --- removing -------------------------------------------------------------------------------- */

typedef struct removing_t {
    apr_int64_t id;
    cib_status_e status;
    apr_array_header_t *builds;
    int done;
} removing_t;

static cib_error_t *mark(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const removing_t *removing = baton;
    cib_project_t *row;
    int changed;

    CIB_TRY(hold(db, removing->id, &row, pool));
    CIB_TRY(cib_q_project_mark_removing(db, removing->id, &changed, pool));
    cib_db_raise_all(db);
    return CIB_OK;
}

/* Cancel a batch of those that are in one state. */
static cib_error_t *cancel(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    removing_t *removing = baton;

    CIB_TRY(
        cib_q_builds(db, removing->status, removing->id, 0, CIB_BATCH, &removing->builds, pool));
    for (int i = 0; i < removing->builds->nelts; i++) {
        const cib_build_t *build = APR_ARRAY_IDX(removing->builds, i, cib_build_t *);
        cib_move_t move = {.from = build->status, .to = CIB_CANCELED, .now = apr_time_now()};
        int moved;

        CIB_TRY(cib_transition(db, build->id, &move, &moved, pool));
    }
    return CIB_OK;
}

static cib_error_t *cancel_all(const cib_ctx_t *ctx, removing_t *removing, cib_status_e status)
{
    removing->status = status;
    do {
        apr_pool_clear(ctx->pool);
        CIB_TRY(cib_write(ctx, cancel, removing));
    } while (removing->builds->nelts == CIB_BATCH);
    return CIB_OK;
}

static cib_error_t *some_builds(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    removing_t *removing = baton;

    return cib_q_builds(db, CIB_STATUSES, removing->id, 0, CIB_BATCH / 5, &removing->builds, pool);
}

static cib_error_t *remove_some(const cib_ctx_t *ctx, const removing_t *removing, int *removed)
{
    apr_array_header_t *ids =
        apr_array_make(ctx->pool, removing->builds->nelts, sizeof(apr_int64_t));

    for (int i = 0; i < removing->builds->nelts; i++)
        APR_ARRAY_PUSH(ids, apr_int64_t) = APR_ARRAY_IDX(removing->builds, i, cib_build_t *)->id;
    return cib_builds_remove(ctx, ids, CIB_REMOVE_ENDED, removed, NULL);
}

/* The row goes once there is nothing of the project's any more. */
static cib_error_t *finish(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    removing_t *removing = baton;

    CIB_TRY(cib_q_builds(db, CIB_STATUSES, removing->id, 0, 1, &removing->builds, pool));
    removing->done = removing->builds->nelts == 0;
    return removing->done ? cib_q_project_remove(db, removing->id, pool) : CIB_OK;
}

/* The pool of `ctx` is cleared after each batch. */
static cib_error_t *cancel_and_remove(const cib_ctx_t *ctx, removing_t *removing)
{
    /* waiting ones first: else the last cancel would skip them one by one */
    CIB_TRY(cancel_all(ctx, removing, CIB_CREATED));
    CIB_TRY(cancel_all(ctx, removing, CIB_PENDING));
    CIB_TRY(cancel_all(ctx, removing, CIB_RUNNING));
    for (;;) {
        int removed = 0;

        apr_pool_clear(ctx->pool);
        CIB_TRY(cib_read(ctx, some_builds, removing));
        if (!removing->builds->nelts)
            break;
        CIB_TRY(remove_some(ctx, removing, &removed));
        if (!removed)
            break; /* something was added or requeued just before the mark: cancel again */
    }
    return cib_write(ctx, finish, removing);
}

cib_error_t *cib_project_remove(const cib_ctx_t *ctx, apr_int64_t id)
{
    removing_t removing = {.id = id};
    cib_ctx_t batch = cib_ctx_below(ctx);

    CIB_TRY(cib_write(ctx, mark, &removing));
    for (int turns = 0; !removing.done && turns < 10; turns++)
        CIB_TRY(cancel_and_remove(&batch, &removing));
    apr_pool_destroy(batch.pool);
    if (!removing.done)
        return cib_error(
            ctx->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
            "project %" APR_INT64_T_FMT " still gets builds; run the command once more", id);
    return CIB_OK;
}

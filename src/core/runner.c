/* Runners: how they come, change and go. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_build.h"
#include "core/cib_runner.h"
#include "core/cib_tags.h"
#include "core/cib_token.h"
#include "core/cib_trace.h"
#include "internal.h"
#include "transition.h"
#include "util/cib_crypto.h"

/* --- adding ---------------------------------------------------------------------------------- */

typedef struct adding_t {
    const cib_ctx_t *ctx;
    cib_runner_t row;
    int shared_unlocked;
    const char *registered_with;        /* a registration or project token, or NULL: `runner add` */
    const apr_array_header_t *projects; /* apr_int64_t, or NULL */
    const char *token_sha256;
    apr_int64_t id;
} adding_t;

static void take_info(cib_runner_t *runner, const cib_runner_info_t *info, apr_pool_t *pool)
{
    if (!info)
        return;
    runner->name = cib_text_tame(info->name, CIB_SHORT_MAX, pool);
    runner->version = cib_text_tame(info->version, CIB_SHORT_MAX, pool);
    runner->revision = cib_text_tame(info->revision, CIB_SHORT_MAX, pool);
    runner->platform = cib_text_tame(info->platform, CIB_SHORT_MAX, pool);
    runner->architecture = cib_text_tame(info->architecture, CIB_SHORT_MAX, pool);
}

/* The bits of cib_runner_faults but those of the tags' form. */
static int faults_of(const char *tags, int run_untagged, int maximum_timeout)
{
    int faults = 0;

    if (!*tags && !run_untagged)
        faults |= CIB_RUNNER_TAGS_EMPTY;
    if (maximum_timeout && maximum_timeout < CIB_RUNNER_TIMEOUT_MIN)
        faults |= CIB_RUNNER_TIMEOUT_SHORT;
    return faults;
}

int cib_runner_faults(const cib_runner_new_t *fresh, apr_pool_t *pool)
{
    const char *tags;
    int malformed = cib_tags_canonical(fresh->tags, &tags, pool) ? CIB_RUNNER_TAGS_MALFORMED : 0;

    /* what is malformed is not empty */
    return malformed |
           faults_of(malformed ? "?" : tags, fresh->run_untagged, fresh->maximum_timeout);
}

static cib_error_t *check_settings(const cib_runner_t *row, apr_pool_t *pool)
{
    int faults = faults_of(row->tags, row->run_untagged, row->maximum_timeout);

    if (faults & CIB_RUNNER_TAGS_EMPTY)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "a runner without tags must take builds without tags");
    if (faults & CIB_RUNNER_TIMEOUT_SHORT)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "a runner's maximum timeout must be at least %d seconds",
                         CIB_RUNNER_TIMEOUT_MIN);
    return CIB_OK;
}

/* The row of a new runner. INVALID says what is wrong with it. */
static cib_error_t *prepare(const cib_ctx_t *ctx, const cib_runner_new_t *fresh, adding_t *adding)
{
    cib_runner_t *row = &adding->row;

    memset(adding, 0, sizeof(*adding));
    adding->ctx = ctx;
    adding->shared_unlocked = fresh->shared_unlocked;
    CIB_TRY(cib_tags_canonical(fresh->tags, &row->tags, ctx->pool));
    row->run_untagged = fresh->run_untagged != 0;
    row->maximum_timeout = fresh->maximum_timeout;
    CIB_TRY(check_settings(row, ctx->pool));
    row->description = cib_text_tame(fresh->description, CIB_SHORT_MAX, ctx->pool);
    row->active = !fresh->paused;
    row->locked = fresh->locked != 0;
    take_info(row, fresh->info, ctx->pool);
    return CIB_OK;
}

/* A random token, or the imported one. */
static cib_error_t *choose_token(const cib_ctx_t *ctx, const char *imported, adding_t *adding,
                                 const char **token)
{
    if (imported) {
        CIB_TRY(cib_token_importable(imported, ctx->pool));
        *token = imported;
    } else {
        CIB_TRY(cib_token_runner(adding->registered_with ? CIB_TOKEN_REGISTERED : CIB_TOKEN_CREATED,
                                 token, ctx->pool));
    }
    adding->token_sha256 = cib_token_hash(*token, ctx->pool);
    return CIB_OK;
}

/* Who let it in decides whom it works for. */
static cib_error_t *admit(cib_db_t *db, adding_t *adding, apr_int64_t *project_id, apr_pool_t *pool)
{
    cib_project_t *project;
    int rotation;

    *project_id = 0;
    if (!adding->registered_with)
        return CIB_OK;
    CIB_TRY(cib_q_registration_rotation(db, &rotation, pool));
    adding->row.is_shared = cib_secret_equal(
        cib_token_registration(adding->ctx->storage, rotation, pool), adding->registered_with);
    if (adding->row.is_shared) {
        adding->row.locked &= !adding->shared_unlocked;
        return CIB_OK;
    }
    CIB_TRY(
        cib_q_project_by_token(db, cib_token_hash(adding->registered_with, pool), &project, pool));
    if (!project || project->removing)
        return cib_error(pool, CIB_REASON_WRONG_TOKEN, APR_SUCCESS, NULL);
    *project_id = project->id;
    return CIB_OK;
}

static cib_error_t *bind_project(cib_db_t *db, apr_int64_t runner_id, apr_int64_t project_id,
                                 apr_pool_t *pool)
{
    cib_project_t *project;

    CIB_TRY(cib_q_project(db, project_id, &project, pool));
    if (!project || project->removing)
        return cib_no_record(pool, "project", project_id);
    return cib_q_runner_bind(db, runner_id, project_id, pool);
}

static cib_error_t *add(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    adding_t *adding = baton;
    cib_runner_t *other;
    apr_int64_t project_id;

    CIB_TRY(admit(db, adding, &project_id, pool));
    CIB_TRY(cib_q_runner_by_token(db, adding->token_sha256, &other, pool));
    if (other)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "that token is in use");
    CIB_TRY(cib_q_runner_add(db, &adding->row, adding->token_sha256, apr_time_now(), &adding->id,
                             pool));
    if (project_id)
        CIB_TRY(cib_q_runner_bind(db, adding->id, project_id, pool));
    for (int i = 0; adding->projects && i < adding->projects->nelts; i++)
        CIB_TRY(
            bind_project(db, adding->id, APR_ARRAY_IDX(adding->projects, i, apr_int64_t), pool));
    return CIB_OK;
}

static cib_error_t *admit_only(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    apr_int64_t project_id;

    return admit(db, baton, &project_id, pool);
}

cib_error_t *cib_runner_register(const cib_ctx_t *ctx, const char *token,
                                 const cib_runner_new_t *fresh, apr_int64_t *id,
                                 const char **runner_token)
{
    adding_t adding;
    cib_error_t *refused = prepare(ctx, fresh, &adding);

    *id = 0;
    *runner_token = NULL;
    adding.registered_with = token ? token : "";
    /* a wrong token is said first, and costs no write: who guesses is not to keep others waiting */
    CIB_TRY(cib_read(ctx, admit_only, &adding));
    if (refused)
        return refused;
    CIB_TRY(choose_token(ctx, NULL, &adding, runner_token));
    CIB_TRY(cib_write(ctx, add, &adding));
    *id = adding.id;
    return CIB_OK;
}

cib_error_t *cib_runner_add(const cib_ctx_t *ctx, const cib_runner_new_t *fresh, int shared,
                            const apr_array_header_t *project_ids, const char *imported,
                            apr_int64_t *id, const char **token)
{
    adding_t adding;

    *id = 0;
    *token = NULL;
    CIB_TRY(prepare(ctx, fresh, &adding));
    if (!shared && (!project_ids || !project_ids->nelts))
        return cib_error(ctx->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "a runner must be shared or belong to a project");
    if (shared && project_ids && project_ids->nelts)
        return cib_error(ctx->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "a runner is either shared or belongs to projects");
    adding.row.is_shared = shared != 0;
    adding.projects = project_ids;
    CIB_TRY(choose_token(ctx, imported, &adding, token));
    CIB_TRY(cib_write(ctx, add, &adding));
    *id = adding.id;
    return CIB_OK;
}

/* --- looking --------------------------------------------------------------------------------- */

typedef struct asking_t {
    apr_int64_t id;
    cib_runner_t *runner;
    apr_array_header_t *list;
} asking_t;

static cib_error_t *by_token(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_token_owner_t **owners = apr_palloc(pool, sizeof(*owners) * (apr_size_t)count);

    for (int i = 0; i < count; i++)
        owners[i] = wishes[i]->baton;
    return cib_q_runners_by_token(db, owners, count, pool);
}

cib_error_t *cib_runner_authenticate(const cib_ctx_t *ctx, const char *token, cib_runner_t **runner)
{
    cib_token_owner_t owner = {.pool = ctx->pool};

    *runner = NULL;
    if (token && *token) {
        owner.token_sha256 = cib_token_hash(token, ctx->pool);
        CIB_TRY(cib_gather(ctx, CIB_GATHER_READ, "", by_token, &owner));
    }
    if (!owner.runner)
        return cib_error(ctx->pool, CIB_REASON_WRONG_TOKEN, APR_SUCCESS, NULL);
    *runner = owner.runner;
    return CIB_OK;
}

static cib_error_t *get(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_runner(db, asking->id, &asking->runner, pool);
}

cib_error_t *cib_runner_get(const cib_ctx_t *ctx, apr_int64_t id, cib_runner_t **runner)
{
    asking_t asking = {.id = id};

    *runner = NULL;
    CIB_TRY(cib_read(ctx, get, &asking));
    if (!asking.runner)
        return cib_no_record(ctx->pool, "runner", id);
    *runner = asking.runner;
    return CIB_OK;
}

static cib_error_t *list(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_runners(db, &asking->list, pool);
}

cib_error_t *cib_runner_list(const cib_ctx_t *ctx, apr_array_header_t **runners)
{
    asking_t asking = {0};

    CIB_TRY(cib_read(ctx, list, &asking));
    *runners = asking.list;
    return CIB_OK;
}

static cib_error_t *projects(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_runner_projects(db, asking->id, &asking->list, pool);
}

cib_error_t *cib_runner_projects(const cib_ctx_t *ctx, apr_int64_t id, apr_array_header_t **ids)
{
    asking_t asking = {.id = id};

    CIB_TRY(cib_read(ctx, projects, &asking));
    *ids = asking.list;
    return CIB_OK;
}

/* --- changing -------------------------------------------------------------------------------- */

typedef struct changing_t {
    apr_int64_t id;
    apr_int64_t project_id;
    const cib_runner_change_t *change;
    const char *tags; /* canonical; NULL: they stay */
    const char *token_sha256;
    const char *old_sha256;
} changing_t;

/* As it is, and stays until the section ends. NO_RECORD where there is none. */
static cib_error_t *hold(cib_db_t *db, apr_int64_t id, cib_runner_t **runner, apr_pool_t *pool)
{
    CIB_TRY(cib_q_runner_hold(db, id, runner, pool));
    return *runner ? CIB_OK : cib_no_record(pool, "runner", id);
}

static void choose(int *value, int wanted)
{
    if (wanted >= 0)
        *value = wanted;
}

static cib_error_t *set(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const changing_t *changing = baton;
    const cib_runner_change_t *change = changing->change;
    cib_runner_t *row;

    CIB_TRY(hold(db, changing->id, &row, pool));
    if (change->description)
        row->description = cib_text_tame(change->description, CIB_SHORT_MAX, pool);
    if (changing->tags)
        row->tags = changing->tags;
    choose(&row->active, change->active);
    choose(&row->locked, change->locked);
    choose(&row->run_untagged, change->run_untagged);
    choose(&row->maximum_timeout, change->maximum_timeout);
    CIB_TRY(check_settings(row, pool));
    CIB_TRY(cib_q_runner_update(db, row, pool));
    cib_db_raise_runner(db, row->id);
    return CIB_OK;
}

cib_error_t *cib_runner_set(const cib_ctx_t *ctx, apr_int64_t id, const cib_runner_change_t *change)
{
    changing_t changing = {.id = id, .change = change};

    if (change->tags)
        CIB_TRY(cib_tags_canonical(change->tags, &changing.tags, ctx->pool));
    return cib_write(ctx, set, &changing);
}

static cib_error_t *bind_to(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const changing_t *changing = baton;
    cib_runner_t *row;

    CIB_TRY(hold(db, changing->id, &row, pool));
    CIB_TRY(bind_project(db, row->id, changing->project_id, pool));
    /* a shared runner that is given to a project is that project's from then on */
    if (row->is_shared) {
        row->is_shared = 0;
        CIB_TRY(cib_q_runner_update(db, row, pool));
    }
    cib_db_raise_runner(db, row->id);
    return CIB_OK;
}

cib_error_t *cib_runner_bind(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t project_id)
{
    changing_t changing = {.id = id, .project_id = project_id};

    return cib_write(ctx, bind_to, &changing);
}

static cib_error_t *set_token(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const changing_t *changing = baton;
    cib_runner_t *row;

    CIB_TRY(hold(db, changing->id, &row, pool));
    cib_db_raise_runner(db, changing->id); /* who waits under the old token has to be told */
    return cib_q_runner_set_token(db, changing->id, changing->token_sha256, pool);
}

cib_error_t *cib_runner_rotate(const cib_ctx_t *ctx, apr_int64_t id, cib_runner_token_e kind,
                               const char **token)
{
    changing_t changing = {.id = id};

    CIB_TRY(cib_token_runner(kind, token, ctx->pool));
    changing.token_sha256 = cib_token_hash(*token, ctx->pool);
    return cib_write(ctx, set_token, &changing);
}

static cib_error_t *change_token(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const changing_t *changing = baton;
    int changed;

    CIB_TRY(cib_q_runner_change_token(db, changing->id, changing->old_sha256,
                                      changing->token_sha256, &changed, pool));
    if (!changed)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, NULL);
    cib_db_raise_runner(db, changing->id);
    return CIB_OK;
}

cib_error_t *cib_runner_reset(const cib_ctx_t *ctx, apr_int64_t id, const char *old,
                              const char **token)
{
    changing_t changing = {.id = id, .old_sha256 = cib_token_hash(old, ctx->pool)};

    CIB_TRY(cib_token_runner(cib_token_runner_kind(old), token, ctx->pool));
    changing.token_sha256 = cib_token_hash(*token, ctx->pool);
    return cib_write(ctx, change_token, &changing);
}

/* --- going ----------------------------------------------------------------------------------- */

static cib_error_t *running(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    return cib_q_running_of(db, asking->id, &asking->list, pool);
}

/* Fail a build as lost, if this runner still has it: by now it may be pending again, or another's.
 */
static cib_error_t *lose(cib_db_t *db, apr_int64_t id, apr_int64_t runner_id, apr_pool_t *pool)
{
    cib_move_t move = {.from = CIB_RUNNING,
                       .to = CIB_FAILED,
                       .now = apr_time_now(),
                       .failure_reason = "runner_lost"};
    cib_build_t *build;
    int moved;

    CIB_TRY(cib_transition_lock(db, id, &build, pool));
    if (!build || build->runner_id != runner_id)
        return CIB_OK;
    return cib_transition(db, id, &move, &moved, pool);
}

static cib_error_t *fail_and_remove(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const changing_t *changing = baton;
    apr_array_header_t *ids;
    int changed;

    CIB_TRY(cib_q_running_of(db, changing->id, &ids, pool));
    for (int i = 0; i < ids->nelts; i++)
        CIB_TRY(lose(db, APR_ARRAY_IDX(ids, i, apr_int64_t), changing->id, pool));
    CIB_TRY(cib_q_runner_remove(db, changing->id, &changed, pool));
    cib_db_raise_runner(db, changing->id);
    return changed ? CIB_OK : cib_no_record(pool, "runner", changing->id);
}

cib_error_t *cib_runner_remove(const cib_ctx_t *ctx, apr_int64_t id)
{
    asking_t asking = {.id = id};
    changing_t changing = {.id = id};

    CIB_TRY(cib_read(ctx, running, &asking));
    for (int i = 0; i < asking.list->nelts; i++)
        CIB_TRY(cib_trace_sync(ctx, APR_ARRAY_IDX(asking.list, i, apr_int64_t)));
    return cib_write(ctx, fail_and_remove, &changing);
}

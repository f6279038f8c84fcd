/* Adding builds, and adding one once more. */
#include <stdlib.h>
#include <string.h>

#include "core/cib_build.h"
#include "core/cib_tags.h"
#include "internal.h"
#include "options.h"
#include "removal.h"
#include "transition.h"
#include "variables.h"

#define COMMANDS_MAX (1024 * 1024)
/* All tags of a build together, in bytes: PostgreSQL indexes nothing longer than 2,700. */
#define TAGS_MAX 2048
#define ZEROS "0000000000000000000000000000000000000000"

/* What all builds of one call have in common, and what a batch made. */
typedef struct adding_t {
    const cib_ctx_t *ctx;
    cib_build_t row;
    cib_build_spec_t spec;
    const apr_array_header_t *variables; /* cib_variable_t, plain */
    apr_array_header_t *needs;           /* apr_int64_t, sorted, each once */
    int batch;
    apr_array_header_t *made; /* apr_int64_t, of this batch */
} adding_t;

/* --- checking -------------------------------------------------------------------------------- */

static int is_sha(const char *text)
{
    return cib_is_hex(text, 40) || cib_is_hex(text, 64);
}

static cib_error_t *check_texts(const cib_build_t *row, apr_pool_t *pool)
{
    CIB_TRY(cib_text_check("the ref", row->ref, CIB_SHORT_MAX, pool));
    CIB_TRY(cib_text_check("the build's name", row->name, CIB_SHORT_MAX, pool));
    CIB_TRY(cib_text_check("the stage", row->stage, CIB_SHORT_MAX, pool));
    if (!row->sha || !is_sha(row->sha))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the sha must be 40 or 64 hex digits");
    if (!is_sha(row->before_sha))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the sha before must be 40 or 64 hex digits");
    if (row->timeout < 0)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the timeout must be a number of seconds");
    return CIB_OK;
}

static cib_error_t *check_spec(const cib_build_spec_t *spec, apr_pool_t *pool)
{
    json_object *options;

    if (strlen(spec->commands) > COMMANDS_MAX)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the commands are longer than %d bytes", COMMANDS_MAX);
    if (!cib_is_utf8(spec->commands, strlen(spec->commands)))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the commands are not valid UTF-8");
    return cib_options_parse(spec->options, &options, pool);
}

static int by_number(const void *a, const void *b)
{
    apr_int64_t x = *(const apr_int64_t *)a, y = *(const apr_int64_t *)b;

    return x < y ? -1 : x > y;
}

static apr_array_header_t *sorted_once(const apr_array_header_t *ids, apr_pool_t *pool)
{
    apr_array_header_t *once = apr_array_make(pool, 4, sizeof(apr_int64_t));
    apr_array_header_t *sorted;

    if (!ids || !ids->nelts)
        return once;
    sorted = apr_array_copy(pool, ids);
    qsort(sorted->elts, (size_t)sorted->nelts, sizeof(apr_int64_t), by_number);
    for (int i = 0; i < sorted->nelts; i++) {
        apr_int64_t id = APR_ARRAY_IDX(sorted, i, apr_int64_t);

        if (i == 0 || id != APR_ARRAY_IDX(sorted, i - 1, apr_int64_t))
            APR_ARRAY_PUSH(once, apr_int64_t) = id;
    }
    return once;
}

static cib_error_t *prepare(const cib_ctx_t *ctx, const cib_build_new_t *fresh, adding_t *adding)
{
    cib_build_t *row = &adding->row;

    memset(adding, 0, sizeof(*adding));
    adding->ctx = ctx;
    row->project_id = fresh->project_id;
    row->ref = fresh->ref ? fresh->ref : "master";
    row->sha = fresh->sha;
    row->before_sha = fresh->before_sha ? fresh->before_sha : ZEROS;
    row->name = fresh->name ? fresh->name : "build";
    row->stage = fresh->stage ? fresh->stage : "test";
    row->tag = fresh->tag != 0;
    row->timeout = fresh->timeout;
    adding->spec.commands = fresh->commands ? fresh->commands : "";
    adding->spec.options = fresh->options ? fresh->options : "{}";
    adding->variables = fresh->variables;
    adding->needs = sorted_once(fresh->needs, ctx->pool);
    adding->made = apr_array_make(ctx->pool, 8, sizeof(apr_int64_t));
    CIB_TRY(check_texts(row, ctx->pool));
    CIB_TRY(check_spec(&adding->spec, ctx->pool));
    CIB_TRY(cib_variables_check(fresh->variables, ctx->pool));
    CIB_TRY(cib_tags_canonical(fresh->tags, &row->tags, ctx->pool));
    if (strlen(row->tags) > TAGS_MAX)
        return cib_error(ctx->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the tags are longer than %d bytes together", TAGS_MAX);
    return CIB_OK;
}

/* --- adding ---------------------------------------------------------------------------------- */

/* May this project be given builds? */
static cib_error_t *check_project(cib_db_t *db, adding_t *adding, apr_pool_t *pool)
{
    apr_int64_t id = adding->row.project_id;
    cib_project_t *project;

    CIB_TRY(cib_q_project(db, id, &project, pool));
    if (!project)
        return cib_no_record(pool, "project", id);
    if (project->removing)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "project %" APR_INT64_T_FMT " is being removed", id);
    if (!project->builds_enabled)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "builds are switched off for project %" APR_INT64_T_FMT, id);
    if (!adding->row.timeout)
        adding->row.timeout = project->timeout;
    return CIB_OK;
}

/* The needs as they are, and stay until the section ends. */
static cib_error_t *lock_needs(cib_db_t *db, const apr_array_header_t *ids,
                               apr_array_header_t **needs, apr_pool_t *pool)
{
    *needs = apr_array_make(pool, ids->nelts + 1, sizeof(cib_build_t *));
    if (!ids->nelts)
        return CIB_OK;
    CIB_TRY(cib_q_builds_lock(db, ids, pool));
    for (int i = 0; i < ids->nelts; i++) {
        apr_int64_t id = APR_ARRAY_IDX(ids, i, apr_int64_t);
        cib_build_t *build;

        CIB_TRY(cib_q_build(db, id, &build, pool));
        if (!build)
            return cib_no_record(pool, "build", id);
        APR_ARRAY_PUSH(*needs, cib_build_t *) = build;
    }
    return CIB_OK;
}

/* One build with all its parts, in its first state. */
static cib_error_t *add_one(cib_db_t *db, const adding_t *adding, cib_status_e first,
                            apr_int64_t *id, apr_pool_t *pool)
{
    cib_build_t row = adding->row;

    row.created_at = apr_time_now();
    /* nothing begins as skipped: that is a step, with its time */
    row.status = first == CIB_SKIPPED ? CIB_CREATED : first;
    CIB_TRY(cib_q_build_add(db, &row, &adding->spec, &row.id, pool));
    CIB_TRY(cib_variables_add(db, adding->ctx->storage, row.id, adding->variables, pool));
    for (int i = 0; i < adding->needs->nelts; i++)
        CIB_TRY(cib_q_need_add(db, row.id, APR_ARRAY_IDX(adding->needs, i, apr_int64_t), pool));
    *id = row.id;
    if (first != CIB_SKIPPED)
        return cib_transition_added(db, &row, pool);
    return cib_transition_settle(db, row.id, row.created_at, pool);
}

static cib_error_t *add_batch(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    adding_t *adding = baton;
    apr_array_header_t *needs;
    cib_status_e first;

    apr_array_clear(adding->made);
    CIB_TRY(check_project(db, adding, pool));
    CIB_TRY(lock_needs(db, adding->needs, &needs, pool));
    first = cib_transition_first(needs);
    CIB_TRY(cib_q_tagset(db, adding->row.tags, &adding->row.tagset_id, pool));
    for (int i = 0; i < adding->batch; i++) {
        apr_int64_t id;

        CIB_TRY(add_one(db, adding, first, &id, pool));
        APR_ARRAY_PUSH(adding->made, apr_int64_t) = id;
    }
    return CIB_OK;
}

/* How many builds go into one transaction: each is a row, and so are its variables and needs. */
static int batch_size(const adding_t *adding)
{
    int rows = 1 + (adding->variables ? adding->variables->nelts : 0) + adding->needs->nelts;

    return rows < CIB_BATCH ? CIB_BATCH / rows : 1;
}

/* Where nobody can say whether they were added, say which. */
static cib_error_t *name_unsure(const adding_t *adding, cib_error_t *err)
{
    const apr_array_header_t *made = adding->made;
    apr_pool_t *pool = adding->ctx->pool;

    if (!err || !err->unsure || !made->nelts)
        return err;
    return cib_error_detail(pool, err,
                            "%s; if it was, there is build %" APR_INT64_T_FMT
                            " now: look before you add it again",
                            cib_error_text(err, pool), APR_ARRAY_IDX(made, 0, apr_int64_t));
}

cib_error_t *cib_build_add(const cib_ctx_t *ctx, const cib_build_new_t *fresh, int count,
                           apr_array_header_t *ids)
{
    adding_t adding;
    cib_ctx_t below;

    CIB_TRY(prepare(ctx, fresh, &adding));
    below = cib_ctx_below(ctx);
    for (int left = count; left > 0; left -= adding.batch) {
        adding.batch = left < batch_size(&adding) ? left : batch_size(&adding);
        apr_pool_clear(below.pool);
        CIB_TRY(name_unsure(&adding, cib_write(&below, add_batch, &adding)));
        apr_array_cat(ids, adding.made);
    }
    apr_pool_destroy(below.pool);
    return CIB_OK;
}

/* --- once more ------------------------------------------------------------------------------- */

typedef struct retrying_t {
    const cib_ctx_t *ctx;
    apr_int64_t id;
    apr_int64_t new_id;
} retrying_t;

static cib_error_t *lock_ended(cib_db_t *db, apr_int64_t id, cib_build_t **build, apr_pool_t *pool)
{
    CIB_TRY(cib_transition_lock(db, id, build, pool));
    if (!*build)
        return cib_no_record(pool, "build", id);
    if (!cib_status_ended((*build)->status))
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "build %" APR_INT64_T_FMT " is %s; only an ended build can be retried", id,
                         cib_status_name((*build)->status));
    return CIB_OK;
}

static cib_error_t *ids_of(cib_db_t *db, apr_int64_t id, apr_array_header_t **ids, apr_pool_t *pool)
{
    apr_array_header_t *needs;

    CIB_TRY(cib_q_needs(db, id, &needs, pool));
    *ids = apr_array_make(pool, needs->nelts + 1, sizeof(apr_int64_t));
    for (int i = 0; i < needs->nelts; i++)
        APR_ARRAY_PUSH(*ids, apr_int64_t) = APR_ARRAY_IDX(needs, i, cib_build_t *)->id;
    return CIB_OK;
}

/* What the old build was made of, for a new one. Its secrets are sealed for the old one only. */
static cib_error_t *copy(cib_db_t *db, const cib_build_t *old, adding_t *adding, apr_pool_t *pool)
{
    cib_build_t *row = &adding->row;
    apr_array_header_t *variables;
    cib_build_spec_t *spec;

    CIB_TRY(cib_q_build_spec(db, old->id, &spec, pool));
    if (!spec)
        return cib_no_record(pool, "build", old->id);
    adding->spec = *spec;
    CIB_TRY(cib_variables_open(db, adding->ctx->storage, old->id, &variables, pool));
    adding->variables = variables;
    CIB_TRY(ids_of(db, old->id, &adding->needs, pool));
    row->project_id = old->project_id;
    row->ref = old->ref;
    row->sha = old->sha;
    row->before_sha = old->before_sha;
    row->name = old->name;
    row->stage = old->stage;
    row->tag = old->tag;
    row->tags = old->tags;
    row->timeout = old->timeout;
    row->retry_of = old->id;
    row->tagset_id = old->tagset_id;
    return CIB_OK;
}

static cib_error_t *retry(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    retrying_t *retrying = baton;
    adding_t adding = {.ctx = retrying->ctx, .needs = apr_array_make(pool, 0, sizeof(apr_int64_t))};
    apr_array_header_t *needs;
    cib_project_t *project;
    cib_build_t *old;

    CIB_TRY(lock_ended(db, retrying->id, &old, pool));
    CIB_TRY(cib_q_project(db, old->project_id, &project, pool));
    if (!project || project->removing)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "project %" APR_INT64_T_FMT " is being removed", old->project_id);
    CIB_TRY(copy(db, old, &adding, pool));
    CIB_TRY(lock_needs(db, adding.needs, &needs, pool));
    CIB_TRY(add_one(db, &adding, cib_transition_first(needs), &retrying->new_id, pool));
    return cib_transition_retried(db, old->id, retrying->new_id, pool);
}

cib_error_t *cib_build_retry(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *new_id)
{
    retrying_t retrying = {.ctx = ctx, .id = id};

    *new_id = 0;
    CIB_TRY(cib_write(ctx, retry, &retrying));
    *new_id = retrying.new_id;
    return CIB_OK;
}

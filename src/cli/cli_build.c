/* ci-builds build: all but add, trace and artifacts. */
#include <string.h>
#include <apr_strings.h>
#include "core/cib_artifact.h"
#include "core/cib_build.h"
#include "core/cib_project.h"
#include "core/cib_tags.h"
#include "core/cib_trace.h"
#include "output.h"

#define LIST_AT_ONCE 500

/* What the build's own row says. */
static json_object *row_object(const cib_build_t *build, apr_pool_t *pool)
{
    json_object *object = json_object_new_object();

    cli_set_id(object, "id", build->id);
    cli_set_id(object, "project_id", build->project_id);
    cli_set_text(object, "status", cib_status_name(build->status));
    cli_set_text(object, "name", build->name);
    cli_set_text(object, "stage", build->stage);
    cli_set_text(object, "ref", build->ref);
    cli_set_bool(object, "tag", build->tag);
    cli_set_text(object, "sha", build->sha);
    cli_set_text(object, "before_sha", build->before_sha);
    cli_set_texts(object, "tag_list", cib_tags_split(build->tags, pool));
    cli_set_id(object, "runner_id", build->runner_id);
    cli_set_int(object, "timeout", build->timeout);
    cli_set_time(object, "created_at", build->created_at, pool);
    cli_set_time(object, "started_at", build->started_at, pool);
    cli_set_time(object, "finished_at", build->finished_at, pool);
    cli_set_text(object, "failure_reason", build->failure_reason);
    if (build->has_exit_code)
        cli_set_int(object, "exit_code", build->exit_code);
    else
        cli_set_text(object, "exit_code", NULL);
    cli_set_time(object, "erased_at", build->erased_at, pool);
    cli_set_text(object, "trace_checksum", build->trace_checksum);
    return object;
}

static json_object *file_object(const cib_artifact_t *artifact)
{
    json_object *file = json_object_new_object();

    cli_set_text(file, "filename", artifact->filename);
    cli_set_int(file, "size", artifact->size);
    cli_set_text(file, "sha256", artifact->sha256);
    return file;
}

static json_object *artifact_object(const cib_artifact_t *artifact, apr_pool_t *pool)
{
    json_object *object = json_object_new_object();

    cli_set_text(object, "type", artifact->type);
    cli_set_text(object, "format", artifact->format);
    cli_set_text(object, "filename", artifact->filename);
    cli_set_int(object, "size", artifact->size);
    cli_set_text(object, "sha256", artifact->sha256);
    cli_set_time(object, "expire_at", artifact->expire_at, pool);
    return object;
}

/* The archive by itself, as runners are told of it, and all of them. */
static void set_artifacts(json_object *object, const apr_array_header_t *artifacts,
                          apr_pool_t *pool)
{
    const cib_artifact_t *archive = NULL;
    json_object *list = json_object_new_array();

    for (int i = 0; i < artifacts->nelts; i++) {
        const cib_artifact_t *artifact = APR_ARRAY_IDX(artifacts, i, const cib_artifact_t *);

        json_object_array_add(list, artifact_object(artifact, pool));
        if (strcmp(artifact->type, "archive") == 0)
            archive = artifact;
    }
    json_object_object_add(object, "artifacts_file", archive ? file_object(archive) : NULL);
    cli_set_time(object, "artifacts_expire_at", archive ? archive->expire_at : 0, pool);
    json_object_object_add(object, "artifacts", list);
}

/* Why a build is pending depends on its project and its tags only, so a list asks once for each
 * such pair. `known` (or NULL): reasons by pair. */
static cib_error_t *reasons_of(const cib_ctx_t *ctx, const cib_build_t *build, apr_hash_t *known,
                               const apr_array_header_t **reasons)
{
    apr_int64_t pair[2] = {build->project_id, build->tagset_id};
    apr_array_header_t *found;
    cib_ctx_t lasting = *ctx;

    if (!known || build->status != CIB_PENDING) {
        CIB_TRY(cib_build_pending_reasons(ctx, build, &found));
        *reasons = found;
        return CIB_OK;
    }
    *reasons = apr_hash_get(known, pair, sizeof(pair));
    if (*reasons)
        return CIB_OK;
    lasting.pool = apr_hash_pool_get(known);
    CIB_TRY(cib_build_pending_reasons(&lasting, build, &found));
    apr_hash_set(known, apr_pmemdup(lasting.pool, pair, sizeof(pair)), sizeof(pair), found);
    *reasons = found;
    return CIB_OK;
}

/* What else the program shows of a build. */
static cib_error_t *add_rest(const cib_ctx_t *ctx, const cib_build_t *build, apr_hash_t *known,
                             json_object *object)
{
    const apr_array_header_t *reasons;
    apr_array_header_t *artifacts, *needs;

    CIB_TRY(cib_artifact_list(ctx, build->id, &artifacts));
    CIB_TRY(cib_build_needs(ctx, build->id, &needs));
    CIB_TRY(reasons_of(ctx, build, known, &reasons));
    cli_set_int(object, "trace_size", cib_trace_size(ctx, build->id));
    set_artifacts(object, artifacts, ctx->pool);
    cli_set_ids(object, "depends_on", needs);
    cli_set_texts(object, "pending_reasons", reasons);
    return CIB_OK;
}

static cib_error_t *look_up(const cli_t *cli, apr_int64_t id, json_object **object)
{
    cib_build_t *build;

    CIB_TRY(cib_build_get(&cli->ctx, id, &build));
    *object = row_object(build, cli->pool);
    return add_rest(&cli->ctx, build, NULL, *object);
}

cib_error_t *cli_build_show(cli_t *cli)
{
    json_object *object;

    CIB_TRY(look_up(cli, cli->id, &object));
    cli_print(cli, object);
    return CIB_OK;
}

typedef struct filter_t {
    cib_status_e status;
    apr_int64_t project_id;
    apr_int64_t after;
    int limit; /* < 0: all */
} filter_t;

static cib_error_t *read_filter(cli_t *cli, filter_t *filter)
{
    const char *status = cli_text(cli, "status");
    cib_project_t *project;

    filter->status = status ? cib_status_parse(status) : CIB_STATUSES;
    if (status && filter->status == CIB_STATUSES)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "'%s' is not a status",
                         status);
    filter->after = 0;
    filter->limit = (int)cli_number(cli, "limit", -1);
    filter->project_id = cli_number(cli, "project", 0);
    if (filter->project_id)
        return cib_project_get(&cli->ctx, filter->project_id, &project);
    return CIB_OK;
}

/* List the next builds; `*got` is less than LIST_AT_ONCE when these were the last. */
static cib_error_t *list_page(const cib_ctx_t *ctx, filter_t *filter, apr_hash_t *known, int whole,
                              cli_list_t *list, int *got)
{
    int most = filter->limit < 0 || filter->limit > LIST_AT_ONCE ? LIST_AT_ONCE : filter->limit;
    apr_array_header_t *builds;

    CIB_TRY(cib_build_list(ctx, filter->status, filter->project_id, filter->after, most, &builds));
    for (int i = 0; i < builds->nelts; i++) {
        const cib_build_t *build = APR_ARRAY_IDX(builds, i, const cib_build_t *);
        json_object *object = row_object(build, ctx->pool);

        if (whole)
            CIB_TRY(add_rest(ctx, build, known, object));
        cli_list_add(list, object);
        filter->after = build->id;
    }
    if (filter->limit > 0)
        filter->limit -= builds->nelts;
    *got = builds->nelts;
    cli_list_flush(list);
    return CIB_OK;
}

cib_error_t *cli_build_list(cli_t *cli)
{
    static const char *const columns[] = {"id",        "status",     "project_id",  "name", "ref",
                                          "runner_id", "created_at", "finished_at", NULL};
    apr_hash_t *known = apr_hash_make(cli->pool);
    cib_ctx_t ctx = cli->ctx;
    filter_t filter = {0};
    cli_list_t *list;
    int got = LIST_AT_ONCE;

    CIB_TRY(read_filter(cli, &filter));
    list = cli_list_begin(cli, columns);
    apr_pool_create(&ctx.pool, cli->pool);
    while (got == LIST_AT_ONCE && filter.limit != 0) {
        apr_pool_clear(ctx.pool);
        CIB_TRY(list_page(&ctx, &filter, known, cli->json, list, &got));
    }
    cli_list_end(list);
    return CIB_OK;
}

/* Show what has become of it, to programs. */
static cib_error_t *tell(const cli_t *cli)
{
    json_object *object;

    if (!cli->json)
        return CIB_OK;
    CIB_TRY(look_up(cli, cli->id, &object));
    cli_print_json(cli, object);
    return CIB_OK;
}

cib_error_t *cli_build_cancel(cli_t *cli)
{
    CIB_TRY(cib_build_cancel(&cli->ctx, cli->id));
    return tell(cli);
}

cib_error_t *cli_build_erase(cli_t *cli)
{
    CIB_TRY(cib_build_erase(&cli->ctx, cli->id));
    return tell(cli);
}

cib_error_t *cli_build_retry(cli_t *cli)
{
    apr_int64_t id;
    json_object *object;

    CIB_TRY(cib_build_retry(&cli->ctx, cli->id, &id));
    object = json_object_new_object();
    cli_set_id(object, "id", id);
    cli_print_member(cli, object, "id");
    return CIB_OK;
}

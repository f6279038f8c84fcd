/* A build as GitLab 8.17 describes it to its runner: names, order and types are the protocol's. */
#include <string.h>
#include <apr_strings.h>

#include "core/cib_tags.h"
#include "util/cib_text.h"
#include "util/cib_version.h"
#include "v1.h"

static const char no_commit[] = "0000000000000000000000000000000000000000";

/* --- variables: a later one of a name wins in the runner --- */

typedef struct variables_t {
    json_object *list;
    cib_json_t *json; /* whose list it is */
    apr_pool_t *pool;
} variables_t;

static void variable(const variables_t *to, const char *key, const char *value, int is_public)
{
    cib_json_t member = cib_json_begin();

    cib_json_text(&member, "key", key);
    cib_json_text(&member, "value", value);
    cib_json_flag(&member, "public", is_public);
    cib_json_append(to->json, to->list, &member);
}

static void known(const variables_t *to, const char *key, const char *value)
{
    variable(to, key, value ? value : "", 1);
}

static void number(const variables_t *to, const char *key, apr_int64_t value)
{
    known(to, key, apr_psprintf(to->pool, "%" APR_INT64_T_FMT, value));
}

static const char *before_sha(const cib_build_t *build)
{
    return build->before_sha && *build->before_sha ? build->before_sha : no_commit;
}

static void build_variables(const variables_t *to, const cib_description_t *about)
{
    const cib_build_t *build = about->build;

    known(to, "CI", "true");
    known(to, "GITLAB_CI", "true");
    number(to, "CI_BUILD_ID", build->id);
    variable(to, "CI_BUILD_TOKEN", about->token, 0);
    known(to, "CI_BUILD_REF", build->sha);
    known(to, "CI_BUILD_BEFORE_SHA", before_sha(build));
    known(to, "CI_BUILD_REF_NAME", build->ref);
    known(to, "CI_BUILD_REF_SLUG", cib_ref_slug(build->ref, to->pool));
    known(to, "CI_BUILD_NAME", build->name);
    known(to, "CI_BUILD_STAGE", build->stage);
    known(to, "CI_SERVER_NAME", CIB_NAME);
    known(to, "CI_SERVER_VERSION", CIB_VERSION);
    known(to, "CI_SERVER_REVISION", CIB_REVISION);
    if (build->tag)
        known(to, "CI_BUILD_TAG", build->ref);
}

static void project_variables(const variables_t *to, const cib_description_t *about)
{
    const cib_project_t *project = about->project;

    number(to, "CI_PROJECT_ID", project->id);
    known(to, "CI_PROJECT_NAME", project->name);
    known(to, "CI_PROJECT_PATH", project->name);
    known(to, "CI_PROJECT_URL", cib_url_without_user(project->repo_url, to->pool));
    number(to, "CI_PIPELINE_ID", about->build->id);
}

static const char *spaced(const char *tags, apr_pool_t *pool)
{
    const apr_array_header_t *list = cib_tags_split(tags, pool);
    const char *text = "";
    int i;

    for (i = 0; i < list->nelts; i++)
        text = apr_pstrcat(pool, text, i ? ", " : "", APR_ARRAY_IDX(list, i, const char *), NULL);
    return text;
}

static void runner_variables(const variables_t *to, const cib_runner_t *runner)
{
    if (!runner)
        return;
    number(to, "CI_RUNNER_ID", runner->id);
    known(to, "CI_RUNNER_DESCRIPTION", runner->description);
    known(to, "CI_RUNNER_TAGS", spaced(runner->tags, to->pool));
}

static void put_variables(cib_json_t *json, const cib_description_t *about, apr_pool_t *pool)
{
    variables_t to = {json_object_new_array(), json, pool};
    int i;

    build_variables(&to, about);
    project_variables(&to, about);
    runner_variables(&to, about->runner);
    for (i = 0; i < about->variables->nelts; i++) {
        const cib_variable_t *own = APR_ARRAY_IDX(about->variables, i, const cib_variable_t *);

        variable(&to, own->key, own->value, own->is_public);
    }
    cib_json_put(json, "variables", to.list);
}

/* --- the rest --- */

static void put_archive(cib_json_t *json, const cib_artifact_t *archive)
{
    cib_json_t file;

    if (!archive)
        return;
    file = cib_json_begin();
    cib_json_text(&file, "filename", archive->filename);
    cib_json_int(&file, "size", archive->size);
    cib_json_text(&file, "sha256", archive->sha256);
    json->failed |= file.failed;
    cib_json_put(json, "artifacts_file", file.object);
}

static void put_build(cib_json_t *json, const cib_build_t *build)
{
    cib_json_int(json, "id", build->id);
    cib_json_text(json, "ref", build->ref);
    cib_json_flag(json, "tag", build->tag);
    cib_json_text(json, "sha", build->sha);
    cib_json_text(json, "status", cib_status_name(build->status));
}

static void put_dependency(cib_json_t *json, json_object *list, const cib_dependency_t *needed,
                           const cib_project_t *project)
{
    cib_json_t member = cib_json_begin();

    put_build(&member, needed->build);
    cib_json_text(&member, "name", needed->build->name);
    if (needed->token)
        cib_json_text(&member, "token", needed->token);
    cib_json_text(&member, "stage", needed->build->stage);
    cib_json_int(&member, "project_id", needed->build->project_id);
    cib_json_text(&member, "project_name", project->name);
    put_archive(&member, needed->archive);
    cib_json_append(json, list, &member);
}

static void put_dependencies(cib_json_t *json, const cib_description_t *about)
{
    json_object *list = json_object_new_array();
    int i;

    for (i = 0; i < about->dependencies->nelts; i++)
        put_dependency(json, list, APR_ARRAY_IDX(about->dependencies, i, const cib_dependency_t *),
                       about->project);
    cib_json_put(json, "depends_on_builds", list);
}

cib_error_t *cib_v1_describe(const cib_description_t *about, json_object **object, apr_pool_t *pool)
{
    const cib_build_t *build = about->build;
    cib_json_t json = cib_json_begin();

    put_build(&json, build);
    cib_json_text(&json, "name", build->name);
    cib_json_text(&json, "stage", build->stage);
    cib_json_text(&json, "token", about->token);
    cib_json_int(&json, "project_id", build->project_id);
    cib_json_text(&json, "project_name", about->project->name);
    put_archive(&json, about->archive);
    cib_json_text(&json, "commands", about->commands);
    cib_json_text(&json, "repo_url", about->repo_url);
    cib_json_text(&json, "before_sha", before_sha(build));
    cib_json_flag(&json, "allow_git_fetch", about->project->allow_git_fetch);
    cib_json_put(&json, "options", json_object_get(about->options));
    cib_json_int(&json, "timeout", build->timeout);
    put_variables(&json, about, pool);
    put_dependencies(&json, about);
    if (about->archive && about->archive->expire_at)
        cib_json_text(&json, "artifacts_expire_at",
                      cib_time_iso8601(about->archive->expire_at, pool));
    cib_json_put(&json, "credentials", json_object_new_array());
    return cib_json_end(&json, object, pool);
}

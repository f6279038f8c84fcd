/* The variables of a build as GitLab 14 tells them: the new names, the old ones, its own. */
#include <string.h>

#include <apr_strings.h>

#include "util/cib_version.h"
#include "v4.h"
#include "v4_describe.h"

#define SHORT_SHA 8

/* --- the predefined ones --- */

static void tell_version(apr_array_header_t *told)
{
    static const char *const keys[] = {"CI_SERVER_VERSION_MAJOR", "CI_SERVER_VERSION_MINOR",
                                       "CI_SERVER_VERSION_PATCH"};
    char *rest = apr_pstrdup(told->pool, CIB_VERSION);

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cib_told_text(told, keys[i], apr_strtok(i ? NULL : rest, ".", &rest));
}

static void tell_job(apr_array_header_t *told, const cib_description_t *about)
{
    const cib_build_t *build = about->build;

    cib_told_number(told, "CI_JOB_ID", build->id);
    cib_told_text(told, "CI_JOB_NAME", build->name);
    cib_told_text(told, "CI_JOB_STAGE", build->stage);
    cib_told_private(told, "CI_JOB_TOKEN", about->token, 1);
    cib_told_text(told, "CI_NODE_TOTAL", "1");
}

static void tell_commit(apr_array_header_t *told, const cib_description_t *about)
{
    const cib_build_t *build = about->build;

    cib_told_text(told, "CI_COMMIT_SHA", build->sha);
    cib_told_text(told, "CI_COMMIT_SHORT_SHA", apr_pstrndup(told->pool, build->sha, SHORT_SHA));
    cib_told_text(told, "CI_COMMIT_BEFORE_SHA", cib_told_before_sha(build));
    cib_told_text(told, "CI_COMMIT_REF_NAME", build->ref);
    cib_told_text(told, "CI_COMMIT_REF_SLUG", cib_ref_slug(build->ref, told->pool));
    cib_told_text(told, build->tag ? "CI_COMMIT_TAG" : "CI_COMMIT_BRANCH", build->ref);
    /* it may hold a token, but a masked URL would make git's messages useless: GitLab does not */
    cib_told_private(told, "CI_REPOSITORY_URL", about->repo_url, 0);
}

static apr_array_header_t *variables(const cib_description_t *about, apr_pool_t *pool)
{
    apr_array_header_t *told = cib_told_make(pool);

    cib_told_ci(told);
    cib_told_server(told);
    tell_version(told);
    tell_job(told, about);
    tell_commit(told, about);
    cib_told_project(told, about);
    cib_told_text(told, "CI_PROJECT_PATH_SLUG", cib_ref_slug(about->project->name, pool));
    cib_told_runner(told, about);
    cib_told_old_build(told, about);
    cib_told_old_tag(told, about);
    cib_told_own(told, about);
    return told;
}

/* --- and how they are written --- */

void cib_v4_append_variable(cib_json_t *json, json_object *list, const cib_told_t *variable)
{
    cib_json_t member = cib_json_begin();

    cib_json_text(&member, "key", variable->key);
    cib_json_text(&member, "value", variable->value);
    cib_json_flag(&member, "public", variable->is_public);
    cib_json_flag(&member, "masked", variable->is_masked);
    cib_json_flag(&member, "file", variable->is_file);
    cib_json_flag(&member, "raw", variable->is_raw);
    cib_json_append(json, list, &member);
}

void cib_v4_put_variables(cib_json_t *json, const cib_description_t *about, apr_pool_t *pool)
{
    const apr_array_header_t *told = variables(about, pool);
    json_object *list = json_object_new_array();

    for (int i = 0; i < told->nelts; i++)
        cib_v4_append_variable(json, list, &APR_ARRAY_IDX(told, i, cib_told_t));
    cib_json_list(json, "variables", list);
}

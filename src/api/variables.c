/* The variables that a build is given. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_mask.h"
#include "core/cib_tags.h"
#include "util/cib_version.h"
#include "variables.h"

static const char no_commit[] = "0000000000000000000000000000000000000000";

/* --- one of them ----------------------------------------------------------------------------- */

apr_array_header_t *cib_told_make(apr_pool_t *pool)
{
    return apr_array_make(pool, 64, sizeof(cib_told_t));
}

static void tell(apr_array_header_t *told, const cib_told_t *variable)
{
    APR_ARRAY_PUSH(told, cib_told_t) = *variable;
}

void cib_told_text(apr_array_header_t *told, const char *key, const char *value)
{
    tell(told, &(cib_told_t){.key = key, .value = value ? value : "", .is_public = 1});
}

void cib_told_number(apr_array_header_t *told, const char *key, apr_int64_t value)
{
    cib_told_text(told, key, apr_psprintf(told->pool, "%" APR_INT64_T_FMT, value));
}

void cib_told_private(apr_array_header_t *told, const char *key, const char *value, int masked)
{
    tell(told, &(cib_told_t){.key = key, .value = value ? value : "", .is_masked = masked});
}

/* --- groups ---------------------------------------------------------------------------------- */

void cib_told_ci(apr_array_header_t *told)
{
    cib_told_text(told, "CI", "true");
    cib_told_text(told, "GITLAB_CI", "true");
}

void cib_told_server(apr_array_header_t *told)
{
    cib_told_text(told, "CI_SERVER_NAME", CIB_NAME);
    cib_told_text(told, "CI_SERVER_VERSION", CIB_VERSION);
    cib_told_text(told, "CI_SERVER_REVISION", CIB_REVISION);
}

const char *cib_told_before_sha(const cib_build_t *build)
{
    return build->before_sha && *build->before_sha ? build->before_sha : no_commit;
}

void cib_told_old_build(apr_array_header_t *told, const cib_description_t *about)
{
    const cib_build_t *build = about->build;

    cib_told_number(told, "CI_BUILD_ID", build->id);
    cib_told_private(told, "CI_BUILD_TOKEN", about->token, 1);
    cib_told_text(told, "CI_BUILD_REF", build->sha);
    cib_told_text(told, "CI_BUILD_BEFORE_SHA", cib_told_before_sha(build));
    cib_told_text(told, "CI_BUILD_REF_NAME", build->ref);
    cib_told_text(told, "CI_BUILD_REF_SLUG", cib_ref_slug(build->ref, told->pool));
    cib_told_text(told, "CI_BUILD_NAME", build->name);
    cib_told_text(told, "CI_BUILD_STAGE", build->stage);
}

void cib_told_old_tag(apr_array_header_t *told, const cib_description_t *about)
{
    if (about->build->tag)
        cib_told_text(told, "CI_BUILD_TAG", about->build->ref);
}

void cib_told_project(apr_array_header_t *told, const cib_description_t *about)
{
    const cib_project_t *project = about->project;

    cib_told_number(told, "CI_PROJECT_ID", project->id);
    cib_told_text(told, "CI_PROJECT_NAME", project->name);
    cib_told_text(told, "CI_PROJECT_PATH", project->name);
    cib_told_text(told, "CI_PROJECT_URL", cib_url_without_user(project->repo_url, told->pool));
    cib_told_number(told, "CI_PIPELINE_ID", about->build->id);
}

static const char *spaced(const char *tags, apr_pool_t *pool)
{
    const apr_array_header_t *list = cib_tags_split(tags, pool);
    const char *text = "";

    for (int i = 0; i < list->nelts; i++)
        text = apr_pstrcat(pool, text, i ? ", " : "", APR_ARRAY_IDX(list, i, const char *), NULL);
    return text;
}

void cib_told_runner(apr_array_header_t *told, const cib_description_t *about)
{
    const cib_runner_t *runner = about->runner;

    if (!runner)
        return;
    cib_told_number(told, "CI_RUNNER_ID", runner->id);
    cib_told_text(told, "CI_RUNNER_DESCRIPTION", runner->description);
    cib_told_text(told, "CI_RUNNER_TAGS", spaced(runner->tags, told->pool));
}

/* A secret is what it is: a runner that expanded a `$` in it would hand on another, which nobody
 * masks, and a file would not be the one that was given. */
static int is_literal(const cib_variable_t *own)
{
    return own->is_raw || (!own->is_public && strchr(own->value, '$'));
}

void cib_told_own(apr_array_header_t *told, const cib_description_t *about)
{
    for (int i = 0; i < about->variables->nelts; i++) {
        const cib_variable_t *own = APR_ARRAY_IDX(about->variables, i, const cib_variable_t *);
        cib_told_t variable = {own->key, own->value,   own->is_public,
                               0,        own->is_file, is_literal(own)};

        variable.is_masked = !own->is_public && strlen(own->value) >= CIB_SECRET_SHORTEST;
        tell(told, &variable);
    }
}

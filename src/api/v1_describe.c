/* A build as GitLab 8.17 describes it to its runner: names, order and types are the protocol's. */
#include <string.h>

#include "util/cib_text.h"
#include "v1.h"
#include "variables.h"

/* --- variables --- */

static apr_array_header_t *variables(const cib_description_t *about, apr_pool_t *pool)
{
    apr_array_header_t *told = cib_told_make(pool);

    cib_told_ci(told);
    cib_told_old_build(told, about);
    cib_told_server(told);
    cib_told_old_tag(told, about);
    cib_told_project(told, about);
    cib_told_runner(told, about);
    cib_told_own(told, about);
    return told;
}

static void put_variables(cib_json_t *json, const cib_description_t *about, apr_pool_t *pool)
{
    const apr_array_header_t *told = variables(about, pool);
    json_object *list = json_object_new_array();

    for (int i = 0; i < told->nelts; i++) {
        const cib_told_t *variable = &APR_ARRAY_IDX(told, i, cib_told_t);
        cib_json_t member = cib_json_begin();

        cib_json_text(&member, "key", variable->key);
        cib_json_text(&member, "value", variable->value);
        cib_json_flag(&member, "public", variable->is_public);
        if (variable->is_file) /* 1.9 and later read it */
            cib_json_flag(&member, "file", 1);
        cib_json_append(json, list, &member);
    }
    cib_json_list(json, "variables", list);
}

/* --- options: as they were given, but what runners of v1 cannot decode --- */

/* A string where v4 has objects with more than a name. */
static json_object *name_of(json_object *image)
{
    return json_object_get(cib_json_get(image, "name"));
}

static json_object *names_of(cib_json_t *json, json_object *services)
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; list && i < json_object_array_length(services); i++) {
        if (json_object_array_add(list, name_of(json_object_array_get_idx(services, i))))
            json->failed = 1;
    }
    json->failed |= !list;
    return list;
}

/* The archive alone: there are no reports. */
static json_object *archive_of(cib_json_t *json, json_object *entry)
{
    cib_json_t archive = cib_json_begin();

    json_object_object_foreach(entry, key, value)
    {
        if (strcmp(key, "reports") != 0)
            cib_json_put(&archive, key, json_object_get(value));
    }
    json->failed |= archive.failed;
    return archive.object;
}

/* NULL where v1 has no words for it. */
static json_object *option(cib_json_t *json, const cib_description_t *about, const char *key,
                           json_object *value)
{
    if (!value || strcmp(key, "before_script") == 0) /* that is part of the commands */
        return NULL;
    if (strcmp(key, "image") == 0)
        return name_of(value);
    if (strcmp(key, "services") == 0)
        return names_of(json, value);
    if (strcmp(key, "artifacts") == 0)
        return about->wanted ? archive_of(json, about->wanted) : NULL;
    if (strcmp(key, "cache") == 0) /* one is all it knows */
        return json_object_get(json_object_array_get_idx(value, 0));
    return json_object_get(value);
}

static void put_options(cib_json_t *json, const cib_description_t *about)
{
    cib_json_t options = cib_json_begin();

    json_object_object_foreach(about->options, key, given)
    {
        json_object *value = option(&options, about, key, given);

        if (value)
            cib_json_put(&options, key, value);
    }
    cib_json_object(json, "options", &options);
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
    cib_json_object(json, "artifacts_file", &file);
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
    cib_json_list(json, "depends_on_builds", list);
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
    cib_json_text(&json, "before_sha", cib_told_before_sha(build));
    cib_json_flag(&json, "allow_git_fetch", about->project->allow_git_fetch);
    put_options(&json, about);
    cib_json_int(&json, "timeout", about->timeout);
    put_variables(&json, about, pool);
    put_dependencies(&json, about);
    if (about->archive && about->archive->expire_at)
        cib_json_text(&json, "artifacts_expire_at",
                      cib_time_iso8601(about->archive->expire_at, pool));
    cib_json_list(&json, "credentials", json_object_new_array());
    return cib_json_end(&json, object, pool);
}

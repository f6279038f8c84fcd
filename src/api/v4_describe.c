/* A build as GitLab 14 describes it to its runner: names, order and types are the protocol's. */
#include <string.h>

#include <apr_strings.h>

#include "util/cib_text.h"
#include "v4_describe.h"

/* --- lists of texts --- */

static void append_text(cib_json_t *json, json_object *list, const char *text, apr_size_t len)
{
    json_object *member = json_object_new_string_len(text, (int)len);

    if (member && list && !json_object_array_add(list, member))
        return;
    json->failed = 1;
    json_object_put(member);
}

/* --- where the sources are --- */

/* How much of the history to fetch: what the last variable GIT_DEPTH says, 0 (all) where none does
 * or that is no number. */
static apr_int64_t depth(const cib_description_t *about)
{
    for (int i = about->variables->nelts; i-- > 0;) {
        const cib_variable_t *own = APR_ARRAY_IDX(about->variables, i, const cib_variable_t *);
        apr_int64_t number;

        if (strcmp(own->key, "GIT_DEPTH") == 0)
            return cib_int_parse(own->value, 0, APR_INT32_MAX, &number) ? 0 : number;
    }
    return 0;
}

/* One branch or tag where only its last commits are wanted, else all. */
static json_object *refspecs(cib_json_t *json, const cib_build_t *build, int shallow,
                             apr_pool_t *pool)
{
    json_object *list = json_object_new_array();
    const char *name = shallow ? build->ref : "*";
    const char *heads =
        apr_pstrcat(pool, "+refs/heads/", name, ":refs/remotes/origin/", name, NULL);
    const char *tags = apr_pstrcat(pool, "+refs/tags/", name, ":refs/tags/", name, NULL);

    if (!shallow || !build->tag)
        append_text(json, list, heads, strlen(heads));
    if (!shallow || build->tag)
        append_text(json, list, tags, strlen(tags));
    return list;
}

static void put_git(cib_json_t *json, const cib_description_t *about, apr_pool_t *pool)
{
    const cib_build_t *build = about->build;
    cib_json_t git = cib_json_begin();

    cib_json_text(&git, "repo_url", about->repo_url);
    cib_json_text(&git, "ref", build->ref);
    cib_json_text(&git, "sha", build->sha);
    cib_json_text(&git, "before_sha", cib_told_before_sha(build));
    cib_json_text(&git, "ref_type", build->tag ? "tag" : "branch");
    cib_json_list(&git, "refspecs", refspecs(&git, build, depth(about) > 0, pool));
    cib_json_int(&git, "depth", depth(about));
    cib_json_object(json, "git_info", &git);
}

static void put_job(cib_json_t *json, const cib_description_t *about)
{
    cib_json_t job = cib_json_begin();

    cib_json_int(&job, "id", about->build->id);
    cib_json_text(&job, "name", about->build->name);
    cib_json_text(&job, "stage", about->build->stage);
    cib_json_int(&job, "project_id", about->project->id);
    cib_json_text(&job, "project_name", about->project->name);
    cib_json_object(json, "job_info", &job);
}

static void put_runner(cib_json_t *json, const cib_description_t *about)
{
    cib_json_t runner = cib_json_begin();

    cib_json_int(&runner, "timeout", about->timeout);
    cib_json_text(&runner, "runner_session_url", NULL);
    cib_json_object(json, "runner_info", &runner);
}

/* --- what to run --- */

/* The lines as the runners of v1 run them, without what ends them (LF or CRLF), and without the
 * empty ones after the last. */
static json_object *lines(cib_json_t *json, const char *commands)
{
    json_object *list = json_object_new_array();
    apr_size_t len = strlen(commands);

    while (len && (commands[len - 1] == '\n' || commands[len - 1] == '\r'))
        len--;
    for (const char *at = commands, *end = commands + len; len && at <= end;) {
        apr_size_t line = strcspn(at, "\n");
        const char *next = at + line + 1;

        if (at + line > end)
            line = (apr_size_t)(end - at);
        append_text(json, list, at, line && at[line - 1] == '\r' ? line - 1 : line);
        at = next;
    }
    return list;
}

static void append_step(cib_json_t *json, json_object *list, const char *name, json_object *script,
                        const cib_description_t *about)
{
    cib_json_t step = cib_json_begin();
    int always = strcmp(name, "after_script") == 0;

    cib_json_text(&step, "name", name);
    cib_json_list(&step, "script", script);
    cib_json_int(&step, "timeout", about->timeout);
    cib_json_text(&step, "when", always ? "always" : "on_success");
    cib_json_flag(&step, "allow_failure", always);
    cib_json_append(json, list, &step);
}

static void put_steps(cib_json_t *json, const cib_description_t *about)
{
    json_object *list = json_object_new_array();
    json_object *after = cib_json_get(about->options, "after_script");

    append_step(json, list, "script", lines(json, about->commands), about);
    if (after && json_object_array_length(after))
        append_step(json, list, "after_script", json_object_get(after), about);
    cib_json_list(json, "steps", list);
}

/* --- what there is already --- */

/* Does the option `dependencies` name it? Where there is none, all are meant; an empty one: none.
 */
static int is_wanted(const cib_description_t *about, const cib_build_t *needed)
{
    json_object *names = cib_json_get(about->options, "dependencies");

    for (size_t i = 0; names && i < json_object_array_length(names); i++) {
        if (strcmp(json_object_get_string(json_object_array_get_idx(names, i)), needed->name) == 0)
            return 1;
    }
    return !names;
}

static void append_dependency(cib_json_t *json, json_object *list, const cib_dependency_t *needed)
{
    cib_json_t member = cib_json_begin();
    cib_json_t file;

    cib_json_int(&member, "id", needed->build->id);
    cib_json_text(&member, "token", needed->token);
    cib_json_text(&member, "name", needed->build->name);
    if (needed->archive) {
        file = cib_json_begin();
        cib_json_text(&file, "filename", needed->archive->filename);
        cib_json_int(&file, "size", needed->archive->size);
        cib_json_object(&member, "artifacts_file", &file);
    }
    cib_json_append(json, list, &member);
}

static void put_dependencies(cib_json_t *json, const cib_description_t *about)
{
    json_object *list = json_object_new_array();

    for (int i = 0; i < about->dependencies->nelts; i++) {
        const cib_dependency_t *needed =
            APR_ARRAY_IDX(about->dependencies, i, const cib_dependency_t *);

        if (is_wanted(about, needed->build))
            append_dependency(json, list, needed);
    }
    cib_json_list(json, "dependencies", list);
}

/* --- what this server understands --- */

/* Nothing that would make a runner speak in ways that are not served. A reason for a failure that
 * is not listed arrives as unknown_failure. */
static void put_features(cib_json_t *json)
{
    cib_json_t features = cib_json_begin();
    json_object *reasons = json_object_new_array();

    for (int i = 0; cib_failure_reasons[i]; i++)
        append_text(json, reasons, cib_failure_reasons[i], strlen(cib_failure_reasons[i]));
    cib_json_flag(&features, "trace_sections", 1);
    cib_json_flag(&features, "trace_checksum", 1);
    cib_json_flag(&features, "trace_size", 1);
    cib_json_list(&features, "failure_reasons", reasons);
    cib_json_object(json, "features", &features);
}

/* --- the whole --- */

cib_error_t *cib_v4_describe(const cib_description_t *about, json_object **object, apr_pool_t *pool)
{
    cib_json_t json = cib_json_begin();

    cib_json_int(&json, "id", about->build->id);
    cib_json_text(&json, "token", about->token);
    cib_json_flag(&json, "allow_git_fetch", about->project->allow_git_fetch);
    put_job(&json, about);
    put_git(&json, about, pool);
    put_runner(&json, about);
    cib_v4_put_variables(&json, about, pool);
    put_steps(&json, about);
    cib_v4_put_image(&json, about);
    cib_v4_put_services(&json, about);
    cib_v4_put_artifacts(&json, about);
    cib_v4_put_caches(&json, about);
    cib_json_list(&json, "credentials", json_object_new_array());
    put_dependencies(&json, about);
    put_features(&json);
    return cib_json_end(&json, object, pool);
}

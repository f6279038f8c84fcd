/* Settings: only what is named changes, also where two change something at once. */
#include "core_fixture.h"

static cib_runner_t *runner_of(core_t *core, apr_int64_t id)
{
    cib_runner_t *runner;

    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    return runner;
}

static cib_project_t *project_of(core_t *core)
{
    cib_project_t *project;

    fine(cib_project_get(&core->ctx, core->project, &project), "get");
    return project;
}

static const apr_array_header_t *one_tag(core_t *core, const char *tag)
{
    apr_array_header_t *tags = apr_array_make(core->pool, 1, sizeof(const char *));

    APR_ARRAY_PUSH(tags, const char *) = tag;
    return tags;
}

/* --- one after the other */

static void test_runner(core_t *core)
{
    const cib_runner_change_t nothing = CIB_RUNNER_UNCHANGED;
    cib_runner_change_t change = CIB_RUNNER_UNCHANGED;
    const char *token;
    apr_int64_t id = new_runner(core, "b,a", 1, core->project, &token);
    cib_runner_t *runner;

    change.description = "other";
    change.active = 0;
    is_fine(cib_runner_set(&core->ctx, id, &change), "describe and pause");
    change = nothing;
    change.tags = one_tag(core, "c, b");
    change.locked = 1;
    change.maximum_timeout = 600;
    is_fine(cib_runner_set(&core->ctx, id, &change), "lock, tag and limit");
    is_fine(cib_runner_set(&core->ctx, id, &nothing), "nothing");
    runner = runner_of(core, id);
    is_str(runner->description, "other", "described");
    is_int(runner->active, 0, "paused");
    is_str(runner->tags, "b,c", "tagged");
    is_int(runner->locked, 1, "locked");
    is_int(runner->maximum_timeout, 600, "limited");
    is_int(runner->run_untagged, 1, "and takes untagged builds as ever");
    change = nothing;
    change.tags = one_tag(core, "");
    is_fine(cib_runner_set(&core->ctx, id, &change), "no tags");
    change = nothing;
    change.run_untagged = 0;
    is_reason(cib_runner_set(&core->ctx, id, &change), CIB_REASON_INVALID,
              "what is wrong only with what is there is refused");
    is_int(runner_of(core, id)->run_untagged, 1, "and not done");
    is_reason(cib_runner_set(&core->ctx, 4711, &change), CIB_REASON_NO_RECORD, "no such runner");
}

static void test_project(core_t *core)
{
    const cib_project_change_t nothing = CIB_PROJECT_UNCHANGED;
    cib_project_change_t change = CIB_PROJECT_UNCHANGED;
    cib_project_t *project;

    change.name = "other";
    change.timeout = 77;
    change.allow_git_fetch = 0;
    is_fine(cib_project_set(&core->ctx, core->project, &change), "rename and more");
    change = nothing;
    change.repo_url = "https://example.org/other.git";
    change.repo_auth_token = 1;
    is_fine(cib_project_set(&core->ctx, core->project, &change), "move");
    is_fine(cib_project_set(&core->ctx, core->project, &nothing), "nothing");
    project = project_of(core);
    is_str(project->name, "other", "renamed");
    is_int(project->timeout, 77, "limited");
    is_int(project->allow_git_fetch, 0, "fetched whole");
    is_str(project->repo_url, "https://example.org/other.git", "moved");
    is_int(project->repo_auth_token, 1, "opened by tokens");
    is_int(project->builds_enabled + project->shared_runners_enabled, 2, "the rest as it was");
    change = nothing;
    change.name = "";
    is_reason(cib_project_set(&core->ctx, core->project, &change), CIB_REASON_INVALID, "no name");
    is_reason(cib_project_set(&core->ctx, 4711, &nothing), CIB_REASON_NO_RECORD, "no such project");
    change = nothing;
    change.timeout = 0;
    is_fine(cib_project_set(&core->ctx, core->project, &change), "the default");
    is_int(project_of(core)->timeout, CIB_PROJECT_TIMEOUT, "is an hour");
}

/* --- two at once, on PostgreSQL: on SQLite only one writes */

static void pause_it(core_t *core)
{
    cib_runner_change_t change = CIB_RUNNER_UNCHANGED;

    change.active = 0;
    fine(cib_runner_set(&core->ctx, core->runner->id, &change), "pause");
}

static void bind_it(core_t *core)
{
    fine(cib_runner_bind(&core->ctx, core->runner->id, core->project), "bind");
}

static void rotate_runner(core_t *core)
{
    const char *token;

    fine(cib_runner_rotate(&core->ctx, core->runner->id, CIB_TOKEN_CREATED, &token), "rotate");
}

static void switch_off(core_t *core)
{
    cib_project_change_t change = CIB_PROJECT_UNCHANGED;

    change.builds_enabled = 0;
    fine(cib_project_set(&core->ctx, core->project, &change), "switch off");
}

static void rotate_project(core_t *core)
{
    const char *token;

    fine(cib_project_rotate(&core->ctx, core->project, &token), "rotate");
}

static void test_runner_at_once(core_t *core)
{
    core_t other = *core;
    const char *token, *again;
    cib_runner_t *runner;
    rival_t rival;

    other.runner = runner_of(core, new_runner(core, "", 1, 0, &token));
    rival_begin(core, &rival);
    rival_says(&rival,
               "UPDATE runners SET description = 'theirs', run_untagged = 0, tags = 'x' "
               "WHERE id = %d",
               (int)other.runner->id);
    rival_ends_during(&other, &rival, pause_it);
    runner = runner_of(core, other.runner->id);
    is_int(runner->active, 0, "paused");
    is_str(runner->description, "theirs", "and what somebody else set meanwhile stays");
    is_int(runner->run_untagged, 0, "all of it");
    rival_begin(core, &rival);
    rival_says(&rival, "UPDATE runners SET active = 1 WHERE id = %d", (int)other.runner->id);
    rival_ends_during(&other, &rival, bind_it);
    runner = runner_of(core, other.runner->id);
    is_int(runner->is_shared, 0, "given to a project");
    is_int(runner->active, 1, "and resumed meanwhile");
    rival_begin(core, &rival);
    rival_says(&rival, "UPDATE runners SET active = 0 WHERE id = %d", (int)other.runner->id);
    rival_ends_during(&other, &rival, rotate_runner);
    is_int(runner_of(core, other.runner->id)->active, 0, "paused while its token was rotated");
    is_reason(cib_runner_authenticate(&core->ctx, token, &runner), CIB_REASON_WRONG_TOKEN,
              "which it was");
    fine(cib_runner_rotate(&core->ctx, other.runner->id, CIB_TOKEN_CREATED, &again), "rotate");
    pause_it(&other);
    is_fine(cib_runner_authenticate(&core->ctx, again, &runner), "a change keeps the token");
}

static void test_project_at_once(core_t *core)
{
    cib_project_t *project;
    const char *token;
    rival_t rival;

    rival_begin(core, &rival);
    rival_says(&rival, "UPDATE projects SET name = 'theirs', timeout = 7 WHERE id = %d",
               (int)core->project);
    rival_ends_during(core, &rival, switch_off);
    project = project_of(core);
    is_int(project->builds_enabled, 0, "switched off");
    is_str(project->name, "theirs", "and what somebody else set meanwhile stays");
    is_int(project->timeout, 7, "all of it");
    rival_begin(core, &rival);
    rival_says(&rival, "UPDATE projects SET rotation = rotation + 1, name = 'more' WHERE id = %d",
               (int)core->project);
    rival_ends_during(core, &rival, rotate_project);
    project = project_of(core);
    is_int(project->rotation, 2, "each rotation counts");
    is_str(project->name, "more", "and changes no name");
    fine(cib_project_token(&core->ctx, project, &token), "token");
    ok(strcmp(token, core->project_token) != 0, "the token is another");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_runner(core);
    test_project(core);
    if (core->fx->schema) {
        test_runner_at_once(core);
        test_project_at_once(core);
    }
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

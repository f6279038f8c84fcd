/* Every question, asked and answered. The queue's are in test_store_queue.c. */
#include <apr_strings.h>

#include "store_fixture.h"

#define SHA "0123456789012345678901234567890123456789"

static apr_int64_t id_at(const apr_array_header_t *ids, int i)
{
    return i < ids->nelts ? APR_ARRAY_IDX(ids, i, apr_int64_t) : -1;
}

static const char *text_at(const apr_array_header_t *texts, int i)
{
    return i < texts->nelts ? APR_ARRAY_IDX(texts, i, const char *) : NULL;
}

/* --- settings */

static cib_error_t *ask_settings(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int rotation, taken;

    CIB_TRY(cib_q_registration_rotation(db, &rotation, pool));
    is_int(rotation, 0, "the registration token was never rotated");
    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    is_int(rotation, 1, "now once");
    CIB_TRY(cib_q_registration_rotation(db, &rotation, pool));
    is_int(rotation, 1, "and that stays");

    CIB_TRY(cib_q_lease_take(db, "upkeep", "one", 100, 200, &taken, pool));
    is_int(taken, 1, "a lease nobody has");
    CIB_TRY(cib_q_lease_take(db, "upkeep", "two", 199, 300, &taken, pool));
    is_int(taken, 0, "one that somebody has");
    CIB_TRY(cib_q_lease_take(db, "upkeep", "one", 199, 300, &taken, pool));
    is_int(taken, 1, "renewed by its holder");
    CIB_TRY(cib_q_lease_take(db, "upkeep", "two", 300, 400, &taken, pool));
    is_int(taken, 1, "taken over when it ran out");
    CIB_TRY(cib_q_lease_take(db, "other", "one", 300, 400, &taken, pool));
    is_int(taken, 1, "another lease");
    return CIB_OK;
}

/* --- projects */

static cib_error_t *ask_projects(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_project_t fresh = {.name = "p'; --%s \"\xc3\xa9",
                           .repo_url = "http://example.org/p.git",
                           .repo_auth_token = 1,
                           .timeout = 3600,
                           .shared_runners_enabled = 1,
                           .builds_enabled = 1};
    apr_array_header_t *all;
    cib_project_t *project;
    apr_int64_t id, other;
    int changed;

    CIB_TRY(cib_q_project_add(db, &fresh, 7, &id, pool));
    CIB_TRY(cib_q_project_add(db, &fresh, 7, &other, pool));
    ok(id > 0 && other > id, "ids grow");
    CIB_TRY(cib_q_project_set_token(db, id, "hash 1", "sealed", 3, pool));
    CIB_TRY(cib_q_project_set_token(db, other, "hash 2", NULL, 0, pool));
    CIB_TRY(cib_q_project_set_token(db, id, "hash 1", "sealed", 3, pool));
    is_reason(cib_q_project_set_token(db, other, "hash 1", NULL, 0, pool), CIB_REASON_CONFLICT,
              "a token belongs to one project");
    CIB_TRY(cib_q_project(db, id, &project, pool));
    is_str(project->name, fresh.name, "the name comes back as it was");
    is_str(project->repo_url, fresh.repo_url, "repo_url");
    is_int(project->repo_auth_token, 1, "repo_auth_token");
    is_int(project->timeout, 3600, "timeout");
    is_int(project->allow_git_fetch, 0, "allow_git_fetch");
    is_int(project->rotation, 3, "rotation");
    is_str(project->token_sealed, "sealed", "token_sealed");
    is_int(project->removing, 0, "not being removed");
    CIB_TRY(cib_q_project_by_token(db, "hash 2", &project, pool));
    is_int(project->id, other, "found by its token");
    is_str(project->token_sealed, NULL, "a derived token is not sealed");
    CIB_TRY(cib_q_project_by_token(db, "hash 3", &project, pool));
    ok(!project, "not by another");
    CIB_TRY(cib_q_project(db, 4711, &project, pool));
    ok(!project, "no such project");

    fresh.id = id;
    fresh.name = "new name";
    fresh.allow_git_fetch = 1;
    fresh.builds_enabled = 0;
    CIB_TRY(cib_q_project_update(db, &fresh, pool));
    CIB_TRY(cib_q_projects(db, &all, pool));
    is_int(all->nelts, 2, "two projects");
    project = APR_ARRAY_IDX(all, 0, cib_project_t *);
    ok(project->id == id && strcmp(project->name, "new name") == 0 && !project->builds_enabled &&
           project->allow_git_fetch && project->rotation == 3,
       "the first with its new settings and old token");
    CIB_TRY(cib_q_project_mark_removing(db, other, &changed, pool));
    is_int(changed, 1, "marked");
    CIB_TRY(cib_q_project_mark_removing(db, 4711, &changed, pool));
    is_int(changed, 0, "no such project to mark");
    CIB_TRY(cib_q_project(db, other, &project, pool));
    is_int(project->removing, 1, "it is being removed");
    CIB_TRY(cib_q_project_remove(db, other, pool));
    CIB_TRY(cib_q_project(db, other, &project, pool));
    ok(!project, "it is gone");
    CIB_TRY(cib_q_project_add(db, &fresh, 7, &id, pool));
    ok(id > other, "and its id is not used again");
    return CIB_OK;
}

/* --- runners */

static cib_error_t *ask_runners(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_runner_t fresh = {.description = NULL, .active = 1, .locked = 1, .tags = "a,b"};
    cib_runner_t shared = {.description = "",
                           .active = 1,
                           .is_shared = 1,
                           .run_untagged = 1,
                           .tags = "",
                           .name = "gitlab-runner",
                           .version = "17.0.0",
                           .contacted_at = 5};
    cib_project_t project = {
        .name = "p", .repo_url = "u", .shared_runners_enabled = 1, .builds_enabled = 1};
    apr_int64_t closed_id;
    apr_int64_t id, shared_id, lost_id, project_id, both, untagged;
    apr_array_header_t *list;
    cib_runner_t *runner;
    int changed;

    CIB_TRY(cib_q_project_add(db, &project, 7, &project_id, pool));
    CIB_TRY(cib_q_tagset(db, "a,b", &both, pool));
    CIB_TRY(cib_q_runner_add(db, &fresh, "r1", 9, &id, pool));
    CIB_TRY(cib_q_runner_add(db, &shared, "r2", 9, &shared_id, pool));
    CIB_TRY(cib_q_runner_add(db, &fresh, "r3", 9, &lost_id, pool));
    is_reason(cib_q_runner_add(db, &fresh, "r1", 9, &lost_id, pool), CIB_REASON_CONFLICT,
              "a token belongs to one runner");
    CIB_TRY(cib_q_tagset(db, "", &untagged, pool));
    CIB_TRY(cib_q_tagset(db, "a,b", &lost_id, pool));
    is_int(lost_id, both, "a tag set is made once");
    CIB_TRY(cib_q_runner_bind(db, id, project_id, pool));
    CIB_TRY(cib_q_runner_bind(db, id, project_id, pool));
    CIB_TRY(cib_q_runner_projects(db, id, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == project_id, "bound to one project, once");

    CIB_TRY(cib_q_runner_by_token(db, "r1", &runner, pool));
    is_int(runner->id, id, "found by its token");
    is_str(runner->description, NULL, "no description");
    is_str(runner->tags, "a,b", "its tags");
    ok(runner->active && runner->locked && !runner->is_shared && !runner->run_untagged, "flags");
    ok(!runner->contacted_at && !runner->info_changed_at && !runner->version, "never heard of");
    is_int(runner->created_at, 9, "made then");
    CIB_TRY(cib_q_runner(db, shared_id, &runner, pool));
    is_str(runner->description, "", "an empty description is not none");
    is_str(runner->version, "17.0.0", "with info from the start");
    is_int(runner->contacted_at, 5, "and a contact");

    CIB_TRY(cib_q_runners_for(db, project_id, both, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == id, "who takes a,b");
    CIB_TRY(cib_q_runners_for(db, project_id, untagged, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == shared_id, "who takes the untagged");
    project.shared_runners_enabled = 0;
    CIB_TRY(cib_q_project_add(db, &project, 7, &closed_id, pool));
    CIB_TRY(cib_q_runners_for(db, closed_id, untagged, &list, pool));
    is_int(list->nelts, 0, "nobody where shared runners are off");
    CIB_TRY(cib_q_project_runners(db, project_id, &list, pool));
    ok(list->nelts == 2 && APR_ARRAY_IDX(list, 0, cib_runner_t *)->id == id &&
           APR_ARRAY_IDX(list, 1, cib_runner_t *)->id == shared_id,
       "who serves the project at all");

    runner->run_untagged = 0;
    runner->tags = "a,b,c";
    runner->description = "changed";
    runner->active = 0;
    CIB_TRY(cib_q_runner_update(db, runner, pool));
    runner->contacted_at = 77;
    runner->version = NULL;
    runner->platform = "linux";
    runner->info_changes = 2;
    runner->info_changed_at = 66;
    CIB_TRY(cib_q_runner_contact(db, runner, pool));
    CIB_TRY(cib_q_runner_set_token(db, shared_id, "r4", pool));
    is_reason(cib_q_runner_set_token(db, shared_id, "r1", pool), CIB_REASON_CONFLICT,
              "not another's token");
    CIB_TRY(cib_q_runner_by_token(db, "r2", &runner, pool));
    ok(!runner, "the old token is nobody's");
    CIB_TRY(cib_q_runner_by_token(db, "r4", &runner, pool));
    ok(runner->contacted_at == 77 && !runner->version && runner->info_changes == 2 &&
           runner->info_changed_at == 66 && !runner->active,
       "settings and contact as written");
    is_str(runner->platform, "linux", "platform");
    CIB_TRY(cib_q_runners_for(db, project_id, both, &list, pool));
    is_int(list->nelts, 2, "both take a,b now");
    runner->locked = 1;
    CIB_TRY(cib_q_runner_update(db, runner, pool));
    CIB_TRY(cib_q_runners_for(db, project_id, both, &list, pool));
    is_int(list->nelts, 1, "a shared runner that is locked takes nothing");

    CIB_TRY(cib_q_runner_remove(db, shared_id, &changed, pool));
    is_int(changed, 1, "removed");
    CIB_TRY(cib_q_runner_remove(db, shared_id, &changed, pool));
    is_int(changed, 0, "once");
    CIB_TRY(cib_q_runners_for(db, project_id, both, &list, pool));
    is_int(list->nelts, 1, "it takes nothing any more");
    CIB_TRY(cib_q_runners(db, &list, pool));
    is_int(list->nelts, 2, "two are left");
    CIB_TRY(cib_q_runner_add(db, &shared, "r5", 9, &lost_id, pool));
    ok(lost_id > shared_id, "an id is not used again");
    return CIB_OK;
}

/* --- machines */

/* The names of the runner's machines in order, by commas. */
static const char *names_of(cib_db_t *db, apr_int64_t runner_id, apr_pool_t *pool)
{
    apr_array_header_t *machines, *names = apr_array_make(pool, 4, sizeof(const char *));

    if (cib_q_machines(db, runner_id, &machines, pool))
        return NULL;
    for (int i = 0; i < machines->nelts; i++)
        APR_ARRAY_PUSH(names, const char *) =
            APR_ARRAY_IDX(machines, i, cib_machine_t *)->system_id;
    return apr_array_pstrcat(pool, names, ',');
}

static cib_error_t *put_machine(cib_db_t *db, apr_int64_t runner_id, const char *system_id,
                                apr_time_t contacted_at, apr_pool_t *pool)
{
    cib_machine_t machine = {.runner_id = runner_id,
                             .system_id = system_id,
                             .contacted_at = contacted_at,
                             .version = "1",
                             .created_at = contacted_at};

    return cib_q_machine_put(db, &machine, pool);
}

static cib_error_t *ask_machine(cib_db_t *db, apr_int64_t id, apr_pool_t *pool)
{
    cib_machine_t fresh = {.runner_id = id,
                           .system_id = "s'; --%s \xc3\xa9",
                           .contacted_at = 5,
                           .name = "n",
                           .version = "16",
                           .revision = "r",
                           .platform = "p",
                           .created_at = 4};
    cib_machine_t *machine;

    CIB_TRY(cib_q_machine_put(db, &fresh, pool));
    CIB_TRY(cib_q_machine(db, id, fresh.system_id, &machine, pool));
    ok(machine && machine->runner_id == id, "a machine of this runner");
    is_str(machine->system_id, fresh.system_id, "its name as it was");
    is_str(machine->name, "n", "name");
    is_str(machine->version, "16", "version");
    is_str(machine->revision, "r", "revision");
    is_str(machine->platform, "p", "platform");
    is_str(machine->architecture, NULL, "architecture");
    ok(machine->contacted_at == 5 && machine->created_at == 4, "times");
    fresh.contacted_at = fresh.created_at = 9;
    fresh.name = NULL;
    fresh.architecture = "a";
    CIB_TRY(cib_q_machine_put(db, &fresh, pool));
    CIB_TRY(cib_q_machine(db, id, fresh.system_id, &machine, pool));
    ok(!machine->name && strcmp(machine->architecture, "a") == 0, "other texts in their place");
    ok(machine->contacted_at == 9 && machine->created_at == 4, "as old as it was");
    CIB_TRY(cib_q_machine(db, id, "s", &machine, pool));
    ok(!machine, "no machine of that name");
    CIB_TRY(cib_q_machine(db, id + 1, fresh.system_id, &machine, pool));
    ok(!machine, "nor of another runner");
    return CIB_OK;
}

static cib_error_t *ask_machines(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_runner_t fresh = {.active = 1, .run_untagged = 1, .tags = ""};
    apr_int64_t id, other;
    int changed, count;

    CIB_TRY(cib_q_runner_add(db, &fresh, "m1", 9, &id, pool));
    CIB_TRY(ask_machine(db, id, pool));
    CIB_TRY(cib_q_runner_add(db, &fresh, "m2", 9, &other, pool));
    is_str(names_of(db, other, pool), "", "a runner without machines");
    for (int i = 1; i <= 5; i++)
        CIB_TRY(put_machine(db, other, apr_psprintf(pool, "m%d", i), i == 5 ? 4 : i, pool));
    is_str(names_of(db, other, pool), "m4,m5,m3,m2,m1", "the last heard of first, then by name");
    CIB_TRY(cib_q_machines_count(db, other, &count, pool));
    is_int(count, 5, "five");
    CIB_TRY(cib_q_machines_trim(db, other, 2, 9, pool));
    is_str(names_of(db, other, pool), "m4,m5,m3,m2", "without the one from before");
    CIB_TRY(cib_q_machines_trim(db, other, 0, 3, pool));
    is_str(names_of(db, other, pool), "m4,m5,m3", "and the three last heard of");
    CIB_TRY(cib_q_machine_remove(db, other, "m5", &changed, pool));
    is_int(changed, 1, "one is removed");
    CIB_TRY(cib_q_machine_remove(db, other, "m5", &changed, pool));
    is_int(changed, 0, "once");
    is_str(names_of(db, other, pool), "m4,m3", "and no other");
    CIB_TRY(put_machine(db, other + 1, "m1", 1, pool));
    CIB_TRY(cib_q_machines_count(db, other + 1, &count, pool));
    is_int(count, 0, "no runner, no machine");
    CIB_TRY(cib_q_runner_remove(db, other, &changed, pool));
    is_str(names_of(db, other, pool), "", "machines go with their runner");
    CIB_TRY(cib_q_machines_count(db, id, &count, pool));
    is_int(count, 1, "and only with that");
    return CIB_OK;
}

/* --- builds */

static cib_error_t *add_build(cib_db_t *db, apr_int64_t project_id, cib_status_e status,
                              apr_int64_t *id, apr_pool_t *pool)
{
    cib_build_t build = {.project_id = project_id,
                         .status = status,
                         .name = "build",
                         .stage = "test",
                         .ref = "master",
                         .sha = SHA,
                         .timeout = 60,
                         .created_at = 1000};
    cib_build_spec_t spec = {"make\nmake check", "{\"image\":\"debian\"}"};

    CIB_TRY(cib_q_tagset(db, "a,b", &build.tagset_id, pool));
    return cib_q_build_add(db, &build, &spec, id, pool);
}

static cib_error_t *new_project(cib_db_t *db, apr_int64_t *id, apr_pool_t *pool)
{
    cib_project_t project = {.name = "p",
                             .repo_url = "u",
                             .timeout = 60,
                             .shared_runners_enabled = 1,
                             .builds_enabled = 1};

    return cib_q_project_add(db, &project, 7, id, pool);
}

static cib_error_t *parts_of(cib_db_t *db, apr_int64_t id, cib_build_parts_t **parts,
                             apr_pool_t *pool)
{
    cib_whole_t whole = {.id = id, .pool = pool}, *only = &whole;

    CIB_TRY(cib_q_wholes(db, &only, 1, pool));
    ok(whole.build && whole.build->id == id && whole.project, "its build and project");
    *parts = whole.parts;
    return CIB_OK;
}

static cib_error_t *ask_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_build_t fresh = {.status = CIB_PENDING,
                         .name = "n",
                         .stage = "s",
                         .ref = "r",
                         .tag = 1,
                         .sha = SHA,
                         .before_sha = NULL,
                         .timeout = 60,
                         .created_at = 1000,
                         .retry_of = 5};
    apr_int64_t id, first;
    apr_array_header_t *list;
    const cib_variable_t variable = {.key = "KEY", .value = "value", .is_public = 1};
    cib_build_parts_t *parts;
    cib_build_spec_t *spec;
    cib_build_t *build;

    CIB_TRY(new_project(db, &fresh.project_id, pool));
    CIB_TRY(cib_q_tagset(db, "a,b", &fresh.tagset_id, pool));
    CIB_TRY(cib_q_build_add(db, &fresh, NULL, &id, pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    ok(build->project_id == fresh.project_id && build->status == CIB_PENDING &&
           strcmp(build->name, "n") == 0 && strcmp(build->stage, "s") == 0 &&
           strcmp(build->ref, "r") == 0 && build->tag == 1 && strcmp(build->sha, SHA) == 0,
       "a build comes back");
    is_str(build->before_sha, NULL, "no before_sha");
    is_str(build->tags, "a,b", "its tags");
    ok(build->created_at == 1000 && build->queued_at == 1000 && !build->started_at &&
           !build->heard_at && !build->finished_at && !build->erased_at,
       "times");
    ok(!build->runner_id && !build->claim && !build->requeues && !build->has_exit_code &&
           !build->failure_reason && build->retry_of == 5 && build->timeout == 60,
       "all else");
    CIB_TRY(cib_q_build_spec(db, id, &spec, pool));
    ok(!spec, "made without a spec");
    CIB_TRY(cib_q_build(db, 987654321, &build, pool));
    ok(!build, "no such build");

    first = id;
    for (int i = 0; i < 4; i++)
        CIB_TRY(add_build(db, fresh.project_id, i % 2 ? CIB_CREATED : CIB_PENDING, &id, pool));
    CIB_TRY(cib_q_builds(db, CIB_STATUSES, 0, 0, -1, &list, pool));
    is_int(list->nelts, 5, "all builds");
    is_int(APR_ARRAY_IDX(list, 0, cib_build_t *)->id, first, "the oldest first");
    CIB_TRY(cib_q_builds(db, CIB_PENDING, 0, 0, 2, &list, pool));
    is_int(list->nelts, 2, "two pending ones");
    CIB_TRY(cib_q_builds(db, CIB_PENDING, 0, first, -1, &list, pool));
    is_int(list->nelts, 2, "those after the first");
    CIB_TRY(cib_q_builds(db, CIB_CREATED, fresh.project_id, 0, -1, &list, pool));
    is_int(list->nelts, 2, "created ones of the project");
    CIB_TRY(cib_q_builds(db, CIB_STATUSES, fresh.project_id, 0, 3, &list, pool));
    is_int(list->nelts, 3, "three of the project");
    CIB_TRY(cib_q_builds(db, CIB_SUCCESS, 0, 0, -1, &list, pool));
    is_int(list->nelts, 0, "none was a success");
    CIB_TRY(cib_q_builds(db, CIB_STATUSES, 4711, 0, -1, &list, pool));
    is_int(list->nelts, 0, "none of another project");
    CIB_TRY(cib_q_build_spec(db, id, &spec, pool));
    is_str(spec->commands, "make\nmake check", "commands");
    is_str(spec->options, "{\"image\":\"debian\"}", "options");
    CIB_TRY(parts_of(db, first, &parts, pool));
    ok(!parts, "no parts without a spec");
    CIB_TRY(parts_of(db, id, &parts, pool));
    is_str(parts->spec.options, "{\"image\":\"debian\"}", "the same with its parts");
    ok(!parts->has_variables && !parts->has_needs && !parts->has_artifacts, "it has none");
    CIB_TRY(cib_q_variable_add(db, id, 0, &variable, pool));
    CIB_TRY(cib_q_need_add(db, id, first, pool));
    CIB_TRY(parts_of(db, id, &parts, pool));
    ok(parts->has_variables && parts->has_needs && !parts->has_artifacts, "it has two now");
    is_reason(cib_q_project_remove(db, fresh.project_id, pool), CIB_REASON_CONFLICT,
              "a project with builds stays");
    return CIB_OK;
}

static cib_error_t *is_moved(cib_db_t *db, apr_int64_t id, cib_move_t move, int want,
                             const char *what, apr_pool_t *pool)
{
    int changed = -1;

    CIB_TRY(cib_q_build_move(db, id, &move, &changed, pool));
    is_int(changed, want, "%s", what);
    return CIB_OK;
}

#define MOVE(...) ((cib_move_t){__VA_ARGS__})

static cib_error_t *ask_moves(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_runner_t fresh = {.active = 1, .is_shared = 1, .tags = "a,b"};
    apr_array_header_t *ids = apr_array_make(pool, 2, sizeof(apr_int64_t));
    apr_int64_t project_id, id, claimed;
    cib_build_t *build;
    int heard = 1;

    CIB_TRY(new_project(db, &project_id, pool));
    CIB_TRY(cib_q_runner_add(db, &fresh, "m1", 9, &fresh.id, pool));
    CIB_TRY(add_build(db, project_id, CIB_CREATED, &id, pool));
    CIB_TRY(is_moved(db, id, MOVE(.from = CIB_PENDING, .to = CIB_CANCELED, .now = 1), 0,
                     "not from where it is not", pool));
    CIB_TRY(is_moved(db, id, MOVE(.from = CIB_CREATED, .to = CIB_PENDING, .now = 2000), 1,
                     "created to pending", pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    is_int(build->queued_at, 2000, "queued then");
    CIB_TRY(cib_q_enqueue(db, build, pool));
    APR_ARRAY_PUSH(ids, apr_int64_t) = 987654321;
    APR_ARRAY_PUSH(ids, apr_int64_t) = id;
    CIB_TRY(cib_q_builds_lock(db, ids, pool));
    CIB_TRY(cib_q_claim(db, &fresh, 3000, &claimed, pool));
    is_int(claimed, id, "claimed");
    CIB_TRY(cib_q_build_heard(db, id, 2, 3500, &heard, pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    ok(build->started_at == 3000 && build->heard_at == 0 && build->on_shared_runner, "running");
    is_int(heard, 0, "another claim's is not heard");
    CIB_TRY(cib_q_build_heard(db, id, 1, 3500, &heard, pool));
    is_int(heard, 1, "the running one's is");
    CIB_TRY(cib_q_running_of(db, fresh.id, &ids, pool));
    ok(ids->nelts == 1 && id_at(ids, 0) == id, "the runner runs it");
    CIB_TRY(is_moved(db, id, MOVE(.from = CIB_RUNNING, .to = CIB_SUCCESS, .claim = 2, .now = 1), 0,
                     "not by another claim", pool));
    CIB_TRY(is_moved(
        db, id, MOVE(.from = CIB_RUNNING, .to = CIB_PENDING, .claim = 1, .now = 4000, .requeue = 1),
        1, "back to pending", pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    ok(build->status == CIB_PENDING && !build->runner_id && !build->started_at &&
           !build->heard_at && !build->on_shared_runner && build->requeues == 1 &&
           build->claim == 1 && build->queued_at == 4000,
       "as if it had not been claimed, but counted");
    CIB_TRY(cib_q_enqueue(db, build, pool));
    CIB_TRY(cib_q_claim(db, &fresh, 5000, &claimed, pool));
    CIB_TRY(is_moved(db, id,
                     MOVE(.from = CIB_RUNNING, .to = CIB_FAILED, .claim = 2, .now = 6000,
                          .failure_reason = "script_failure", .has_exit_code = 1, .exit_code = 0),
                     1, "failed", pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    ok(build->status == CIB_FAILED && build->finished_at == 6000 && build->has_exit_code &&
           build->exit_code == 0 && build->runner_id == fresh.id && build->claim == 2,
       "with an end, and an exit code of 0");
    is_str(build->failure_reason, "script_failure", "and a reason");
    CIB_TRY(is_moved(db, id, MOVE(.from = CIB_RUNNING, .to = CIB_SUCCESS, .now = 7000), 0,
                     "an end is the end", pool));
    CIB_TRY(cib_q_build_erase(db, id, 8000, pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    is_int(build->erased_at, 8000, "erased");

    CIB_TRY(add_build(db, project_id, CIB_CREATED, &id, pool));
    CIB_TRY(is_moved(db, id,
                     MOVE(.from = CIB_CREATED, .to = CIB_SKIPPED, .now = 1, .failure_reason = "x"),
                     1, "skipped", pool));
    CIB_TRY(is_moved(db, id, MOVE(.from = CIB_SKIPPED, .to = CIB_CREATED, .now = 2), 1, "reopened",
                     pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    ok(!build->finished_at && !build->failure_reason, "without an end");
    return CIB_OK;
}

static cib_error_t *ask_parts(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_variable_t open = {.key = "KEY", .value = "", .is_public = 1},
                   secret = {.key = "SECRET", .value = "sealed", .is_public = 0};
    apr_int64_t project_id, a, b, waits, ran, again;
    apr_array_header_t *list, *ids = apr_array_make(pool, 1, sizeof(apr_int64_t));
    cib_build_t *build;

    CIB_TRY(new_project(db, &project_id, pool));
    CIB_TRY(add_build(db, project_id, CIB_FAILED, &a, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &b, pool));
    CIB_TRY(add_build(db, project_id, CIB_SKIPPED, &waits, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &ran, pool));
    APR_ARRAY_PUSH(ids, apr_int64_t) = a;
    CIB_TRY(cib_q_variable_add(db, waits, 2, &secret, pool));
    CIB_TRY(cib_q_variable_add(db, waits, 1, &open, pool));
    CIB_TRY(cib_q_variables(db, waits, &list, pool));
    is_int(list->nelts, 2, "two variables");
    is_str(APR_ARRAY_IDX(list, 0, cib_variable_t *)->key, "KEY", "in order");
    is_str(APR_ARRAY_IDX(list, 0, cib_variable_t *)->value, "", "an empty value");
    ok(APR_ARRAY_IDX(list, 0, cib_variable_t *)->is_public &&
           !APR_ARRAY_IDX(list, 1, cib_variable_t *)->is_public,
       "public, then secret");

    CIB_TRY(cib_q_need_add(db, waits, b, pool));
    CIB_TRY(cib_q_need_add(db, waits, a, pool));
    CIB_TRY(cib_q_need_add(db, waits, a, pool));
    CIB_TRY(cib_q_need_add(db, ran, a, pool));
    CIB_TRY(cib_q_needs(db, waits, &list, pool));
    ok(list->nelts == 2 && APR_ARRAY_IDX(list, 0, cib_build_t *)->id == a &&
           APR_ARRAY_IDX(list, 1, cib_build_t *)->id == b,
       "needs, by id, each once");
    CIB_TRY(cib_q_needed_by(db, ids, &list, pool));
    ok(list->nelts == 2 && id_at(list, 0) == waits && id_at(list, 1) == ran, "and who needs it");

    CIB_TRY(cib_q_build(db, a, &build, pool));
    is_int(build->finished_at, 1000, "one that began as ended has an end");
    build->retry_of = a;
    CIB_TRY(cib_q_build_add(db, build, NULL, &again, pool));
    CIB_TRY(cib_q_need_add(db, again, b, pool));
    CIB_TRY(cib_q_needs_move(db, a, b, pool));
    CIB_TRY(cib_q_needs(db, waits, &list, pool));
    ok(list->nelts == 1 && APR_ARRAY_IDX(list, 0, cib_build_t *)->id == b,
       "who waits needs the other instead, once");
    CIB_TRY(cib_q_needs(db, ran, &list, pool));
    ok(list->nelts == 1 && APR_ARRAY_IDX(list, 0, cib_build_t *)->id == a,
       "who ran keeps what it had");

    CIB_TRY(cib_q_enqueue(db, build, pool));
    CIB_TRY(cib_q_build_remove(db, waits, pool));
    CIB_TRY(cib_q_build(db, waits, &build, pool));
    ok(!build, "removed");
    APR_ARRAY_IDX(ids, 0, apr_int64_t) = b;
    CIB_TRY(cib_q_needed_by(db, ids, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == again, "with its needs");
    CIB_TRY(cib_q_dequeue(db, a, pool));
    return CIB_OK;
}

/* --- artifacts */

static cib_error_t *ask_artifacts(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_artifact_t archive = {.type = "archive",
                              .format = "zip",
                              .filename = "a.zip",
                              .size = APR_INT64_C(5000000000),
                              .sha256 = "aa",
                              .blob = "blob 1",
                              .created_at = 10,
                              .expire_at = 0};
    cib_artifact_t metadata = {.type = "metadata",
                               .format = "gzip",
                               .filename = "m.gz",
                               .size = 3,
                               .sha256 = "bb",
                               .blob = "blob 2",
                               .created_at = 10,
                               .expire_at = 50};
    apr_array_header_t *list;
    cib_artifact_t *got;
    apr_int64_t project_id, id, other;
    const char *old;
    int known;

    CIB_TRY(new_project(db, &project_id, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &id, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &other, pool));
    archive.build_id = metadata.build_id = id;
    CIB_TRY(cib_q_artifact_put(db, &archive, &old, pool));
    is_str(old, NULL, "nothing was there");
    CIB_TRY(cib_q_artifact_put(db, &metadata, &old, pool));
    CIB_TRY(cib_q_artifact(db, id, "archive", &got, pool));
    ok(got->size == archive.size && got->expire_at == 0 && got->created_at == 10, "numbers");
    ok(!strcmp(got->format, "zip") && !strcmp(got->filename, "a.zip") &&
           !strcmp(got->sha256, "aa") && !strcmp(got->blob, "blob 1"),
       "texts");
    CIB_TRY(cib_q_artifact(db, id, "junit", &got, pool));
    ok(!got, "no such type");
    archive.blob = "blob 3";
    archive.expire_at = 40;
    CIB_TRY(cib_q_artifact_put(db, &archive, &old, pool));
    is_str(old, "blob 1", "replaced");
    CIB_TRY(cib_q_blob_known(db, "blob 1", &known, pool));
    is_int(known, 0, "the old file is nobody's");
    CIB_TRY(cib_q_blob_known(db, "blob 3", &known, pool));
    is_int(known, 1, "the new one is known");
    CIB_TRY(cib_q_artifacts(db, id, &list, pool));
    is_int(list->nelts, 2, "two artifacts");
    archive.build_id = 987654321;
    is_reason(cib_q_artifact_put(db, &archive, &old, pool), CIB_REASON_NO_RECORD,
              "none for a build that is not there");

    archive.build_id = other;
    archive.blob = "blob 4";
    archive.expire_at = 60;
    CIB_TRY(cib_q_artifact_put(db, &archive, &old, pool));
    CIB_TRY(cib_q_expired(db, 39, 10, &list, pool));
    is_int(list->nelts, 0, "nothing has expired");
    CIB_TRY(cib_q_expired(db, 50, 10, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == id, "one build, once");
    CIB_TRY(cib_q_expired(db, 60, 10, &list, pool));
    ok(list->nelts == 2 && id_at(list, 1) == other, "then both");
    CIB_TRY(cib_q_artifacts_after(db, 0, NULL, 2, &list, pool));
    is_int(list->nelts, 2, "a page");
    got = APR_ARRAY_IDX(list, 1, cib_artifact_t *);
    is_str(got->type, "metadata", "in order");
    CIB_TRY(cib_q_artifacts_after(db, got->build_id, got->type, 2, &list, pool));
    is_int(list->nelts, 1, "the rest");
    is_int(APR_ARRAY_IDX(list, 0, cib_artifact_t *)->build_id, other, "is the other's");
    CIB_TRY(cib_q_blob_names(db, id, other, &list, pool));
    is_int(list->nelts, 2, "blobs of a range, its end left out");
    CIB_TRY(cib_q_blob_names(db, other, other + 1, &list, pool));
    is_str(text_at(list, 0), "blob 4", "and of the next");
    CIB_TRY(cib_q_artifact_remove(db, id, "metadata", pool));
    CIB_TRY(cib_q_artifacts_remove(db, id, &list, pool));
    ok(list->nelts == 1 && !strcmp(text_at(list, 0), "blob 3"), "removed, with its file named");
    CIB_TRY(cib_q_artifacts_remove(db, id, &list, pool));
    is_int(list->nelts, 0, "nothing left");
    return CIB_OK;
}

/* --- upkeep */

typedef struct upkeep_t {
    apr_int64_t old_runner, new_runner, mute_runner;
    apr_int64_t builds[3]; /* of these, in order */
} upkeep_t;

#define SEC(n) apr_time_from_sec(n)

/* Three running builds: claimed at 100 s, 200 s and 300 s, the second heard of at 400 s. */
static cib_error_t *set_up_upkeep(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    upkeep_t *u = baton;
    const char *versions[] = {"1.0.4", "1.11.5", NULL};
    apr_int64_t *runners[] = {&u->old_runner, &u->new_runner, &u->mute_runner};
    apr_int64_t project_id, claimed;
    cib_build_t *build;

    CIB_TRY(new_project(db, &project_id, pool));
    for (int i = 0; i < 3; i++) {
        cib_runner_t runner = {.active = 1, .tags = "a,b", .version = versions[i]};
        const char *token = apr_psprintf(pool, "u%d", i);

        CIB_TRY(cib_q_runner_add(db, &runner, token, 9, &runner.id, pool));
        CIB_TRY(cib_q_runner_bind(db, runner.id, project_id, pool));
        CIB_TRY(add_build(db, project_id, CIB_PENDING, &u->builds[i], pool));
        CIB_TRY(cib_q_build(db, u->builds[i], &build, pool));
        CIB_TRY(cib_q_enqueue(db, build, pool));
        CIB_TRY(cib_q_claim(db, &runner, SEC(100 * (i + 1)), &claimed, pool));
        is_int(claimed, u->builds[i], "build %d is running", i);
        *runners[i] = runner.id;
    }
    return cib_q_build_heard(db, u->builds[1], 1, SEC(400), NULL, pool);
}

/* Which of the three are overdue, as bits. */
static int overdue(cib_db_t *db, const upkeep_t *u, apr_time_t now, apr_time_t unheard,
                   apr_time_t silent, apr_interval_time_t grace, apr_pool_t *pool)
{
    apr_array_header_t *list;
    int found = 0;

    if (cib_q_overdue(db, now, unheard, silent, grace, 10, &list, pool))
        return -1;
    for (int i = 0; i < list->nelts; i++)
        for (int k = 0; k < 3; k++)
            if (APR_ARRAY_IDX(list, i, cib_build_t *)->id == u->builds[k])
                found |= 1 << k;
    return found;
}

static cib_error_t *ask_upkeep(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    upkeep_t u;
    apr_array_header_t *list;
    apr_int64_t project_id, done, needed, waits;
    int changed;

    CIB_TRY(set_up_upkeep(db, &u, pool));
    is_int(overdue(db, &u, SEC(1000), 0, 0, 0, pool), 0, "nothing is never overdue");
    is_int(overdue(db, &u, SEC(1000), SEC(200), 0, 0, pool), 1, "claimed long ago, never heard of");
    is_int(overdue(db, &u, SEC(1000), SEC(301), 0, 0, pool), 5, "but for the one heard of");
    is_int(overdue(db, &u, SEC(1000), 0, SEC(399), 0, pool), 0,
           "the silence of old runners and unknown ones means nothing");
    is_int(overdue(db, &u, SEC(1000), 0, SEC(401), 0, pool), 2, "that of others does");
    is_int(overdue(db, &u, SEC(100 + 60 + 30), 0, 0, SEC(30), pool), 0, "in time to the second");
    is_int(overdue(db, &u, SEC(100 + 60 + 31), 0, 0, SEC(30), pool), 1, "then over its time");
    is_int(overdue(db, &u, SEC(1000), 0, 0, SEC(30), pool), 7, "in the end all are");
    CIB_TRY(cib_q_overdue(db, SEC(1000), 0, 0, SEC(30), 1, &list, pool));
    is_int(list->nelts, 1, "at most so many");
    is_int(APR_ARRAY_IDX(list, 0, cib_build_t *)->id, u.builds[0], "the longest due first");
    CIB_TRY(cib_q_runner_remove(db, u.mute_runner, &changed, pool));
    is_int(overdue(db, &u, SEC(1000), 0, SEC(399), 0, pool), 4, "a runner that is gone is silent");

    CIB_TRY(new_project(db, &project_id, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &done, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &needed, pool));
    CIB_TRY(add_build(db, project_id, CIB_CREATED, &waits, pool));
    CIB_TRY(cib_q_need_add(db, waits, needed, pool));
    CIB_TRY(cib_q_ended_before(db, 1000, 10, &list, pool));
    is_int(list->nelts, 0, "none ended before then");
    CIB_TRY(cib_q_ended_before(db, 1001, 10, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == done, "one that nobody needs");
    CIB_TRY(is_moved(db, waits, MOVE(.from = CIB_CREATED, .to = CIB_CANCELED, .now = 5000), 1,
                     "nobody waits any more", pool));
    CIB_TRY(cib_q_ended_before(db, 1001, 10, &list, pool));
    is_int(list->nelts, 2, "then both");
    CIB_TRY(cib_q_build_erase(db, done, 1, pool));
    CIB_TRY(cib_q_build_ids(db, done, waits, &list, pool));
    ok(list->nelts == 1 && id_at(list, 0) == needed, "builds of a range that are not erased");
    return CIB_OK;
}

static cib_error_t *ask_numbers(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_runner_t runner = {.active = 1, .tags = "", .contacted_at = SEC(1000)};
    apr_int64_t project_id, id;
    cib_artifact_t artifact = {.type = "archive",
                               .format = "zip",
                               .filename = "a",
                               .size = 7,
                               .sha256 = "aa",
                               .blob = "blob"};
    cib_build_t *build;
    cib_stats_t stats;
    const char *old;

    CIB_TRY(cib_q_stats(db, SEC(1000), &stats, pool));
    ok(!stats.projects && !stats.runners && !stats.artifacts && !stats.artifact_bytes &&
           !stats.builds[CIB_PENDING],
       "nothing at first");
    CIB_TRY(new_project(db, &project_id, pool));
    CIB_TRY(cib_q_runner_add(db, &runner, "n1", 9, &id, pool));
    CIB_TRY(add_build(db, project_id, CIB_PENDING, &id, pool));
    CIB_TRY(cib_q_build(db, id, &build, pool));
    CIB_TRY(cib_q_enqueue(db, build, pool));
    CIB_TRY(add_build(db, project_id, CIB_SUCCESS, &artifact.build_id, pool));
    CIB_TRY(cib_q_artifact_put(db, &artifact, &old, pool));
    CIB_TRY(cib_q_stats(db, SEC(1000), &stats, pool));
    ok(stats.projects == 1 && stats.runners == 1 && stats.runners_online == 1 &&
           stats.artifacts == 1 && stats.artifact_bytes == 7 && stats.builds[CIB_PENDING] == 1 &&
           stats.builds[CIB_SUCCESS] == 1 && stats.builds[CIB_RUNNING] == 0,
       "one of each");
    memset(&stats, 0, sizeof(stats));
    CIB_TRY(cib_q_load(db, SEC(2000), &stats, pool));
    ok(stats.builds[CIB_PENDING] == 1 && stats.runners_online == 0, "the load, later");
    return CIB_OK;
}

static void test_statuses(void)
{
    is_str(cib_status_name(CIB_SKIPPED), "skipped", "a status has a name");
    is_str(cib_status_name(CIB_STATUSES), NULL, "what is none has none");
    is_int(cib_status_parse("running"), CIB_RUNNING, "and back");
    is_int(cib_status_parse("Running"), CIB_STATUSES, "no other word");
    is_int(cib_status_parse(NULL), CIB_STATUSES, "nor none");
}

/* Each on an instance of its own. */
static void tests(const char *driver)
{
    static const struct {
        cib_section_fn ask;
        const char *what;
    } all[] = {
        {ask_settings, "settings"},   {ask_projects, "projects"}, {ask_runners, "runners"},
        {ask_rows, "rows"},           {ask_moves, "moves"},       {ask_parts, "parts"},
        {ask_artifacts, "artifacts"}, {ask_upkeep, "upkeep"},     {ask_numbers, "numbers"},
        {ask_machines, "machines"},
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        fixture_t *fx = fixture_new(driver);

        is_fine(writing(fx, all[i].ask, NULL), all[i].what);
        fixture_done(fx);
    }
}

int main(void)
{
    test_statuses();
    on_every_driver(tests);
    return done_testing();
}

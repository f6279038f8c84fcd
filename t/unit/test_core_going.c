/* Runners and projects that go while one of their builds is being claimed. */
#include "core/cib_upkeep.h"
#include "core_fixture.h"

static cib_upkeep_report_t turn(core_t *core)
{
    cib_upkeep_report_t report = {0};
    apr_time_t now = apr_time_now();

    fine(cib_upkeep_turn(&core->ctx, now, now, 100, 0, &report), "turn");
    return report;
}

/* What a claim on PostgreSQL does, up to before its COMMIT. */
static void claim_begin(core_t *core, rival_t *rival, apr_int64_t id)
{
    rival_begin(core, rival);
    rival_says(rival, "DELETE FROM queue WHERE build_id = %d", (int)id);
    rival_says(rival,
               "UPDATE builds SET status = 'running', runner_id = %d, on_shared_runner = 1, "
               "started_at = %" APR_INT64_T_FMT ", heard_at = NULL, claim = claim + 1 "
               "WHERE id = %d AND status = 'pending'",
               (int)core->runner->id, apr_time_now(), (int)id);
}

static void remove_project(core_t *core)
{
    fine(cib_project_remove(&core->ctx, core->project), "remove the project");
}

static void test_project(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0), old = core->project;
    apr_array_header_t *left;
    cib_project_t *project;
    rival_t rival;

    new_build(core, id, 0);
    claim_begin(core, &rival, id);
    rival_ends_during(core, &rival, remove_project);
    is_reason(cib_project_get(&core->ctx, old, &project), CIB_REASON_NO_RECORD, "it is gone");
    fine(cib_build_list(&core->ctx, CIB_STATUSES, old, 0, -1, &left), "list");
    is_int(left->nelts, 0, "with the build that was claimed meanwhile");
    core->project = new_project(core, "https://example.org/q.git");
}

/* The runner's rows and the build's are others', so the two do not wait for each other. */
static void test_runner(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0), after = new_build(core, id, 0);
    core_t other = *core;
    const char *token;
    rival_t rival;

    fine(cib_runner_get(&core->ctx, new_runner(core, "", 1, 0, &token), &other.runner), "get");
    claim_begin(&other, &rival, id);
    fine(cib_runner_remove(&core->ctx, other.runner->id), "remove the runner");
    rival_says(&rival, "COMMIT");
    apr_dbd_close(rival.driver, rival.handle);
    is_str(status_of(core, id), "running", "a build claimed while its runner is removed");
    is_int(turn(core).failed, 1, "is found");
    is_str(status_of(core, id), "failed", "and fails");
    is_str(build_of(core, id)->failure_reason, "runner_lost", "as the others of that runner");
    is_str(status_of(core, after), "skipped", "with what follows");
}

/* However it came to be, and whatever is heard of it. */
static void test_nobodys(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0), mine = new_build(core, 0, 0);

    start(core, id);
    start(core, mine);
    is_int(turn(core).failed, 0, "no build of a runner that is there");
    sql(core, "UPDATE builds SET runner_id = 4711, heard_at = %" APR_INT64_T_FMT " WHERE id = %d",
        apr_time_now(), (int)id);
    is_int(turn(core).failed, 1, "but one of a runner that is not");
    is_str(build_of(core, id)->failure_reason, "runner_lost", "which is lost");
    is_str(status_of(core, mine), "running", "the other one goes on");
    finish(core, mine, "success");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_nobodys(core);
    if (core->fx->schema) {
        test_runner(core);
        test_project(core);
    }
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

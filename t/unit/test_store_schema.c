/* Making the schema, bringing an older one up to date, and what is refused. */
#include "../../src/store/migrations.h"
#include "store_fixture.h"

static cib_error_t *upgrade(fixture_t *fx, const char *id, int *from)
{
    return cib_schema_upgrade(fx->store, fx->source, id, from, fx->pool);
}

static void test_fresh(fixture_t *fx)
{
    cib_schema_state_t state;
    int from = -1;

    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look at an empty one");
    is_int(state.version, 0, "an empty database has no version");
    is_str(state.instance_id, NULL, "and belongs to nobody");
    is_fine(upgrade(fx, fx->storage->id, &from), "make the schema");
    is_int(from, 0, "from nothing");
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look again");
    is_int(state.version, cib_schema_version(), "the version is this program's");
    is_str(state.instance_id, fx->storage->id, "it belongs to the instance");
    is_fine(upgrade(fx, fx->storage->id, &from), "once more");
    is_int(from, cib_schema_version(), "nothing to do");
}

static void test_refusals(fixture_t *fx)
{
    cib_error_t *err;
    int from;

    err = upgrade(fx, "0123456789abcdef0123456789abcdef", &from);
    is_reason(err, CIB_REASON_CONFLICT, "another instance is refused");
    is_str(err->message, "the database belongs to another storage directory", "and told why");
    outside(fx, fx->params, "UPDATE meta SET value = '999' WHERE key = 'schema_version'");
    err = upgrade(fx, fx->storage->id, &from);
    is_reason(err, CIB_REASON_CONFLICT, "a newer schema is refused");
    ok(strstr(err->message, "999"), "and told so: %s", err->message);
}

/* --- from version 1 on */

/* An instance as the first release left it: a project, a runner, and a build of the runner's with a
 * variable and an artifact. */
static const char *const old_rows[] = {
    "INSERT INTO meta (key, value) VALUES ('schema_version', '1')",
    "INSERT INTO meta (key, value) VALUES ('registration_rotation', '3')",
    "INSERT INTO projects (name, repo_url, repo_auth_token, timeout, allow_git_fetch, "
    "shared_runners_enabled, builds_enabled, removing, rotation, created_at) "
    "VALUES ('p', 'u', 0, 3600, 1, 1, 1, 0, 0, 5)",
    "INSERT INTO runners (description, active, is_shared, locked, run_untagged, tags, "
    "contacted_at, name, version, info_changed_at, info_changes, token_sha256, created_at) "
    "VALUES ('d', 1, 0, 1, 0, 'a,b', 7, 'n', '1.11.5', 6, 2, 'old runner', 5)",
    "INSERT INTO runner_projects (runner_id, project_id) VALUES (1, 1)",
    "INSERT INTO tagsets (tags) VALUES ('a,b')",
    "INSERT INTO takes (tagset_id, runner_id) VALUES (1, 1)",
    "INSERT INTO tagsets (id, tags) VALUES (2, 'b')", /* of no build any more */
    "INSERT INTO takes (runner_id, tagset_id) VALUES (1, 2)",
    "INSERT INTO builds (project_id, status, name, stage, ref, tag, sha, tagset_id, runner_id, "
    "on_shared_runner, timeout, claim, requeues, created_at, started_at) "
    "VALUES (1, 'running', 'n', 's', 'master', 0, 'abc', 1, 1, 0, 60, 1, 0, 8, 9)",
    "INSERT INTO build_specs (build_id, commands, options) VALUES (1, 'make', '{}')",
    "INSERT INTO build_variables (build_id, position, key, value, is_public) "
    "VALUES (1, 0, 'K', 'V', 1)",
    "INSERT INTO artifacts (build_id, type, format, filename, size, sha256, blob, created_at) "
    "VALUES (1, 'archive', 'zip', 'a.zip', 1, 'x', '00/1', 9)",
    NULL,
};

static void make_old(fixture_t *fx)
{
    int sqlite = strcmp(fx->driver, "sqlite3") == 0;
    const char *const *statements = sqlite ? cib_migrations[0].sqlite : cib_migrations[0].pgsql;

    if (sqlite)
        outside(fx, fx->params, "PRAGMA journal_mode=WAL");
    while (*statements)
        outside(fx, fx->params, *statements++);
    outside(fx, fx->params,
            apr_psprintf(fx->pool, "INSERT INTO meta (key, value) VALUES ('instance_id', '%s')",
                         fx->storage->id));
    for (statements = old_rows; *statements; statements++)
        outside(fx, fx->params, *statements);
}

static cib_error_t *look_at_old(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    apr_array_header_t *list;
    cib_project_t *project;
    cib_runner_t *runner;
    cib_build_t *build;
    cib_build_spec_t *spec;
    cib_variable_t *variable;
    int rotation;

    CIB_TRY(cib_q_registration_rotation(db, &rotation, pool));
    is_int(rotation, 3, "the registration token is as it was");
    CIB_TRY(cib_q_project(db, 1, &project, pool));
    ok(project && project->timeout == 3600 && project->builds_enabled, "so is the project");
    CIB_TRY(cib_q_runner_by_token(db, "old runner", &runner, pool));
    ok(runner && runner->id == 1 && runner->locked && runner->contacted_at == 7 &&
           runner->info_changes == 2 && strcmp(runner->tags, "a,b") == 0,
       "and the runner, found by its token");
    is_int(runner->maximum_timeout, 0, "  without a limit of time");
    CIB_TRY(cib_q_machines(db, 1, &list, pool));
    is_int(list->nelts, 0, "  and without machines");
    CIB_TRY(cib_q_runners_for(db, 1, 1, &list, pool));
    is_int(list->nelts, 1, "  which takes what it took");
    CIB_TRY(cib_q_runners_for(db, 1, 2, &list, pool));
    is_int(list->nelts, 0, "  but for tags that no build names");
    CIB_TRY(cib_q_build(db, 1, &build, pool));
    ok(build && build->status == CIB_RUNNING && build->runner_id == 1 && build->started_at == 9,
       "its build runs on");
    ok(!build->trace_checksum && !build->followed_until, "  with none of the new things");
    CIB_TRY(cib_q_build_spec(db, 1, &spec, pool));
    is_str(spec->commands, "make", "  its commands");
    CIB_TRY(cib_q_variables(db, 1, &list, pool));
    variable = APR_ARRAY_IDX(list, 0, cib_variable_t *);
    ok(!strcmp(variable->value, "V") && variable->is_public && !variable->is_file &&
           !variable->is_raw,
       "  its variable, a plain one");
    CIB_TRY(cib_q_artifacts(db, 1, &list, pool));
    is_int(list->nelts, 1, "  its artifact");
    return CIB_OK;
}

/* What an old database could not hold. */
static cib_error_t *use_new(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_machine_t machine = {.runner_id = 1, .system_id = "s_1", .contacted_at = 3};
    cib_runner_t *runner;
    apr_array_header_t *list;
    int counted;

    CIB_TRY(cib_q_machine_put(db, &machine, pool));
    CIB_TRY(cib_q_machines(db, 1, &list, pool));
    is_int(list->nelts, 1, "a machine can be kept");
    CIB_TRY(cib_q_runner(db, 1, &runner, pool));
    runner->maximum_timeout = 600;
    CIB_TRY(cib_q_runner_update(db, runner, pool));
    CIB_TRY(cib_q_runner(db, 1, &runner, pool));
    is_int(runner->maximum_timeout, 600, "and a limit of time");
    CIB_TRY(cib_q_build_short(db, 1, 1, 1, &counted, pool));
    is_int(counted, 1, "and a trace that was too short");
    return cib_q_build_follow(db, 1, 99, pool);
}

static void test_upgrade(const char *driver)
{
    fixture_t *fx = fixture_bare(driver);
    cib_schema_state_t state;
    int from = -1;

    make_old(fx);
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look at an old one");
    is_int(state.version, 1, "it is of version 1");
    is_reason(upgrade(fx, "0123456789abcdef0123456789abcdef", &from), CIB_REASON_CONFLICT,
              "another instance does not get it");
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look again");
    is_int(state.version, 1, "nor is it changed");
    is_fine(upgrade(fx, fx->storage->id, &from), "bring it up to date");
    is_int(from, 1, "from version 1");
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look at it now");
    is_int(state.version, cib_schema_version(), "the version is this program's");
    is_str(state.instance_id, fx->storage->id, "and the instance the same");
    is_fine(reading(fx, look_at_old, NULL), "what it held");
    is_fine(writing(fx, use_new, NULL), "what it holds now");
    is_fine(upgrade(fx, fx->storage->id, &from), "once more");
    is_int(from, cib_schema_version(), "nothing to do");
    fixture_done(fx);
}

static int upgrade_in_child(fixture_t *fx, int number)
{
    cib_error_t *err;
    int from;

    err = upgrade(fx, fx->storage->id, &from);
    if (err)
        diag("upgrade %d: %s", number, cib_error_text(err, fx->pool));
    return err != CIB_OK;
}

/* Several at once, on an empty database or an old one: one makes it, all are content. */
static void test_at_once(const char *driver, int old)
{
    fixture_t *fx = fixture_bare(driver);
    cib_schema_state_t state;
    pid_t pids[6];

    if (old)
        make_old(fx);
    fixture_detach(fx);
    for (int i = 0; i < 6; i++)
        pids[i] = fork_child(fx, upgrade_in_child, i);
    for (int i = 0; i < 6; i++)
        is_int(exit_code(pids[i]), 0, "upgrade %d of 6 at once", i + 1);
    fixture_attach(fx);
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look at the outcome");
    is_int(state.version, cib_schema_version(), "the schema is there");
    if (old)
        is_fine(reading(fx, look_at_old, NULL), "with what it held");
    fixture_done(fx);
}

static cib_error_t *orphan_need(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_need_add(db, 4711, 4712, pool);
}

static void test_foreign_keys(fixture_t *fx)
{
    cib_error_t *err = writing(fx, orphan_need, NULL);

    is_reason(err, CIB_REASON_INTERNAL, "a row that refers to nothing is refused");
    ok(err && err->detail, "with a detail for the log: %s", err && err->detail ? err->detail : "");
}

/* A mistyped name must not make an empty database. */
static void test_missing_file(fixture_t *fx)
{
    const char *path = apr_pstrcat(fx->pool, fx->dir, "/typo.db", NULL);
    cib_connection_t connection;
    const cib_source_t *source;
    apr_finfo_t info;

    must(cib_source_own(&source, "sqlite3", path, 0, fx->pool), "make a source");
    is_rv(source->open(source->baton, fx->pool, &connection), APR_ENOENT, "no such database");
    is_rv(apr_stat(&info, path, APR_FINFO_TYPE, fx->pool), APR_ENOENT, "and none was made");
    is_rv(cib_source_own(&source, "oracle", path, 0, fx->pool), APR_ENOTIMPL, "no such driver");
}

static void test_no_connection(fixture_t *fx)
{
    const char *nowhere = "host=127.0.0.1 port=1 connect_timeout=1";
    const char *path = apr_pstrcat(fx->pool, fx->dir, "/absent.db", NULL);
    int sqlite = strcmp(fx->driver, "sqlite3") == 0;
    cib_schema_state_t state;
    const cib_source_t *source;
    const char *text;
    apr_time_t when;

    must(cib_source_own(&source, fx->driver, sqlite ? path : nowhere, 0, fx->pool),
         "make a source");
    is_int(cib_store_last_error(fx->store, &text, fx->pool), 0, "no error so far");
    is_reason(cib_schema_state(fx->store, source, &state, fx->pool), CIB_REASON_UNAVAILABLE,
              "no connection: unavailable");
    when = cib_store_last_error(fx->store, &text, fx->pool);
    ok(when && *text, "it is remembered: %s", text);
}

static void tests(const char *driver)
{
    fixture_t *fx = fixture_bare(driver);

    test_no_connection(fx);
    test_fresh(fx);
    test_foreign_keys(fx);
    test_missing_file(fx);
    test_refusals(fx);
    fixture_done(fx);
    test_upgrade(driver);
    test_at_once(driver, 0);
    test_at_once(driver, 1);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

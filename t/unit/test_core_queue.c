/* Who gets what, who may speak for what, and why nothing is given. */
#include "core/cib_description.h"
#include "core_fixture.h"

/* --- tokens at the door */

static void test_authenticate(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);
    const cib_storage_t *storage = core->fx->storage;
    cib_build_t *build;
    const char *token;
    cib_error_t *err;

    is_reason(cib_build_authenticate(&core->ctx, 4711, "x", CIB_OPEN_PROJECT, &build),
              CIB_REASON_NOTHING, "an unknown build is said first");
    is_reason(cib_build_authenticate(&core->ctx, id, NULL, CIB_OPEN_PROJECT, &build),
              CIB_REASON_WRONG_TOKEN, "no token");
    token = cib_token_build(storage, id, 0, core->pool);
    is_reason(cib_build_authenticate(&core->ctx, id, token, CIB_OPEN_PROJECT, &build),
              CIB_REASON_WRONG_TOKEN, "the token of no claim");
    is_fine(cib_build_authenticate(&core->ctx, id, core->project_token, CIB_OPEN_PROJECT, &build),
            "the project's token");
    is_reason(cib_build_authenticate(&core->ctx, id, core->project_token, 0, &build),
              CIB_REASON_WRONG_TOKEN, "not in v4");
    start(core, id);
    token = cib_token_build(storage, id, 1, core->pool);
    is_fine(cib_build_authenticate(&core->ctx, id, token, 0, &build), "the first claim's token");
    is_int(build->id, id, "gives the build");
    fine(cib_build_requeue(&core->ctx, id, 1), "requeue");
    is_fine(cib_build_authenticate(&core->ctx, id, token, 0, &build), "also while it waits");
    start(core, id);
    is_reason(cib_build_authenticate(&core->ctx, id, token, 0, &build), CIB_REASON_WRONG_TOKEN,
              "not once there is a new claim");
    token = cib_token_build(storage, id, 2, core->pool);
    finish(core, id, "failed");
    is_fine(cib_build_authenticate(&core->ctx, id, token, 0, &build), "also after the end");
    fine(cib_build_erase(&core->ctx, id), "erase");
    err = cib_build_authenticate(&core->ctx, id, token, 0, &build);
    is_reason(err, CIB_REASON_ERASED, "erased");
    is_str(err->message, "Build has been erased!", "and it says so");
    is_str(cib_build_authenticate(&core->ctx, id, "x", 0, &build)->message, NULL,
           "a wrong token learns nothing of it");
    sql(core, "UPDATE projects SET removing = 1 WHERE id = %d", (int)core->project);
    err = cib_build_authenticate(&core->ctx, id, token, 0, &build);
    is_str(err ? err->message : NULL, "Project has been deleted!", "a project being removed");
    sql(core, "UPDATE projects SET removing = 0 WHERE id = %d", (int)core->project);
}

static void test_tokens(core_t *core)
{
    cib_project_t row = {.name = "q", .repo_url = "/x", .builds_enabled = 1};
    const char *token, *rotated;
    cib_project_t *project;
    cib_runner_t *runner;
    apr_int64_t id;

    is_fine(cib_project_add(&core->ctx, &row, "imported-token-0001", &id, &token), "an import");
    is_str(token, "imported-token-0001", "as it was");
    fine(cib_project_get(&core->ctx, id, &project), "get");
    is_int(project->timeout, CIB_PROJECT_TIMEOUT, "the default timeout");
    fine(cib_project_token(&core->ctx, project, &token), "token");
    is_str(token, "imported-token-0001", "readable again");
    is_reason(cib_project_add(&core->ctx, &row, "imported-token-0001", &id, &token),
              CIB_REASON_CONFLICT, "not twice");
    fine(cib_project_rotate(&core->ctx, project->id, &rotated), "rotate");
    ok(strcmp(rotated, "imported-token-0001") != 0, "another after a rotation");
    fine(cib_project_get(&core->ctx, project->id, &project), "get");
    fine(cib_project_token(&core->ctx, project, &token), "token");
    is_str(token, rotated, "readable again");
    fine(cib_project_remove(&core->ctx, project->id), "remove");
    is_fine(cib_runner_authenticate(&core->ctx, core->runner_token, &runner), "a runner's token");
    is_int(runner->id, core->shared, "is that runner's");
    is_reason(cib_runner_authenticate(&core->ctx, "", &runner), CIB_REASON_WRONG_TOKEN,
              "an empty one");
    is_reason(cib_runner_authenticate(&core->ctx, NULL, &runner), CIB_REASON_WRONG_TOKEN, "none");
    fine(cib_runner_rotate(&core->ctx, core->shared, CIB_TOKEN_CREATED, &token), "rotate");
    is_reason(cib_runner_authenticate(&core->ctx, core->runner_token, &runner),
              CIB_REASON_WRONG_TOKEN, "the one before a rotation");
    is_fine(cib_runner_authenticate(&core->ctx, token, &runner), "the one after it");
    core->runner_token = token;
}

static void test_register(core_t *core)
{
    cib_runner_info_t info = {.name = "gitlab-runner", .version = "1.11.5", .platform = "a\nb"};
    cib_runner_new_t fresh = {.description = "d", .run_untagged = 1, .info = &info};
    const char *instance = cib_token_registration(core->fx->storage, 0, core->pool);
    apr_array_header_t *ids;
    cib_runner_t *runner;
    const char *token;
    apr_int64_t id;

    is_fine(cib_runner_register(&core->ctx, instance, &fresh, &id, &token), "the instance's token");
    fine(cib_runner_authenticate(&core->ctx, token, &runner), "authenticate");
    ok(runner->id == id && runner->is_shared && runner->active, "makes a shared runner");
    is_str(runner->version, "1.11.5", "with its info");
    is_str(runner->platform, "a b", "made fit for one line");
    is_int(runner->contacted_at, 0, "not heard of yet");
    is_fine(cib_runner_register(&core->ctx, core->project_token, &fresh, &id, &token),
            "a project's token");
    fine(cib_runner_authenticate(&core->ctx, token, &runner), "authenticate");
    ok(!runner->is_shared, "makes a specific one");
    fine(cib_runner_projects(&core->ctx, id, &ids), "projects");
    is_int(APR_ARRAY_IDX(ids, 0, apr_int64_t), core->project, "of that project");
    is_reason(cib_runner_register(&core->ctx, "nobody", &fresh, &id, &token),
              CIB_REASON_WRONG_TOKEN, "nobody's token");
    fresh.run_untagged = 0;
    is_reason(cib_runner_register(&core->ctx, instance, &fresh, &id, &token), CIB_REASON_INVALID,
              "no tags and no untagged builds");
    is_reason(cib_runner_register(&core->ctx, "nobody", &fresh, &id, &token),
              CIB_REASON_WRONG_TOKEN, "a wrong token comes first");
    is_int(id, 0, "nothing is made");
}

/* --- contact */

static void test_contact(core_t *core)
{
    cib_runner_info_t info = {.name = "n", .version = "1.0"}, other = {.version = "2.0"};
    cib_runner_t *runner, *seen;
    apr_time_t first;
    int written = 0;

    fine(cib_runner_get(&core->ctx, core->shared, &runner), "get");
    is_str(cib_runner_status(runner, apr_time_now()), "not_connected", "never heard of");
    fine(cib_runner_contact(&core->ctx, runner, &info), "contact");
    fine(cib_runner_get(&core->ctx, core->shared, &seen), "get");
    is_str(seen->version, "1.0", "info is stored");
    first = seen->contacted_at;
    is_str(cib_runner_status(seen, first + 1), "online", "online");
    is_str(cib_runner_status(seen, first + CIB_ONLINE_WITHIN + 1), "offline", "later offline");
    fine(cib_runner_contact(&core->ctx, seen, &info), "contact");
    fine(cib_runner_contact(&core->ctx, seen, NULL), "contact");
    fine(cib_runner_get(&core->ctx, core->shared, &runner), "get");
    ok(runner->contacted_at == first, "the same again writes nothing");
    for (int i = 0; i < 20; i++) {
        fine(cib_runner_get(&core->ctx, core->shared, &runner), "get");
        first = runner->contacted_at;
        fine(cib_runner_contact(&core->ctx, runner, i % 2 ? &info : &other), "contact");
        fine(cib_runner_get(&core->ctx, core->shared, &seen), "get");
        written += seen->contacted_at != first;
    }
    ok(written >= 4 && written <= 5, "info that alternates is written %d times of 20", written);
    is_str(seen->name, "n", "what is not said is no difference");
    sql(core, "UPDATE runners SET contacted_at = 1 WHERE id = %d", (int)core->shared);
    fine(cib_runner_get(&core->ctx, core->shared, &runner), "get");
    fine(cib_runner_contact(&core->ctx, runner, NULL), "contact");
    fine(cib_runner_get(&core->ctx, core->shared, &seen), "get");
    ok(seen->contacted_at > 1, "an old contact time is renewed");
    ok(runner->contacted_at == seen->contacted_at, "also in the caller's hand");
}

/* --- the queue */

static apr_int64_t tagged_build(core_t *core, const char *tags)
{
    apr_array_header_t *list = apr_array_make(core->pool, 1, sizeof(const char *));
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA, .tags = list};

    APR_ARRAY_PUSH(list, const char *) = tags;
    fine(cib_build_add(&core->ctx, &fresh, 1, ids), "add");
    return APR_ARRAY_IDX(ids, 0, apr_int64_t);
}

static apr_int64_t ask(core_t *core, const cib_runner_t *runner, const char *last,
                       const char **value)
{
    cib_claim_t claimed;

    fine(cib_queue_claim(&core->ctx, runner, last, &claimed), "claim");
    *value = claimed.last_update;
    return claimed.build_id;
}

static cib_runner_t *runner_of(core_t *core, apr_int64_t id)
{
    cib_runner_t *runner;

    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    return runner;
}

/* A source that raises the runner's generation when a connection is given back: what the search did
 * not see is committed behind it. */
typedef struct meddling_t {
    const cib_source_t *real;
    cib_generation_t *gen;
    apr_int64_t runner;
} meddling_t;

static apr_status_t meddling_open(void *baton, apr_pool_t *pool, cib_connection_t *connection)
{
    const meddling_t *meddling = baton;

    return meddling->real->open(meddling->real->baton, pool, connection);
}

static void meddling_close(void *baton, cib_connection_t *connection, int broken)
{
    const meddling_t *meddling = baton;

    meddling->real->close(meddling->real->baton, connection, broken);
    cib_generation_raise(meddling->gen, meddling->runner);
}

static void test_raised_meanwhile(core_t *core)
{
    meddling_t meddling = {core->fx->source, core->fx->gen, core->shared};
    const cib_source_t source = {meddling_open, meddling_close, &meddling};
    const char *before, *value;
    cib_ctx_t ctx = core->ctx;
    cib_claim_t claimed;

    ctx.source = &source;
    before = cib_queue_value(&ctx, core->runner);
    fine(cib_queue_claim(&ctx, core->runner, NULL, &claimed), "claim");
    value = claimed.last_update;
    is_int(claimed.build_id, 0, "nothing to do");
    is_str(value, before, "the value is the one before the search");
    ok(strcmp(cib_queue_value(&ctx, core->runner), value) != 0, "what came meanwhile makes it old");
}

static void set_active(core_t *core, apr_int64_t id, int active)
{
    cib_runner_change_t change = CIB_RUNNER_UNCHANGED;

    change.active = active;
    fine(cib_runner_set(&core->ctx, id, &change), "pause or resume");
}

static void test_last_update(core_t *core)
{
    const char *value, *next, *token;
    apr_int64_t id, other = new_runner(core, "deploy", 0, 0, &token);
    cib_claim_t claimed;
    int sqlite = strcmp(core->fx->driver, "sqlite3") == 0;

    while (claim(core))
        continue;
    test_raised_meanwhile(core);
    is_int(ask(core, core->runner, NULL, &value), 0, "nothing to do");
    is_int(ask(core, core->runner, value, &next), 0, "still nothing");
    is_str(next, value, "the value stays");
    tagged_build(core, "deploy");
    is_int(ask(core, core->runner, value, &next), 0, "nothing for this one");
    is_str(next, value, "whose value stays");
    ok(ask(core, runner_of(core, other), NULL, &next) != 0, "but for another");
    other = new_runner(core, "", 1, core->project, &token);
    value = cib_queue_value(&core->ctx, runner_of(core, other));
    fine(cib_runner_bind(&core->ctx, other, new_project(core, "/q")), "bind");
    ok(strcmp(cib_queue_value(&core->ctx, runner_of(core, other)), value) != 0,
       "one more project changes it");
    fine(cib_runner_remove(&core->ctx, other), "remove");
    value = cib_queue_value(&core->ctx, core->runner);
    if (sqlite) {
        id = new_build(core, 0, 0);
        sql(core, "UPDATE builds SET ref = ref");
        is_int(ask(core, core->runner, cib_queue_value(&core->ctx, core->runner), &next), 0,
               "who says that it knows is believed");
        is_int(ask(core, core->runner, value, &next), id, "who sends an old value is not");
    } else {
        id = new_build(core, 0, 0);
        is_int(ask(core, core->runner, cib_queue_value(&core->ctx, core->runner), &next), id,
               "on PostgreSQL there is always a search");
    }
    value = cib_queue_value(&core->ctx, core->runner);
    fine(cib_build_requeue(&core->ctx, id, 1), "requeue");
    ok(strcmp(cib_queue_value(&core->ctx, core->runner), value) != 0, "a requeue changes it");
    value = cib_queue_value(&core->ctx, core->runner);
    is_int(claim(core), id, "claim");
    is_str(cib_queue_value(&core->ctx, core->runner), value, "a claim does not");
    set_active(core, core->shared, 0);
    ok(strcmp(cib_queue_value(&core->ctx, core->runner), value) != 0, "its settings do");
    new_build(core, 0, 0);
    is_reason(cib_queue_claim(&core->ctx, runner_of(core, core->shared), NULL, &claimed),
              CIB_REASON_NOTHING, "a paused runner gets nothing");
    ok(!claimed.last_update, "and no value");
    set_active(core, core->shared, 1);
    ok(claim(core) != 0, "until it is resumed");
}

static const char *why(core_t *core, apr_int64_t id)
{
    apr_array_header_t *reasons;

    fine(cib_build_pending_reasons(&core->ctx, build_of(core, id), &reasons), "reasons");
    return reasons->nelts ? apr_array_pstrcat(core->pool, reasons, ';') : "";
}

static void test_reasons(core_t *core)
{
    apr_int64_t old = core->project, id, tagged, specific;
    cib_project_change_t change = CIB_PROJECT_UNCHANGED;
    const char *token;

    core->project = new_project(core, "https://example.org/r.git");
    id = new_build(core, 0, 0);
    fine(cib_runner_contact(&core->ctx, runner_of(core, core->shared), NULL), "contact");
    is_str(why(core, id), "", "a runner could take it");
    change.shared_runners_enabled = 0;
    fine(cib_project_set(&core->ctx, core->project, &change), "set");
    is_str(why(core, id),
           "there is no runner for the project;shared runners are switched off for the project",
           "shared runners off");
    specific = new_runner(core, "a,b", 0, core->project, &token);
    is_str(why(core, id), "no runner of the project takes builds without tags", "untagged");
    tagged = tagged_build(core, "a,c,d");
    is_str(why(core, tagged), "no runner of the project has the tags: c,d", "tags missing");
    new_runner(core, "c,d", 0, core->project, &token);
    is_str(why(core, tagged), "no runner of the project has all of the build's tags",
           "tags missing together");
    tagged = tagged_build(core, "b");
    is_str(why(core, tagged), "no runner that could take it is online", "none online");
    set_active(core, specific, 0);
    is_str(why(core, tagged), "all runners that could take it are paused", "all paused");
    set_active(core, specific, 1);
    fine(cib_runner_contact(&core->ctx, runner_of(core, specific), NULL), "contact");
    is_str(why(core, tagged), "", "one online");
    change.builds_enabled = 0;
    fine(cib_project_set(&core->ctx, core->project, &change), "set");
    is_str(why(core, tagged), "builds are switched off for the project", "builds off");
    fine(cib_build_cancel(&core->ctx, tagged), "cancel");
    is_str(why(core, tagged), "", "nothing is pending");
    core->project = old;
}

/* --- the description */

static void test_description(core_t *core)
{
    apr_array_header_t *variables = apr_array_make(core->pool, 3, sizeof(cib_variable_t));
    apr_array_header_t *needs = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    cib_variable_t secret = {.key = "S", .value = "hidden-value", .is_public = 0},
                   open = {.key = "P", .value = "public", .is_public = 1};
    cib_build_new_t fresh = {.project_id = core->project,
                             .sha = SHA,
                             .commands = "a\nb",
                             .options = "{\"image\":\"x\"}",
                             .variables = variables,
                             .needs = needs};
    apr_int64_t need = ended_build(core, "success"), id, again;
    cib_description_t *about;
    cib_project_change_t change = CIB_PROJECT_UNCHANGED;
    cib_error_t *err;

    APR_ARRAY_PUSH(variables, cib_variable_t) = secret;
    APR_ARRAY_PUSH(variables, cib_variable_t) = open;
    APR_ARRAY_PUSH(needs, apr_int64_t) = need;
    fine(cib_build_add(&core->ctx, &fresh, 1, ids), "add");
    id = APR_ARRAY_IDX(ids, 0, apr_int64_t);
    start(core, id);
    fine(cib_describe(&core->ctx, id, &about), "describe");
    is_str(about->token, cib_token_build(core->fx->storage, id, 1, core->pool), "its token");
    is_str(about->repo_url, "https://example.org/p.git", "no token in the URL");
    is_str(about->commands, "a\nb", "its commands");
    is_str(json_object_get_string(
               json_object_object_get(json_object_object_get(about->options, "image"), "name")),
           "x", "options");
    is_int(about->runner->id, core->shared, "its runner");
    is_int(about->variables->nelts, 2, "variables");
    is_str(APR_ARRAY_IDX(about->variables, 0, cib_variable_t *)->key, "P", "the public first");
    is_str(APR_ARRAY_IDX(about->variables, 1, cib_variable_t *)->value, "hidden-value", "opened");
    is_int(APR_ARRAY_IDX(about->dependencies, 0, cib_dependency_t *)->build->id, need, "its need");
    is_str(APR_ARRAY_IDX(about->dependencies, 0, cib_dependency_t *)->token,
           cib_token_build(core->fx->storage, need, 1, core->pool), "with that one's token");
    change.repo_auth_token = 1;
    fine(cib_project_set(&core->ctx, core->project, &change), "set");
    fine(cib_describe(&core->ctx, id, &about), "describe");
    is_str(about->repo_url,
           apr_psprintf(core->pool, "https://gitlab-ci-token:%s@example.org/p.git", about->token),
           "the token in the URL where the project wants it");
    change.repo_url = "https://me@example.org/p.git";
    fine(cib_project_set(&core->ctx, core->project, &change), "set");
    fine(cib_describe(&core->ctx, id, &about), "describe");
    is_str(about->repo_url, change.repo_url, "not where there is user info");
    finish(core, id, "failed");
    fine(cib_build_retry(&core->ctx, id, &again), "retry");
    start(core, again);
    fine(cib_describe(&core->ctx, again, &about), "describe");
    is_str(APR_ARRAY_IDX(about->variables, 1, cib_variable_t *)->value, "hidden-value",
           "a retry has the secrets too");
    sql(core,
        "UPDATE build_variables SET value = (SELECT value FROM build_variables WHERE build_id = %d "
        "AND key = 'S') WHERE build_id = %d AND key = 'S'",
        (int)id, (int)again);
    is_reason(cib_describe(&core->ctx, again, &about), CIB_REASON_INTERNAL, "another build's");
    sql(core, "UPDATE build_variables SET value = 'x' WHERE key = 'S' AND build_id = %d",
        (int)again);
    is_reason(cib_describe(&core->ctx, again, &about), CIB_REASON_INTERNAL, "a damaged secret");
    err = cib_describe(&core->ctx, 4711, &about);
    is_reason(err, CIB_REASON_NO_RECORD, "no build");
    ok(!about, "no description");
}

/* --- what is told with a claim */

static void test_telling(core_t *core)
{
    int sqlite = cib_store_driver(core->ctx.store) == CIB_DRIVER_SQLITE3;
    apr_int64_t id = new_build(core, 0, 0);
    cib_description_t *about;
    cib_claim_t claimed;
    cib_error_t *err;

    start(core, id); /* so there is nothing else left */
    id = new_build(core, 0, 0);
    fine(cib_queue_claim(&core->ctx, core->runner, NULL, &claimed), "claim");
    is_int(claimed.build_id, id, "a claim");
    ok(!claimed.telling == !sqlite, "on SQLite what it is told was asked for with it");
    is_fine(cib_describe_claim(&core->ctx, &claimed, &about), "it is described");
    is_int(about->build->id, id, "  it and no other");
    is_int(about->build->status, CIB_RUNNING, "  as it is after the claim");
    is_str(about->token, cib_token_build(core->fx->storage, id, 1, core->pool), "  with its token");

    id = new_build(core, 0, 0);
    sql(core, "ALTER TABLE build_specs RENAME TO specs_elsewhere");
    err = cib_queue_claim(&core->ctx, core->runner, NULL, &claimed);
    if (!err)
        err = cib_describe_claim(&core->ctx, &claimed, &about);
    is_reason(err, CIB_REASON_UNAVAILABLE, "what the database cannot say now");
    sql(core, "ALTER TABLE specs_elsewhere RENAME TO build_specs");
    is_str(status_of(core, id), sqlite ? "pending" : "running", "undoes the claim it came with");
    is_int(build_of(core, id)->claim, !sqlite, "  as if there had been none");

    if (!sqlite)
        id = new_build(core, 0, 0);
    sql(core, "DELETE FROM build_specs WHERE build_id = %d", (int)id);
    is_fine(cib_queue_claim(&core->ctx, core->runner, NULL, &claimed),
            "one of which a part misses");
    is_int(claimed.build_id, id, "  is claimed");
    is_reason(cib_describe_claim(&core->ctx, &claimed, &about), CIB_REASON_NO_RECORD,
              "  and cannot be described");
    is_str(status_of(core, id), "running", "  which is the caller's to undo");
}

/* --- hearing */

static void test_heard(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);
    cib_build_t *build;
    apr_time_t first;

    start(core, id);
    build = build_of(core, id);
    is_int(build->heard_at, 0, "not heard of yet");
    is_fine(cib_build_heard(&core->ctx, build), "a word");
    build = build_of(core, id);
    first = build->heard_at;
    ok(first > 0, "the first word is written at once");
    is_fine(cib_build_heard(&core->ctx, build), "another");
    ok(build_of(core, id)->heard_at == first, "the next is not");
    build->heard_at -= apr_time_from_sec(61);
    is_fine(cib_build_heard(&core->ctx, build), "a later one");
    ok(build_of(core, id)->heard_at > first, "one after a minute is");
    finish(core, id, "success");
    build = build_of(core, id);
    build->heard_at = 0;
    is_fine(cib_build_heard(&core->ctx, build), "who speaks late");
    ok(build_of(core, id)->finished_at > 0, "an ended build is left alone");
    id = new_build(core, 0, 0);
    start(core, id);
    build = build_of(core, id);
    sql(core, "UPDATE builds SET claim = claim + 1 WHERE id = %d", (int)id);
    is_reason(cib_build_heard(&core->ctx, build), CIB_REASON_FORBIDDEN,
              "who has just lost its claim is told so at its first word");
    is_int(build_of(core, id)->heard_at, 0, "  which is nobody's");
    build = build_of(core, id);
    sql(core, "ALTER TABLE builds RENAME TO builds_elsewhere");
    ok(cib_build_heard(&core->ctx, build) != CIB_OK, "a first word that cannot be written fails");
    build->heard_at = 1;
    is_fine(cib_build_heard(&core->ctx, build), "  a later one does not");
    sql(core, "ALTER TABLE builds_elsewhere RENAME TO builds");
    is_fine(cib_build_heard(&core->ctx, build_of(core, id)), "and then it is written");
    ok(build_of(core, id)->heard_at > 0, "  as it should");
    finish(core, id, "success");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_authenticate(core);
    test_tokens(core);
    test_register(core);
    test_contact(core);
    test_last_update(core);
    test_reasons(core);
    test_description(core);
    test_telling(core);
    test_heard(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

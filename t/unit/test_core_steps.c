/* The state machine: every step and none other, what follows from one, and what is done again. */
#include "../../src/core/transition.h"
#include "core_fixture.h"
#include "util/cib_crypto.h"

/* --- every pair */

typedef struct stepping_t {
    apr_int64_t id;
    cib_move_t move;
    int moved;
} stepping_t;

static cib_error_t *step(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    stepping_t *stepping = baton;

    return cib_transition(db, stepping->id, &stepping->move, &stepping->moved, pool);
}

static apr_int64_t build_in(core_t *core, cib_status_e status)
{
    apr_int64_t id;

    switch (status) {
    case CIB_CREATED:
        return new_build(core, new_build(core, 0, 0), 0);
    case CIB_PENDING:
        return new_build(core, 0, 0);
    case CIB_RUNNING:
        id = new_build(core, 0, 0);
        start(core, id);
        return id;
    case CIB_SKIPPED:
        return new_build(core, ended_build(core, "failed"), 0);
    case CIB_CANCELED:
        id = new_build(core, 0, 0);
        fine(cib_build_cancel(&core->ctx, id), "cancel");
        return id;
    default:
        return ended_build(core, cib_status_name(status));
    }
}

static void try_pair(core_t *core, cib_status_e from, cib_status_e to, int expected)
{
    stepping_t stepping = {.id = build_in(core, from),
                           .move = {.from = from, .to = to, .now = apr_time_now()}};

    stepping.move.requeue = from == CIB_RUNNING && to == CIB_PENDING;
    fine(cib_store_write(core->ctx.store, core->ctx.source, CIB_WRITE_MANY, step, &stepping,
                         core->pool),
         "step");
    is_int(stepping.moved, expected, "%s to %s", cib_status_name(from), cib_status_name(to));
    is_str(status_of(core, stepping.id), cib_status_name(expected ? to : from), "and so it is %s",
           cib_status_name(expected ? to : from));
}

static void test_pairs(core_t *core)
{
    /* from rows to columns, in the order of cib_status_e */
    static const char steps[CIB_STATUSES][CIB_STATUSES + 1] = {
        ".p...cs" /* created */,
        "..r.fc." /* pending: running is the claim's */,
        ".p.sfc." /* running */,
        "......." /* success */,
        "......." /* failed */,
        "......." /* canceled */,
        "......." /* skipped: only a retry reopens it */};

    for (int from = 0; from < CIB_STATUSES; from++) {
        for (int to = 0; to < CIB_STATUSES; to++)
            try_pair(core, (cib_status_e)from, (cib_status_e)to, steps[from][to] != '.');
    }
}

/* A move from where the build is not. */
static void test_guard(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);
    const cib_ending_t success = {.state = "success", .bytesize = -1};
    cib_build_t *first;
    cib_ended_e ended;

    start(core, id);
    first = build_of(core, id);
    is_int(first->claim, 1, "the first claim");
    fine(cib_build_requeue(&core->ctx, id, 1), "requeue");
    is_str(status_of(core, id), "pending", "pending again");
    is_int(build_of(core, id)->runner_id, 0, "nobody's");
    start(core, id);
    is_int(build_of(core, id)->claim, 2, "the second claim");
    fine(cib_build_finish(&core->ctx, first, &success, &ended), "finish");
    is_int(ended, CIB_ENDED_NOT, "the first claim's end does not count");
    fine(cib_build_requeue(&core->ctx, id, 1), "requeue");
    fine(cib_build_fail(&core->ctx, id, 1, "runner_lost"), "fail");
    is_str(status_of(core, id), "running", "nor anything else of it");
    is_int(finish(core, id, "running"), 0, "any other word moves nothing");
    is_int(finish(core, id, "success"), 1, "the second claim's does");
    is_int(finish(core, id, "failed"), 0, "once");
    is_str(status_of(core, id), "success", "and stays");
}

static void test_requeues(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);

    for (int i = 1; i <= 3; i++) {
        start(core, id);
        fine(cib_build_requeue(&core->ctx, id, i), "requeue");
        is_str(status_of(core, id), "pending", "back for the %dth time", i);
    }
    start(core, id);
    fine(cib_build_requeue(&core->ctx, id, 4), "requeue");
    is_str(status_of(core, id), "failed", "not for a fourth");
    is_str(build_of(core, id)->failure_reason, "runner_lost", "runner_lost");
}

/* What no runner was told of is put back as often as need be. */
static void test_put_back(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);

    fine(cib_build_put_back(&core->ctx, id, 0), "put back what was never claimed");
    for (int i = 1; i <= 5; i++) {
        start(core, id);
        fine(cib_build_put_back(&core->ctx, id, i - 1), "put back for a former claim");
        is_str(status_of(core, id), "running", "a former claim moves nothing");
        fine(cib_build_put_back(&core->ctx, id, i), "put back");
        is_str(status_of(core, id), "pending", "put back for the %dth time", i);
    }
    is_int(build_of(core, id)->requeues, 0, "and that is no mark");
    start(core, id);
    finish(core, id, "success");
}

static void test_reasons(core_t *core)
{
    apr_int64_t id = ended_build(core, "failed");
    cib_build_t *build = build_of(core, id);
    const cib_ending_t ending = {.state = "failed",
                                 .failure_reason = "runner_system_failure",
                                 .has_exit_code = 1,
                                 .exit_code = 137,
                                 .bytesize = -1};
    cib_ended_e ended;

    is_str(build->failure_reason, "unknown_failure", "the reason by default");
    ok(build->finished_at >= build->started_at && build->started_at >= build->queued_at,
       "each step has its time");
    id = new_build(core, 0, 0);
    start(core, id);
    fine(cib_build_finish(&core->ctx, build_of(core, id), &ending, &ended), "finish");
    build = build_of(core, id);
    is_str(build->failure_reason, "runner_system_failure", "a reason as given");
    is_int(build->has_exit_code ? build->exit_code : -1, 137, "and the exit code");
    is_reason(cib_build_cancel(&core->ctx, id), CIB_REASON_CONFLICT, "an end cannot be canceled");
    is_reason(cib_build_cancel(&core->ctx, 999999), CIB_REASON_NO_RECORD, "nor what is not there");
}

/* --- what follows */

static void test_needs(core_t *core)
{
    apr_int64_t a = new_build(core, 0, 0), b = new_build(core, 0, 0);
    apr_int64_t both = new_build(core, a, b), then = new_build(core, both, 0);

    is_str(status_of(core, both), "created", "waits for two");
    start(core, a);
    start(core, b);
    finish(core, a, "success");
    is_str(status_of(core, both), "created", "waits for one");
    finish(core, b, "success");
    is_str(status_of(core, both), "pending", "waits no more");
    is_str(status_of(core, then), "created", "its own dependent does");
    is_str(status_of(core, new_build(core, a, b)), "pending", "born pending");
    is_int(claim(core), both, "can be claimed");
    fine(cib_build_cancel(&core->ctx, both), "cancel");
    is_str(status_of(core, then), "skipped", "skipped for a canceled one");
    is_str(status_of(core, new_build(core, then, 0)), "skipped", "born skipped");
    ok(build_of(core, then)->finished_at > 0, "a skip is an end with a time");
}

static void test_skip_and_reopen(core_t *core)
{
    apr_int64_t a = new_build(core, 0, 0), other = new_build(core, 0, 0);
    apr_int64_t b = new_build(core, a, 0), c = new_build(core, b, other), d = new_build(core, c, 0);
    apr_int64_t again, third;
    apr_array_header_t *needs;

    start(core, a);
    start(core, other);
    finish(core, a, "failed");
    is_str(status_of(core, b), "skipped", "skipped");
    is_str(status_of(core, c), "skipped", "its dependent");
    is_str(status_of(core, d), "skipped", "and that one's");
    is_reason(cib_build_retry(&core->ctx, other, &again), CIB_REASON_CONFLICT,
              "a running build cannot be retried");
    fine(cib_build_retry(&core->ctx, a, &again), "retry");
    is_str(status_of(core, a), "failed", "the old one stays");
    is_str(status_of(core, again), "pending", "the new one waits for a runner");
    is_int(build_of(core, again)->retry_of, a, "and knows whose retry it is");
    is_str(status_of(core, b), "created", "reopened");
    is_str(status_of(core, c), "created", "its dependent");
    is_str(status_of(core, d), "created", "and that one's");
    ok(!build_of(core, d)->finished_at, "which has not ended now");
    fine(cib_build_needs(&core->ctx, b, &needs), "needs");
    is_int(APR_ARRAY_IDX(needs, 0, apr_int64_t), again, "it needs the new one now");
    finish(core, other, "failed");
    is_str(status_of(core, c), "skipped", "for its other need");
    is_str(status_of(core, d), "skipped", "in turn");
    start(core, again);
    finish(core, again, "failed");
    is_str(status_of(core, b), "skipped", "skipped once more");
    fine(cib_build_retry(&core->ctx, again, &third), "retry");
    is_str(status_of(core, b), "created", "reopened once more");
    is_str(status_of(core, c), "skipped", "but not where another need ended badly");
    start(core, third);
    finish(core, third, "success");
    is_str(status_of(core, b), "pending", "at last");
}

static void test_retry_of_dependents(core_t *core)
{
    apr_int64_t a = ended_build(core, "success"), b = new_build(core, a, 0), again, after;
    apr_array_header_t *needs;

    start(core, b);
    finish(core, b, "success");
    fine(cib_build_retry(&core->ctx, a, &again), "retry");
    fine(cib_build_needs(&core->ctx, b, &needs), "needs");
    is_int(APR_ARRAY_IDX(needs, 0, apr_int64_t), a, "who ran keeps what it needed");
    fine(cib_build_retry(&core->ctx, b, &after), "retry");
    is_str(status_of(core, after), "pending", "pending where all needs are success");
    fine(cib_build_needs(&core->ctx, after, &needs), "needs");
    is_int(APR_ARRAY_IDX(needs, 0, apr_int64_t), a, "with the same needs");
    b = new_build(core, ended_build(core, "failed"), 0);
    fine(cib_build_retry(&core->ctx, b, &after), "retry");
    is_str(status_of(core, after), "skipped", "skipped where one is not");
}

/* A retry has the place of what it is a copy of: only the newest is reopened, and runs once. */
static void test_retry_of_skipped(core_t *core)
{
    apr_int64_t a = ended_build(core, "failed"), b = new_build(core, a, 0);
    apr_int64_t c = new_build(core, b, 0), d = new_build(core, c, 0);
    apr_int64_t a2, a3, b2, b3, c2;
    apr_array_header_t *needs;

    fine(cib_build_retry(&core->ctx, b, &b2), "retry");
    is_str(status_of(core, b2), "skipped", "what it needs has failed still");
    fine(cib_build_retry(&core->ctx, b2, &b3), "retry");
    fine(cib_build_retry(&core->ctx, c, &c2), "retry");
    fine(cib_build_retry(&core->ctx, a, &a2), "retry");
    is_str(status_of(core, b), "skipped", "a skipped build that was retried is not reopened");
    is_str(status_of(core, b2), "skipped", "nor its retry that was retried");
    is_str(status_of(core, b3), "created", "but the newest one");
    is_str(status_of(core, c), "skipped", "nor one that needs it and was retried");
    is_str(status_of(core, c2), "created", "but its retry");
    is_str(status_of(core, d), "created", "and what waits for it");
    fine(cib_build_needs(&core->ctx, b, &needs), "needs");
    is_int(APR_ARRAY_IDX(needs, 0, apr_int64_t), a, "it keeps what it needed");
    fine(cib_build_needs(&core->ctx, d, &needs), "needs");
    is_int(APR_ARRAY_IDX(needs, 0, apr_int64_t), c2, "the others need the retry");
    start(core, a2);
    finish(core, a2, "success");
    is_int(claim(core), b3, "which runs");
    is_int(claim(core), 0, "alone");
    finish(core, b3, "success");
    is_int(claim(core), c2, "then its dependent");
    finish(core, c2, "success");
    is_int(claim(core), d, "and that one's");
    finish(core, d, "success");
    fine(cib_build_retry(&core->ctx, a, &a3), "retry");
    is_str(status_of(core, b), "skipped", "whatever is retried once more");
    start(core, a3);
    finish(core, a3, "success");
    is_int(claim(core), 0, "nothing runs twice");
}

/* --- two needs that end at one moment in two transactions */

typedef struct race_t {
    cib_build_t *needs[2];
    int moved[2];
    const core_t *core;
    const char *states[2];
} race_t;

static race_t race;

static void end_one(fixture_t *fx, int number, apr_pool_t *pool)
{
    const cib_ending_t ending = {.state = race.states[number], .bytesize = -1};
    cib_ctx_t ctx = race.core->ctx;
    cib_ended_e ended;

    ctx.pool = pool;
    fine(cib_build_finish(&ctx, race.needs[number], &ending, &ended), "finish");
    race.moved[number] = ended == CIB_ENDED;
}

static void test_race(core_t *core)
{
    int lost = 0;

    race.core = core;
    for (int i = 0; i < 25; i++) {
        apr_int64_t a = new_build(core, 0, 0), b = new_build(core, 0, 0);
        apr_int64_t both = new_build(core, a, b);

        start(core, a);
        start(core, b);
        race.needs[0] = build_of(core, a);
        race.needs[1] = build_of(core, b);
        race.states[0] = "success";
        race.states[1] = i % 3 ? "success" : "failed";
        in_threads(core->fx, 2, end_one);
        lost += strcmp(status_of(core, both), i % 3 ? "pending" : "skipped") != 0;
        if (i % 3)
            start(core, both);
    }
    is_int(lost, 0, "no dependent is forgotten");
}

/* --- a need that ends while somebody adds what needs it */

static apr_int64_t added[2];

static void end_or_add(fixture_t *fx, int number, apr_pool_t *pool)
{
    core_t mine = *race.core;

    if (!number) {
        end_one(fx, 0, pool);
        return;
    }
    mine.pool = mine.ctx.pool = pool;
    for (int i = 0; i < 2; i++)
        added[i] = new_build(&mine, race.needs[0]->id, 0);
}

static void test_race_adding(core_t *core)
{
    int lost = 0;

    race.core = core;
    for (int i = 0; i < 25; i++) {
        apr_int64_t a = new_build(core, 0, 0);
        const char *want = i % 3 ? "pending" : "skipped";

        start(core, a);
        race.needs[0] = build_of(core, a);
        race.states[0] = i % 3 ? "success" : "failed";
        in_threads(core->fx, 2, end_or_add);
        lost += strcmp(status_of(core, added[0]), want) != 0;
        lost += strcmp(status_of(core, added[1]), want) != 0;
        if (i % 3)
            start(core, added[1]);
    }
    is_int(lost, 0, "nobody waits for what has ended");
}

/* --- beginning */

static void refused(core_t *core, const cib_build_new_t *fresh, const char *what)
{
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));

    is_reason(cib_build_add(&core->ctx, fresh, 1, ids), CIB_REASON_INVALID, what);
    is_int(ids->nelts, 0, "and nothing is made");
}

/* Tags of 64 characters that nobody can compress. */
static apr_array_header_t *noisy_tags(core_t *core, int count)
{
    apr_array_header_t *tags = apr_array_make(core->pool, count, sizeof(const char *));

    for (int i = 0; i < count; i++)
        APR_ARRAY_PUSH(tags, const char *) = cib_sha256_hex(&i, sizeof(i), core->pool);
    return tags;
}

static void test_validation(core_t *core)
{
    static const char *const options[] = {
        "[]",
        "{",
        "{} x",
        "\"\"",
        "",
        "{\"artifacts\":{\"paths\":\"x\"}}",
        "{\"after_script\":\"x\"}",
        "{\"dependencies\":[1]}",
        "{\"cache\":{\"untracked\":\"yes\"}}",
        "{\"artifacts\":[1]}",
        "{\"image\":7}",
    };
    cib_build_new_t good = {.project_id = core->project, .sha = SHA}, bad = good;
    cib_variable_t variable = {.key = "K", .value = "v", .is_public = 0};
    apr_array_header_t *variables = apr_array_make(core->pool, 1, sizeof(cib_variable_t));
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        bad = good;
        bad.options = options[i];
        refused(core, &bad, apr_psprintf(core->pool, "options %s", options[i]));
    }
    bad = good;
    bad.sha = "abc";
    refused(core, &bad, "a short sha");
    bad.sha = NULL;
    refused(core, &bad, "no sha");
    bad = good;
    bad.ref = "";
    refused(core, &bad, "an empty ref");
    bad = good;
    bad.name = "a\nb";
    refused(core, &bad, "a name of two lines");
    bad.name = "\xff";
    refused(core, &bad, "a name that is no UTF-8");
    bad = good;
    bad.commands = "\xc3";
    refused(core, &bad, "commands that are no UTF-8");
    bad = good;
    bad.timeout = -1;
    refused(core, &bad, "a negative timeout");
    variable.key = "A-B";
    APR_ARRAY_PUSH(variables, cib_variable_t) = variable;
    bad = good;
    bad.variables = variables;
    refused(core, &bad, "a variable with a dash");
    /* PostgreSQL must not be the one to refuse it, nor refuse what passes here */
    bad.variables = NULL;
    bad.tags = noisy_tags(core, 33);
    refused(core, &bad, "more than 2048 bytes of tags");
    bad.tags = noisy_tags(core, 31);
    fine(cib_build_add(&core->ctx, &bad, 1, ids), "add");
    is_int(ids->nelts, 1, "a little less is fine");
    apr_array_clear(ids);
    bad = good;
    bad.project_id = 4711;
    is_reason(cib_build_add(&core->ctx, &bad, 1, ids), CIB_REASON_NO_RECORD, "no such project");
    bad = good;
    bad.options = "{\"artifacts\":{\"paths\":[\"a\"],\"when\":null},\"image\":{\"name\":\"i\"},"
                  "\"services\":[\"s\"],\"after_script\":[],\"other\":1}";
    fine(cib_build_add(&core->ctx, &bad, 1, ids), "add");
    is_int(ids->nelts, 1, "options as they should be");
    is_int(build_of(core, APR_ARRAY_IDX(ids, 0, apr_int64_t))->timeout, 600,
           "the project's timeout");
}

static void test_many(core_t *core)
{
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA};
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *pending;
    int in_order = 1;

    fine(cib_build_add(&core->ctx, &fresh, 1203, ids), "add");
    is_int(ids->nelts, 1203, "more than one batch");
    for (int i = 1; i < ids->nelts; i++)
        in_order &= APR_ARRAY_IDX(ids, i - 1, apr_int64_t) < APR_ARRAY_IDX(ids, i, apr_int64_t);
    ok(in_order, "in order");
    fine(cib_build_list(&core->ctx, CIB_PENDING, core->project,
                        APR_ARRAY_IDX(ids, 0, apr_int64_t) - 1, -1, &pending),
         "list");
    is_int(pending->nelts, 1203, "all pending");
}

/* Equal builds that need one, or several. */
static void add_needing(core_t *core, const apr_array_header_t *needs, int count,
                        apr_array_header_t *ids)
{
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA, .needs = needs};

    fine(cib_build_add(&core->ctx, &fresh, count, ids), "add");
}

static int count_in(core_t *core, const apr_array_header_t *ids, cib_status_e status)
{
    int count = 0;

    for (int i = 0; i < ids->nelts; i++)
        count += build_of(core, APR_ARRAY_IDX(ids, i, apr_int64_t))->status == status;
    return count;
}

/* As many as wait for one build, in the transaction that ends it. */
static void test_many_dependents(core_t *core)
{
    apr_array_header_t *first = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *second = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *third = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *needs = apr_array_make(core->pool, 2, sizeof(apr_int64_t));
    apr_array_header_t *two = apr_array_make(core->pool, 2, sizeof(apr_int64_t));
    apr_int64_t old = core->project, a, again;

    core->project = new_project(core, "https://example.org/many.git");
    a = new_build(core, 0, 0);
    APR_ARRAY_PUSH(needs, apr_int64_t) = a;
    add_needing(core, needs, 700, first);
    APR_ARRAY_PUSH(two, apr_int64_t) = APR_ARRAY_IDX(first, 0, apr_int64_t);
    APR_ARRAY_PUSH(two, apr_int64_t) = APR_ARRAY_IDX(first, 1, apr_int64_t);
    add_needing(core, two, 2, second);
    APR_ARRAY_PUSH(needs, apr_int64_t) = APR_ARRAY_IDX(first, 0, apr_int64_t);
    add_needing(core, needs, 700, third);
    fine(cib_build_cancel(&core->ctx, a), "cancel");
    is_int(count_in(core, first, CIB_SKIPPED), 700, "all who need it are skipped");
    is_int(count_in(core, second, CIB_SKIPPED), 2, "and who needs some of those");
    is_int(count_in(core, third, CIB_SKIPPED), 700, "and who needs it and one of those");
    fine(cib_build_retry(&core->ctx, a, &again), "retry");
    is_int(count_in(core, first, CIB_CREATED) + count_in(core, second, CIB_CREATED) +
               count_in(core, third, CIB_CREATED),
           1402, "all are reopened");
    start(core, again);
    finish(core, again, "success");
    is_int(count_in(core, first, CIB_PENDING), 700, "all who need it are pending");
    is_int(count_in(core, second, CIB_CREATED) + count_in(core, third, CIB_CREATED), 702,
           "the others wait for those");
    start(core, APR_ARRAY_IDX(two, 0, apr_int64_t));
    finish(core, APR_ARRAY_IDX(two, 0, apr_int64_t), "success");
    is_int(count_in(core, third, CIB_PENDING), 700, "until that has ended");
    is_int(count_in(core, second, CIB_CREATED), 2, "or");
    start(core, APR_ARRAY_IDX(two, 1, apr_int64_t));
    finish(core, APR_ARRAY_IDX(two, 1, apr_int64_t), "success");
    is_int(count_in(core, second, CIB_PENDING), 2, "all of those have");
    fine(cib_project_remove(&core->ctx, core->project), "remove");
    core->project = old;
}

/* --- going */

static void test_remove_project(core_t *core)
{
    apr_int64_t old = core->project, a, b, c;
    apr_array_header_t *left;
    cib_project_t *project;

    core->project = new_project(core, "https://example.org/q.git");
    a = new_build(core, 0, 0);
    b = new_build(core, a, 0);
    c = ended_build(core, "success");
    is_reason(cib_build_remove(&core->ctx, b, NULL), CIB_REASON_CONFLICT,
              "a waiting build cannot be removed");
    is_reason(cib_build_erase(&core->ctx, b), CIB_REASON_CONFLICT, "nor erased");
    fine(cib_build_erase(&core->ctx, c), "erase");
    is_reason(cib_build_erase(&core->ctx, c), CIB_REASON_CONFLICT, "erased once");
    fine(cib_project_remove(&core->ctx, core->project), "remove");
    is_reason(cib_project_get(&core->ctx, core->project, &project), CIB_REASON_NO_RECORD,
              "the project is gone");
    fine(cib_build_list(&core->ctx, CIB_STATUSES, core->project, 0, -1, &left), "list");
    is_int(left->nelts, 0, "with all its builds");
    is_reason(cib_project_remove(&core->ctx, core->project), CIB_REASON_NO_RECORD, "once");
    core->project = old;
}

static void test_remove_runner(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0), after = new_build(core, id, 0), gone = core->shared;

    start(core, id);
    fine(cib_runner_remove(&core->ctx, core->shared), "remove");
    is_str(status_of(core, id), "failed", "its running build failed");
    is_str(build_of(core, id)->failure_reason, "runner_lost", "runner_lost");
    is_int(build_of(core, id)->runner_id, gone, "history keeps the runner's id");
    is_str(status_of(core, after), "skipped", "with what follows");
    is_reason(cib_runner_remove(&core->ctx, gone), CIB_REASON_NO_RECORD, "once");
}

static void *APR_THREAD_FUNC remove_it(apr_thread_t *thread, void *data)
{
    const core_t *core = data;

    fine(cib_runner_remove(&core->ctx, core->runner->id), "remove the runner");
    return NULL;
}

/* Its build goes to another runner while it is being removed. On SQLite nobody comes in between. */
static void test_remove_runner_late(core_t *core)
{
    core_t other = *core;
    apr_thread_t *thread;
    const char *token;
    apr_status_t rv;
    rival_t rival;
    apr_int64_t id;

    if (!core->fx->schema)
        return;
    id = new_build(core, 0, 0);
    start(core, id);
    fine(cib_runner_get(&core->ctx, new_runner(core, "", 1, 0, &token), &other.runner), "get");
    sql(core, "UPDATE builds SET runner_id = %d WHERE id = %d", (int)other.runner->id, (int)id);
    must(apr_pool_create(&other.ctx.pool, NULL), "make a pool");
    rival_begin(core, &rival);
    rival_says(&rival, "UPDATE builds SET runner_id = %d, claim = claim + 1 WHERE id = %d",
               (int)core->shared, (int)id);
    must(apr_thread_create(&thread, NULL, remove_it, &other, core->pool), "start a thread");
    rival_end(&rival);
    must(apr_thread_join(&rv, thread), "join the thread");
    is_str(status_of(core, id), "running", "a build that another runner has by now goes on");
    finish(core, id, "success");
    apr_pool_destroy(other.ctx.pool);
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_pairs(core);
    test_guard(core);
    test_requeues(core);
    test_put_back(core);
    test_reasons(core);
    test_needs(core);
    test_skip_and_reopen(core);
    test_retry_of_dependents(core);
    test_retry_of_skipped(core);
    test_race(core);
    test_race_adding(core);
    test_remove_runner_late(core);
    test_validation(core);
    test_many(core);
    test_many_dependents(core);
    test_remove_project(core);
    test_remove_runner(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

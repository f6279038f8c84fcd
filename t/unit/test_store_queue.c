/* The queue: who gets what, in which order, and each build once. */
#include <signal.h>
#include <time.h>

#include "store_fixture.h"

typedef struct world_t {
    apr_int64_t a, b, c;             /* projects */
    apr_int64_t plain, docker, both; /* tag sets: none, docker, docker and linux */
} world_t;

static cib_error_t *add_project(cib_db_t *db, const char *name, apr_int64_t *id, apr_pool_t *pool)
{
    cib_project_t project = {.name = name,
                             .repo_url = "http://example.org/p.git",
                             .timeout = 60,
                             .shared_runners_enabled = 1,
                             .builds_enabled = 1};

    return cib_q_project_add(db, &project, apr_time_now(), id, pool);
}

static cib_error_t *make_world(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    world_t *world = baton;

    CIB_TRY(add_project(db, "a", &world->a, pool));
    CIB_TRY(add_project(db, "b", &world->b, pool));
    CIB_TRY(add_project(db, "c", &world->c, pool));
    CIB_TRY(cib_q_tagset(db, "", &world->plain, pool));
    CIB_TRY(cib_q_tagset(db, "docker", &world->docker, pool));
    return cib_q_tagset(db, "docker,linux", &world->both, pool);
}

/* --- one question a call */

typedef struct build_order_t {
    apr_int64_t project_id, tagset_id;
    int count;
    apr_int64_t first; /* of the ids */
} build_order_t;

static cib_error_t *add_builds(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    build_order_t *order = baton;
    cib_build_t build = {.project_id = order->project_id,
                         .tagset_id = order->tagset_id,
                         .status = CIB_PENDING,
                         .name = "build",
                         .stage = "test",
                         .ref = "master",
                         .sha = "0123456789012345678901234567890123456789",
                         .timeout = 60};
    cib_build_spec_t spec = {"make", "{}"};

    build.created_at = apr_time_now();
    for (int i = 0; i < order->count; i++) {
        CIB_TRY(cib_q_build_add(db, &build, &spec, &build.id, pool));
        CIB_TRY(cib_q_enqueue(db, &build, pool));
        if (i == 0)
            order->first = build.id;
    }
    return CIB_OK;
}

static apr_int64_t put(fixture_t *fx, apr_int64_t project_id, apr_int64_t tagset_id, int count)
{
    build_order_t order = {project_id, tagset_id, count, 0};

    if (writing(fx, add_builds, &order))
        bail_out("cannot add builds");
    return order.first;
}

typedef struct runner_order_t {
    cib_runner_t runner;
    apr_int64_t project_id; /* 0: none */
} runner_order_t;

static cib_error_t *add_runner(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    static int count;
    runner_order_t *order = baton;
    cib_runner_t *runner = &order->runner;
    const char *token = apr_psprintf(pool, "token %d", ++count);

    CIB_TRY(cib_q_runner_add(db, runner, token, apr_time_now(), &runner->id, pool));
    return order->project_id ? cib_q_runner_bind(db, runner->id, order->project_id, pool) : CIB_OK;
}

static cib_runner_t *runner_new(fixture_t *fx, const char *tags, int run_untagged, int shared,
                                apr_int64_t project_id)
{
    runner_order_t *order = apr_pcalloc(fx->pool, sizeof(*order));

    order->runner.active = 1;
    order->runner.tags = tags;
    order->runner.run_untagged = run_untagged;
    order->runner.is_shared = shared;
    order->project_id = project_id;
    if (writing(fx, add_runner, order))
        bail_out("cannot add a runner");
    return &order->runner;
}

typedef struct claim_t {
    const cib_runner_t *runner;
    apr_int64_t id;
    int yes;
} claim_t;

static cib_error_t *claim(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    claim_t *c = baton;

    return cib_q_claim(db, c->runner, apr_time_now(), &c->id, pool);
}

static cib_error_t *can_claim(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    claim_t *c = baton;

    return cib_q_can_claim(db, c->runner, &c->yes, pool);
}

/* What the runner gets now. The search without a lock must say the same. */
static apr_int64_t get(fixture_t *fx, const cib_runner_t *runner)
{
    claim_t c = {runner, 0, -1};

    if (reading(fx, can_claim, &c) ||
        cib_store_write(fx->store, fx->source, CIB_WRITE_ONE, claim, &c, fx->pool))
        bail_out("cannot claim");
    if (c.yes != (c.id != 0))
        ok(0, "can_claim says %d, claim %d", c.yes, (int)c.id);
    return c.id;
}

typedef struct move_t {
    apr_int64_t id;
    cib_move_t move;
    int changed;
} move_t;

static cib_error_t *move(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    move_t *m = baton;

    return cib_q_build_move(db, m->id, &m->move, &m->changed, pool);
}

static void finish(fixture_t *fx, apr_int64_t id)
{
    move_t m = {id, {.from = CIB_RUNNING, .to = CIB_SUCCESS, .now = apr_time_now()}, 0};

    if (writing(fx, move, &m) || !m.changed)
        bail_out("cannot finish build %d", (int)id);
}

static void update_project(fixture_t *fx, apr_int64_t id, const char *set)
{
    outside(fx, fx->params,
            apr_psprintf(fx->pool, "UPDATE projects SET %s WHERE id = %" APR_INT64_T_FMT, set, id));
}

static cib_error_t *read_build(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_build_t **build = baton;

    return cib_q_build(db, (*build)->id, build, pool);
}

static cib_build_t *build_now(fixture_t *fx, apr_int64_t id)
{
    cib_build_t wanted = {.id = id}, *build = &wanted;

    if (reading(fx, read_build, &build))
        bail_out("cannot read a build");
    return build;
}

/* --- rules */

static void test_specific(fixture_t *fx, const world_t *w)
{
    cib_runner_t *runner = runner_new(fx, "docker", 1, 0, w->a);
    apr_time_t before = apr_time_now();
    apr_int64_t first, second, third;
    cib_build_t *build;

    is_int(get(fx, runner), 0, "nothing in an empty queue");
    put(fx, w->b, w->plain, 1);
    put(fx, w->a, w->both, 1);
    is_int(get(fx, runner), 0, "nothing of another project, nor with a tag it lacks");
    first = put(fx, w->a, w->docker, 1);
    second = put(fx, w->a, w->plain, 1);
    third = put(fx, w->a, w->docker, 1);
    is_int(get(fx, runner), first, "the oldest first");
    is_int(get(fx, runner), second, "over its tag sets");
    is_int(get(fx, runner), third, "in order");
    is_int(get(fx, runner), 0, "then nothing");
    build = build_now(fx, first);
    is_int(build->status, CIB_RUNNING, "the build is running");
    is_int(build->runner_id, runner->id, "of that runner");
    is_int(build->claim, 1, "claimed once");
    is_int(build->on_shared_runner, 0, "not on a shared one");
    ok(build->started_at >= before && build->started_at <= apr_time_now(), "since now");
    is_int(build->heard_at, 0, "not heard of yet");
}

static void test_tags(fixture_t *fx, const world_t *w)
{
    cib_runner_t *tagged = runner_new(fx, "docker", 0, 0, w->c);
    cib_runner_t *other_case = runner_new(fx, "Docker", 0, 0, w->c);
    cib_runner_t *prefix = runner_new(fx, "docke,dockerx", 0, 0, w->c);
    cib_runner_t *many = runner_new(fx, "arm,docker,linux", 0, 0, w->c);
    apr_int64_t untagged = put(fx, w->c, w->plain, 1);
    apr_int64_t docker = put(fx, w->c, w->docker, 1);
    apr_int64_t both = put(fx, w->c, w->both, 1);

    is_int(get(fx, other_case), 0, "tags are compared byte by byte");
    is_int(get(fx, prefix), 0, "and whole");
    is_int(get(fx, tagged), docker, "what its tags allow, past what they do not");
    is_int(get(fx, tagged), 0, "no untagged ones without run_untagged");
    is_int(get(fx, many), both, "a runner may have more tags than the build asks for");
    is_int(get(fx, runner_new(fx, "", 1, 0, w->c)), untagged, "run_untagged takes the untagged");
}

static cib_error_t *update_runner(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_runner_update(db, baton, pool);
}

static cib_error_t *make_tagset(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_tagset(db, "gpu,huge", baton, pool);
}

/* Who takes what is kept right whichever comes first, the runner's tags or the tag set. */
static void test_new_tags(fixture_t *fx, const world_t *w)
{
    cib_runner_t *runner = runner_new(fx, "gpu", 0, 0, w->c);
    apr_int64_t tagset, build;

    is_fine(writing(fx, make_tagset, &tagset), "a new tag set");
    build = put(fx, w->c, tagset, 1);
    is_int(get(fx, runner), 0, "lacks one of the tags");
    runner->tags = "gpu,huge";
    is_fine(writing(fx, update_runner, runner), "give it the tag");
    is_int(get(fx, runner), build, "takes it now");
    put(fx, w->c, tagset, 1);
    runner->tags = "huge";
    is_fine(writing(fx, update_runner, runner), "take a tag away");
    is_int(get(fx, runner), 0, "takes it no longer");
    runner->tags = "gpu,huge,more";
    runner->run_untagged = 1;
    is_fine(writing(fx, update_runner, runner), "other tags, and untagged");
    put(fx, w->c, w->plain, 1);
    ok(get(fx, runner) && get(fx, runner), "takes both now");
    is_int(get(fx, runner), 0, "and all is taken");
}

static void test_switches(fixture_t *fx, const world_t *w)
{
    cib_runner_t *specific = runner_new(fx, "", 1, 0, w->a);
    cib_runner_t *shared = runner_new(fx, "", 1, 1, 0);
    apr_int64_t first = put(fx, w->a, w->plain, 3);

    update_project(fx, w->b, "builds_enabled = 0"); /* which has one left */
    update_project(fx, w->a, "builds_enabled = 0");
    ok(!get(fx, specific) && !get(fx, shared), "builds switched off");
    update_project(fx, w->a, "builds_enabled = 1, removing = 1");
    ok(!get(fx, specific) && !get(fx, shared), "project being removed");
    update_project(fx, w->a, "removing = 0, shared_runners_enabled = 0");
    is_int(get(fx, shared), 0, "no shared runners for the project");
    is_int(get(fx, specific), first, "its own may");
    update_project(fx, w->a, "shared_runners_enabled = 1");
    shared->locked = 1;
    is_int(get(fx, shared), 0, "a locked shared runner gets nothing");
    shared->locked = 0;
    specific->locked = 1;
    is_int(get(fx, shared), first + 1, "an unlocked one does");
    is_int(get(fx, specific), first + 2, "and so does a locked specific one, of its project");
    update_project(fx, w->b, "builds_enabled = 1");
    ok(get(fx, shared) != 0, "what waited in the meantime is still there");
    finish(fx, first + 1);
}

/* A project with fewer builds on shared runners comes first; then the older build. */
static void test_fairness(fixture_t *fx, const world_t *w)
{
    cib_runner_t *shared = runner_new(fx, "docker,linux", 1, 1, 0);
    apr_int64_t busy = get(fx, shared), a, b;

    while (busy) {
        finish(fx, busy);
        busy = get(fx, shared);
    }
    outside(fx, fx->params, "UPDATE builds SET status = 'success' WHERE status = 'running'");
    a = put(fx, w->a, w->plain, 4);
    b = put(fx, w->b, w->docker, 2);
    is_int(get(fx, shared), a, "none running: the oldest");
    is_int(get(fx, shared), b, "one of a's running: b is first, though younger");
    is_int(get(fx, shared), a + 1, "one each: the older");
    is_int(get(fx, shared), b + 1, "b's turn");
    finish(fx, b);
    finish(fx, b + 1);
    put(fx, w->b, w->both, 1);
    is_int(get(fx, shared), b + 2, "b has none running now");
    is_int(get(fx, shared), a + 2, "the rest of a");
    is_int(get(fx, shared), a + 3, "to the last");
    is_int(get(fx, shared), 0, "then nothing");
}

/* --- the queue and the builds disagree */

static cib_error_t *strays(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    apr_array_header_t **ids = baton;

    CIB_TRY(cib_q_queue_strays(db, CIB_STRAY_NOT_QUEUED, 10, &ids[0], pool));
    return cib_q_queue_strays(db, CIB_STRAY_QUEUED, 10, &ids[1], pool);
}

static cib_error_t *dequeue(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_dequeue_stray(db, baton, pool);
}

static void test_strays(fixture_t *fx, const world_t *w)
{
    cib_runner_t *runner = runner_new(fx, "", 1, 0, w->a);
    cib_stray_t lost = {.build_id = 987654321, .tagset_id = 4711, .project_id = 4712};
    apr_int64_t first = put(fx, w->a, w->plain, 3);
    apr_array_header_t *ids[2];
    char *sql = apr_psprintf(
        fx->pool, "UPDATE builds SET status = 'canceled' WHERE id = %" APR_INT64_T_FMT, first);

    is_fine(reading(fx, strays, ids), "look for strays");
    is_int(ids[0]->nelts + ids[1]->nelts, 0, "none");
    outside(fx, fx->params, sql);
    outside(
        fx, fx->params,
        apr_psprintf(fx->pool, "DELETE FROM queue WHERE build_id = %" APR_INT64_T_FMT, first + 2));
    outside(fx, fx->params, "INSERT INTO queue VALUES (4711, 4712, 987654321)");
    is_fine(reading(fx, strays, ids), "look again");
    is_int(ids[0]->nelts, 1, "one pending without a place");
    is_int(APR_ARRAY_IDX(ids[0], 0, cib_stray_t).build_id, first + 2, "this one");
    is_int(ids[1]->nelts, 2, "two places of nobody");
    is_int(get(fx, runner), first + 1, "the queue goes on behind a stray");
    is_fine(writing(fx, dequeue, &lost), "take one out whose build is gone");
    is_fine(reading(fx, strays, ids), "look again");
    is_int(ids[1]->nelts, 0, "the claim dropped the other");
}

/* --- what history and a long queue cost */

#define ROUNDS 200

static cib_error_t *live_and_dequeue(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const build_order_t *order = baton;

    for (int i = 0; i < ROUNDS; i++) {
        apr_array_header_t *builds;

        CIB_TRY(cib_q_dequeue(db, order->first, pool));
        CIB_TRY(cib_q_builds(db, CIB_RUNNING, order->project_id, 0, 10, &builds, pool));
        CIB_TRY(cib_q_builds(db, CIB_CREATED, 0, 0, 10, &builds, pool));
    }
    return CIB_OK;
}

/* In processor time of our own, which is SQLite's too; PostgreSQL has its own planner and
 * statistics for such things. */
static clock_t cost_of(fixture_t *fx, build_order_t *order)
{
    clock_t begun = clock();

    is_fine(writing(fx, live_and_dequeue, order), "dequeue an ended build, look for live ones");
    return clock() - begun;
}

/* 30,000 ended builds of the project and as many rows in the queue. */
#define MANY                                                                                       \
    "WITH RECURSIVE n (i) AS (SELECT 1000001 UNION ALL SELECT i + 1 FROM n WHERE i < 1030000) "
#define ENDED_ROWS                                                                                 \
    "INSERT INTO builds (id, project_id, status, name, stage, ref, tag, sha, tagset_id, timeout, " \
    "created_at, finished_at) SELECT i, %" APR_INT64_T_FMT                                         \
    ", 'success', 'b', 't', 'm', 0, 's', %" APR_INT64_T_FMT ", 60, 1, 2 FROM n"

static void test_cost(fixture_t *fx, const world_t *w)
{
    build_order_t order = {w->a, w->plain, 1, 0};
    clock_t few, many;

    order.first = put(fx, w->a, w->plain, 1);
    outside(fx, fx->params,
            apr_psprintf(fx->pool,
                         "UPDATE builds SET status = 'success' WHERE id = %" APR_INT64_T_FMT,
                         order.first));
    cost_of(fx, &order);
    few = cost_of(fx, &order);
    outside(fx, fx->params, apr_psprintf(fx->pool, MANY ENDED_ROWS, w->a, w->plain));
    outside(fx, fx->params, MANY "INSERT INTO queue SELECT 4711, 4711, i FROM n");
    many = cost_of(fx, &order);
    ok(many < 10 * few + CLOCKS_PER_SEC / 20, "it costs as much beside a long history and queue");
    diag("%ld and %ld microseconds of processor time", (long)few, (long)many);
}

/* --- past what another claim has locked */

typedef struct holding_t {
    fixture_t *fx;
    const cib_runner_t *runner;
    apr_int64_t held;
    apr_int64_t got[2];
} holding_t;

static cib_error_t *claim_beside(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    holding_t *holding = baton;
    apr_array_header_t *ids = apr_array_make(pool, 1, sizeof(apr_int64_t));

    APR_ARRAY_PUSH(ids, apr_int64_t) = holding->held;
    CIB_TRY(cib_q_builds_lock(db, ids, pool));
    for (int i = 0; i < 2; i++) {
        claim_t c = {holding->runner, 0, 0};

        CIB_TRY(cib_store_write(holding->fx->store, holding->fx->source, CIB_WRITE_ONE, claim, &c,
                                pool));
        holding->got[i] = c.id;
    }
    return CIB_OK;
}

static void test_locked(fixture_t *fx, const world_t *w)
{
    const cib_runner_t *runner = runner_new(fx, "docker", 1, 0, w->a);
    apr_int64_t held = put(fx, w->a, w->plain, 1);
    apr_int64_t second = put(fx, w->a, w->plain, 1);
    apr_int64_t third = put(fx, w->a, w->docker, 1);
    apr_int64_t last = put(fx, w->a, w->plain, 1);
    holding_t holding = {fx, runner, held, {0, 0}};

    is_fine(writing(fx, claim_beside, &holding), "claim while another holds the oldest");
    is_int(holding.got[0], second, "the next of its lane, which is the oldest of the rest");
    is_int(holding.got[1], third, "then the other lane's, older than the next of this");
    is_int(get(fx, runner), held, "what was let go is first again");
    is_int(get(fx, runner), last, "and all are taken in the end");
}

/* --- each once */

#define BUILDS 600
#define CLAIMERS 12

static const cib_runner_t *claimer;
static int claimed_by_thread[64];

static cib_error_t *claim_wishes(cib_db_t *db, cib_wish_t *const *wishes, int count,
                                 apr_pool_t *pool)
{
    cib_claiming_t *claimings[64];
    cib_error_t *err;

    for (int i = 0; i < count; i++)
        claimings[i] = wishes[i]->baton;
    err = cib_q_claims(db, claimings, count, apr_time_now(), pool);
    for (int i = 0; i < count; i++)
        wishes[i]->granted = claimings[i]->id != 0;
    return err;
}

static void claim_until_empty(fixture_t *fx, int number, apr_pool_t *pool)
{
    cib_claiming_t c = {claimer, 0};
    apr_pool_t *turn;

    must(apr_pool_create(&turn, pool), "make a pool");
    do {
        apr_pool_clear(turn);
        if (cib_store_gather(fx->store, fx->source, CIB_GATHER_ONE, "", claim_wishes, &c, turn))
            bail_out("a claim failed");
        claimed_by_thread[number] += c.id != 0;
    } while (c.id);
}

static int count_of(fixture_t *fx, const char *sql)
{
    const apr_dbd_driver_t *driver;
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    apr_dbd_t *handle;
    int count;

    must(apr_dbd_get_driver(fx->pool, fx->driver, &driver), "load the driver");
    must(apr_dbd_open(driver, fx->pool, fx->params, &handle), "connect");
    if (apr_dbd_select(driver, fx->pool, handle, &results, sql, 1) != 0 ||
        apr_dbd_get_row(driver, fx->pool, results, &row, -1) != 0)
        bail_out("%s", sql);
    count = atoi(apr_dbd_get_entry(driver, row, 0));
    while (apr_dbd_get_row(driver, fx->pool, results, &row, -1) == 0)
        continue;
    apr_dbd_close(driver, handle);
    return count;
}

#define WRONG "SELECT count(*) FROM builds WHERE status <> 'running' OR claim <> 1"
#define LEFT "SELECT count(*) FROM queue"

static void test_threads(fixture_t *fx, const world_t *w)
{
    int total = 0;

    put(fx, w->a, w->plain, BUILDS);
    claimer = runner_new(fx, "", 1, 0, w->a);
    in_threads(fx, CLAIMERS, claim_until_empty);
    for (int i = 0; i < CLAIMERS; i++)
        total += claimed_by_thread[i];
    is_int(total, BUILDS, "%d threads: as many claims as builds", CLAIMERS);
    is_int(count_of(fx, WRONG), 0, "each claimed once");
    is_int(count_of(fx, LEFT), 0, "none left");
}

static int claim_in_child(fixture_t *fx, int number)
{
    memset(claimed_by_thread, 0, sizeof(claimed_by_thread));
    in_threads(fx, 3, claim_until_empty);
    return claimed_by_thread[0] + claimed_by_thread[1] + claimed_by_thread[2] > 0 ? 0 : 1;
}

static void test_processes(fixture_t *fx, const world_t *w)
{
    pid_t pids[4];

    put(fx, w->a, w->plain, BUILDS);
    put(fx, w->b, w->docker, BUILDS);
    put(fx, w->c, w->both, BUILDS);
    claimer = runner_new(fx, "docker,linux", 1, 1, 0);
    fixture_detach(fx);
    for (int i = 0; i < 4; i++)
        pids[i] = fork_child(fx, claim_in_child, i);
    for (int i = 0; i < 4; i++)
        is_int(exit_code(pids[i]), 0, "process %d got some", i);
    fixture_attach(fx);
    is_int(count_of(fx, WRONG), 0, "each claimed once");
    is_int(count_of(fx, LEFT), 0, "none left");
}

/* Processes that are killed while they claim take nothing with them but what they were given. */
static void test_killed_claimers(fixture_t *fx, const world_t *w)
{
    apr_array_header_t *ids[2];
    pid_t pids[4];

    put(fx, w->a, w->plain, 2 * BUILDS);
    fixture_detach(fx);
    for (int i = 0; i < 4; i++)
        pids[i] = fork_child(fx, claim_in_child, i);
    while (count_of(fx, LEFT) > BUILDS)
        apr_thread_yield();
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    for (int i = 0; i < 4; i++)
        exit_code(pids[i]);
    fixture_attach(fx);
    is_int(count_of(fx, WRONG), 0, "two of four are killed: each claimed once");
    is_int(count_of(fx, LEFT), 0, "none left");
    is_fine(reading(fx, strays, ids), "look for strays");
    is_int(ids[0]->nelts + ids[1]->nelts, 0, "none");
}

static void tests(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    world_t world;

    is_fine(writing(fx, make_world, &world), "make a world");
    test_specific(fx, &world);
    test_tags(fx, &world);
    test_new_tags(fx, &world);
    test_switches(fx, &world);
    test_fairness(fx, &world);
    test_strays(fx, &world);
    test_cost(fx, &world);
    fixture_done(fx);
    fx = fixture_new(driver);
    is_fine(writing(fx, make_world, &world), "make another");
    memset(claimed_by_thread, 0, sizeof(claimed_by_thread));
    if (strcmp(driver, "pgsql") == 0)
        test_locked(fx, &world); /* SQLite knows no other writer */
    test_threads(fx, &world);
    test_processes(fx, &world);
    test_killed_claimers(fx, &world);
    fixture_done(fx);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

/* Sections: commits shared by threads, failures that stay their own, connections that die, and who
 * is told afterwards. */
#include <signal.h>

#include "../../src/store/internal.h"
#include "store_fixture.h"

static cib_error_t *rotate(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int rotation;

    return cib_q_registration_rotate(db, baton ? baton : &rotation, pool);
}

static cib_error_t *read_rotation(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_registration_rotation(db, baton, pool);
}

static int rotation_now(fixture_t *fx)
{
    int rotation = -1;

    is_fine(reading(fx, read_rotation, &rotation), "read the rotation");
    return rotation;
}

/* --- many at once */

#define THREADS 32
#define WRITES 50

static int refused;

/* Each adds one to the same number; every fifth fails after having done so. */
static cib_error_t *rotate_or_fail(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int rotation;

    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    if (*(int *)baton % 5 == 0)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "on purpose");
    return CIB_OK;
}

/* Fails in the database, not by its own verdict. */
static cib_error_t *rotate_and_stumble(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int rotation;

    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    return cib_q_need_add(db, 4711, 4712, pool);
}

static void write_many(fixture_t *fx, int number, apr_pool_t *pool)
{
    for (int i = 0; i < WRITES; i++) {
        cib_section_fn section = i % 10 == 9 ? rotate_and_stumble : rotate_or_fail;
        cib_error_t *err =
            cib_store_write(fx->store, fx->source, CIB_WRITE_MANY, section, &i, pool);

        if (err)
            __atomic_add_fetch(&refused, 1, __ATOMIC_SEQ_CST);
    }
}

static void test_threads(fixture_t *fx)
{
    int before = rotation_now(fx);

    refused = 0;
    in_threads(fx, THREADS, write_many);
    is_int(refused, THREADS * (WRITES / 5 + WRITES / 10), "those fail that should, and no other");
    is_int(rotation_now(fx) - before, THREADS * WRITES - refused,
           "every write of the others is there, and none of theirs");
}

/* Ends the transaction under everybody's feet, as SQLite itself does on a full disk, and then gives
 * a verdict of its own. */
static const cib_sql_t roll_back = {"ROLLBACK", NULL};

static cib_error_t *spoil(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    CIB_TRY(cib_db_change(db, &roll_back, NULL, 0, NULL, pool));
    return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "mine alone");
}

/* The same, and the reason is told to this section first. */
static cib_error_t *break_down(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    CIB_TRY(cib_db_change(db, &roll_back, NULL, 0, NULL, pool));
    return cib_q_need_add(db, 4711, 4712, pool);
}

static int is_reason_lost(const cib_error_t *err)
{
    return err->detail && !strncmp(err->detail, "database: ", 10);
}

static int lost, misled, garbled;

/* Who is told forgets at once what it was told. */
static void spoil_or_write(fixture_t *fx, int number, apr_pool_t *pool)
{
    static const cib_section_fn spoilers[] = {spoil, break_down};
    cib_section_fn section = number < 2 ? spoilers[number] : rotate;

    for (int i = 0; i < WRITES; i++) {
        apr_pool_t *own;
        cib_error_t *err;

        must(apr_pool_create_unmanaged_ex(&own, NULL, NULL), "make a pool");
        err = cib_store_write(fx->store, fx->source, CIB_WRITE_MANY, section, NULL, own);
        if (section == rotate && err)
            __atomic_add_fetch(&lost, 1, __ATOMIC_SEQ_CST);
        if (section == rotate && err && err->reason == CIB_REASON_FORBIDDEN)
            __atomic_add_fetch(&misled, 1, __ATOMIC_SEQ_CST);
        if (section == rotate && err && !is_reason_lost(err))
            __atomic_add_fetch(&garbled, 1, __ATOMIC_SEQ_CST);
        if (err && err->detail)
            memset((char *)err->detail, '?', strlen(err->detail));
        apr_pool_destroy(own);
    }
}

static void test_spoiled(fixture_t *fx)
{
    int before = rotation_now(fx);

    in_threads(fx, THREADS, spoil_or_write);
    is_int(misled, 0, "nobody is told another's verdict");
    is_int(garbled, 0, "and all why they have lost, also when who lost it is gone");
    is_int(rotation_now(fx) - before, (THREADS - 2) * WRITES - lost,
           "who was told of success has written");
}

/* A section that ignores the failure of its statement has failed all the same. */
static cib_error_t *swallow(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int rotation;

    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    if (cib_q_need_add(db, 4711, 4712, pool))
        return CIB_OK;
    return CIB_OK;
}

static void test_swallowed(fixture_t *fx)
{
    int before = rotation_now(fx);
    const char *text;
    apr_time_t when;

    is_reason(writing(fx, swallow, NULL), CIB_REASON_INTERNAL, "a swallowed failure comes back");
    is_int(rotation_now(fx), before, "and nothing is committed");
    when = cib_store_last_error(fx->store, &text, fx->pool);
    ok(when && *text && strlen(text) <= 200, "the last error is kept: %s", text);
}

/* --- the schema changes under prepared statements */

static void test_stale(fixture_t *fx)
{
    int before = rotation_now(fx);

    refused = 0;
    is_fine(writing(fx, rotate, NULL), "write");
    outside(fx, fx->params, "ALTER TABLE leases ADD COLUMN note text");
    is_int(rotation_now(fx), before + 1, "read after ALTER by another connection");
    is_fine(writing(fx, rotate, NULL), "write after ALTER");
    outside(fx, fx->params, "ANALYZE");
    is_fine(writing(fx, rotate, NULL), "write after ANALYZE");
    is_int(rotation_now(fx), before + 3, "each write counted once");
    outside(fx, fx->params, "ALTER TABLE leases DROP COLUMN note");
    in_threads(fx, THREADS, write_many);
    is_int(refused, THREADS * (WRITES / 5 + WRITES / 10), "and a crowd does not mind either");
}

/* --- PostgreSQL: the backend is terminated */

static void terminate_backends(fixture_t *fx)
{
    outside(fx, getenv("CIB_TEST_PGSQL"),
            apr_psprintf(fx->pool,
                         "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                         "WHERE application_name = '%s' AND pid <> pg_backend_pid()",
                         fx->schema));
}

static cib_error_t *name_connection(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    fixture_t *fx = baton;
    const char *sql =
        apr_psprintf(pool, "SELECT set_config('application_name', '%s', false)", fx->schema);
    static cib_sql_t set;
    cib_rows_t *rows;

    /* one statement of ours with a text of its own: the fixture's connections are few */
    set.text = sql;
    return cib_db_select(db, &set, NULL, 0, 1, &rows, pool);
}

typedef struct killing_t {
    fixture_t *fx;
    int runs;
} killing_t;

/* In its first run its own connection dies in the middle. */
static cib_error_t *rotate_and_lose(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    killing_t *killing = baton;
    int rotation;

    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    if (killing->runs++ == 0)
        terminate_backends(killing->fx);
    return cib_q_registration_rotation(db, &rotation, pool);
}

static void test_terminated(fixture_t *fx)
{
    int before = rotation_now(fx);
    killing_t killing = {fx, 0};

    is_fine(reading(fx, name_connection, fx), "name the connection");
    terminate_backends(fx);
    is_int(rotation_now(fx), before, "a read on a dead connection is cured");
    is_fine(reading(fx, name_connection, fx), "name it again");
    terminate_backends(fx);
    is_fine(writing(fx, rotate, NULL), "a write on a dead connection is cured");
    is_fine(reading(fx, name_connection, fx), "name it again");
    terminate_backends(fx);
    is_fine(cib_store_write(fx->store, fx->source, CIB_WRITE_ONE, rotate, NULL, fx->pool),
            "a write of one statement is cured");
    is_fine(reading(fx, name_connection, fx), "name it again");
    is_fine(writing(fx, rotate_and_lose, &killing), "dead half way: run again");
    is_int(killing.runs, 2, "it was run twice");
    is_int(rotation_now(fx), before + 3, "and counted once");
}

/* A reset between two sections leaves a connection that works and has none of its statements. */
static cib_error_t *forget_statements(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    (void)baton;
    return cib_db_execute(db, "DISCARD ALL", pool);
}

static cib_error_t *forget_and_rotate(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int *runs = baton;
    int rotation;

    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    if ((*runs)++ == 0)
        CIB_TRY(cib_db_execute(db, "DEALLOCATE ALL", pool));
    return cib_q_registration_rotate(db, &rotation, pool);
}

static cib_error_t *is_planned_once(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const char *mode = NULL;

    (void)baton;
    CIB_TRY(cib_db_ask(db, "SHOW plan_cache_mode", &mode, pool));
    is_str(mode, "force_generic_plan", "and is set up again");
    return CIB_OK;
}

static void test_forgotten(fixture_t *fx)
{
    int before = rotation_now(fx), runs = 0;

    is_fine(reading(fx, forget_statements, NULL), "the statements are gone");
    is_int(rotation_now(fx), before, "a read makes them anew");
    is_fine(reading(fx, is_planned_once, NULL), "the connection works");
    is_fine(reading(fx, forget_statements, NULL), "they are gone again");
    is_fine(writing(fx, rotate, NULL), "so does a write");
    is_fine(writing(fx, forget_and_rotate, &runs), "gone half way: run again");
    is_int(runs, 2, "it was run twice");
    is_int(rotation_now(fx), before + 3, "and counted once");
    for (int i = 0; i < 20; i++)
        if (reading(fx, forget_statements, NULL) || rotation_now(fx) != before + 3)
            bail_out("lost its statements for ever");
    is_int(rotation_now(fx), before + 3, "any number of times");
}

/* --- a process is killed in the middle of a section */

static cib_error_t *rotate_and_die(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    int rotation;

    CIB_TRY(cib_q_registration_rotate(db, &rotation, pool));
    raise(SIGKILL);
    return CIB_OK;
}

static int die_writing(fixture_t *fx, int number)
{
    return writing(fx, rotate_and_die, NULL) != CIB_OK;
}

static void test_killed_writer(fixture_t *fx)
{
    int before = rotation_now(fx);

    fixture_detach(fx);
    is_int(exit_code(fork_child(fx, die_writing, 0)), 1000 + SIGKILL, "a writer is killed");
    fixture_attach(fx);
    is_fine(writing(fx, rotate, NULL), "writing goes on");
    is_int(rotation_now(fx), before + 1, "what it did is undone");
}

/* --- SQLite: a foreign writer holds the database */

typedef struct holder_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
} holder_t;

static void hold(fixture_t *fx, holder_t *holder)
{
    int changed;

    must(apr_dbd_get_driver(fx->pool, fx->driver, &holder->driver), "load the driver");
    must(apr_dbd_open(holder->driver, fx->pool, fx->params, &holder->handle), "connect");
    is_int(apr_dbd_query(holder->driver, holder->handle, &changed, "BEGIN IMMEDIATE"), 0,
           "another program holds the database");
}

static void let_go(holder_t *holder)
{
    int changed;

    apr_dbd_query(holder->driver, holder->handle, &changed, "COMMIT");
    apr_dbd_close(holder->driver, holder->handle);
}

/* For a second nobody tries. */
static cib_error_t *write_soon(fixture_t *fx)
{
    cib_error_t *err = CIB_OK;

    for (int tries = 0; tries < 500 && (err = writing(fx, rotate, NULL)) != CIB_OK; tries++)
        apr_sleep(apr_time_from_msec(10));
    return err;
}

static void test_busy(fixture_t *fx)
{
    int before = rotation_now(fx);
    apr_time_t began;
    holder_t holder;

    hold(fx, &holder);
    began = apr_time_now();
    is_int(rotation_now(fx), before, "reading goes on");
    ok(apr_time_now() - began < apr_time_from_msec(500), "at once");
    is_reason(writing(fx, rotate, NULL), CIB_REASON_UNAVAILABLE, "writing is unavailable");
    ok(apr_time_now() - began < apr_time_from_sec(5), "within seconds");
    is_reason(writing(fx, rotate, NULL), CIB_REASON_UNAVAILABLE, "and so it stays");
    let_go(&holder);
    is_fine(write_soon(fx), "afterwards it goes on");
    is_int(rotation_now(fx), before + 1, "one write counted");
}

/* A full disk: SQLite rolls back by itself, and the batch with it. */
static cib_error_t *shrink(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    static const cib_sql_t limit = {"PRAGMA max_page_count=1", NULL};
    static const cib_sql_t no_limit = {"PRAGMA max_page_count=1000000000", NULL};
    cib_rows_t *rows;

    return cib_db_select(db, baton ? &limit : &no_limit, NULL, 0, 1, &rows, pool);
}

static cib_error_t *add_huge_project(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    char *name = apr_palloc(pool, 3000001);
    cib_project_t project = {.repo_url = "http://example.org/x.git", .builds_enabled = 1};
    apr_int64_t id;

    memset(name, 'x', 3000000);
    name[3000000] = '\0';
    project.name = name;
    return cib_q_project_add(db, &project, apr_time_now(), &id, pool);
}

static void test_full(fixture_t *fx)
{
    int before = rotation_now(fx);
    const cib_source_t *source;

    /* the limit is the connection's, so one connection for all */
    must(cib_source_own(&source, fx->driver, fx->params, 0, fx->pool), "make a source");
    is_fine(cib_store_read(fx->store, source, shrink, fx, fx->pool), "let the database be full");
    is_reason(cib_store_write(fx->store, source, CIB_WRITE_MANY, add_huge_project, NULL, fx->pool),
              CIB_REASON_NO_SPACE, "no space");
    is_fine(cib_store_read(fx->store, source, shrink, NULL, fx->pool), "let it grow again");
    is_fine(cib_store_write(fx->store, source, CIB_WRITE_MANY, rotate, NULL, fx->pool),
            "writing goes on");
    is_int(rotation_now(fx), before + 1, "one write counted");
}

/* --- who is told */

typedef struct lanes_t {
    apr_int64_t project_id, other_project_id;
    apr_int64_t tagset_id, untagged_id;
    apr_int64_t fits, other_tags, elsewhere, shared;
} lanes_t;

static cib_error_t *add_runner(cib_db_t *db, const char *tags, int shared, apr_int64_t project_id,
                               apr_int64_t *id, apr_pool_t *pool)
{
    static int count;
    cib_runner_t runner = {.active = 1, .is_shared = shared, .tags = tags};
    const char *token = apr_psprintf(pool, "token %d", ++count);

    CIB_TRY(cib_q_runner_add(db, &runner, token, apr_time_now(), id, pool));
    return project_id ? cib_q_runner_bind(db, *id, project_id, pool) : CIB_OK;
}

static cib_error_t *set_lanes(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_project_t project = {.name = "p",
                             .repo_url = "u",
                             .timeout = 60,
                             .shared_runners_enabled = 1,
                             .builds_enabled = 1};
    lanes_t *lanes = baton;
    apr_time_t now = apr_time_now();

    CIB_TRY(cib_q_project_add(db, &project, now, &lanes->project_id, pool));
    CIB_TRY(cib_q_project_add(db, &project, now, &lanes->other_project_id, pool));
    CIB_TRY(cib_q_tagset(db, "docker,linux", &lanes->tagset_id, pool));
    CIB_TRY(cib_q_tagset(db, "", &lanes->untagged_id, pool));
    CIB_TRY(add_runner(db, "arm,docker,linux", 0, lanes->project_id, &lanes->fits, pool));
    CIB_TRY(add_runner(db, "docker", 0, lanes->project_id, &lanes->other_tags, pool));
    CIB_TRY(add_runner(db, "docker,linux", 0, lanes->other_project_id, &lanes->elsewhere, pool));
    return add_runner(db, "docker,linux", 1, 0, &lanes->shared, pool);
}

static cib_error_t *raise_lane(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    lanes_t *lanes = baton;

    for (int i = 0; i < 3; i++)
        CIB_TRY(cib_db_raise_queue(db, lanes->project_id, lanes->tagset_id, pool));
    return CIB_OK;
}

static cib_error_t *raise_and_fail(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    CIB_TRY(raise_lane(db, baton, pool));
    cib_db_raise_all(db);
    return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "on purpose");
}

static cib_error_t *raise_everybody(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_db_raise_all(db);
    return CIB_OK;
}

/* Lanes that nobody takes builds from: with tag sets that are none. */
static cib_error_t *raise_many_lanes(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const int *count = baton;

    for (int i = 0; i < *count; i++)
        CIB_TRY(cib_db_raise_queue(db, 1, 100000 + i, pool));
    return CIB_OK;
}

static cib_error_t *raise_one(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_db_raise_runner(db, *(apr_int64_t *)baton);
    return CIB_OK;
}

/* Whose values changed since `old`, as bits: fits, other_tags, elsewhere, shared. */
static int changed_since(fixture_t *fx, const lanes_t *lanes, const char **old)
{
    const apr_int64_t ids[] = {lanes->fits, lanes->other_tags, lanes->elsewhere, lanes->shared};
    int changed = 0;

    for (int i = 0; i < 4; i++) {
        if (old[i] && !cib_generation_is_current(fx->gen, ids[i], old[i]))
            changed |= 1 << i;
        old[i] = cib_generation_value(fx->gen, ids[i], fx->pool);
    }
    return changed;
}

static void test_raises(fixture_t *fx, lanes_t *lanes)
{
    const char *old[4] = {NULL};
    int few = 64, many = 65;

    is_fine(writing(fx, set_lanes, lanes), "make projects and runners");
    changed_since(fx, lanes, old);
    is_fine(writing(fx, raise_lane, lanes), "a build became pending");
    is_int(changed_since(fx, lanes, old), 1 | 8, "those are told who can take it, and no others");
    is_reason(writing(fx, raise_and_fail, lanes), CIB_REASON_CONFLICT, "another fails");
    is_int(changed_since(fx, lanes, old), 0, "nobody is told");
    is_fine(writing(fx, raise_one, &lanes->elsewhere), "settings of one changed");
    is_int(changed_since(fx, lanes, old), 4, "it alone is told");
    is_fine(writing(fx, raise_everybody, NULL), "something for all");
    is_int(changed_since(fx, lanes, old), 15, "all are told");
    is_fine(writing(fx, raise_many_lanes, &few), "builds with many tags");
    is_int(changed_since(fx, lanes, old), 0, "each is asked who can take it");
    is_fine(writing(fx, raise_many_lanes, &many), "more than are asked for one by one");
    is_int(changed_since(fx, lanes, old), 15, "all are told");
    is_fine(writing(fx, rotate, NULL), "something for nobody");
    is_int(changed_since(fx, lanes, old), 0, "nobody is told");
}

/* A writer that dies between its commit and the raise: stands for one that was killed there. */
static int die_with_an_intention(fixture_t *fx, int number)
{
    cib_generation_intend(fx->gen);
    raise(SIGKILL);
    return 0;
}

static void test_killed(fixture_t *fx, const lanes_t *lanes)
{
    const char *value = cib_generation_value(fx->gen, lanes->other_tags, fx->pool);
    apr_int64_t other = lanes->shared;

    ok(cib_generation_is_current(fx->gen, lanes->other_tags, value), "a value is trusted");
    fixture_detach(fx);
    is_int(exit_code(fork_child(fx, die_with_an_intention, 0)), 1000 + SIGKILL, "a writer dies");
    fixture_attach(fx);
    ok(!cib_generation_is_current(fx->gen, lanes->other_tags, value), "and no value is trusted");
    is_fine(writing(fx, rotate, NULL), "a write that raises nothing");
    is_fine(writing(fx, raise_one, &other), "one that raises something else");
    ok(!cib_generation_is_current(fx->gen, lanes->other_tags, value), "everybody was told");
    value = cib_generation_value(fx->gen, lanes->other_tags, fx->pool);
    ok(cib_generation_is_current(fx->gen, lanes->other_tags, value),
       "and values are trusted again");
}

static void tests(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    int sqlite = strcmp(driver, "sqlite3") == 0;
    lanes_t lanes;

    test_threads(fx);
    test_swallowed(fx);
    test_stale(fx);
    test_killed_writer(fx);
    test_raises(fx, &lanes);
    if (sqlite) {
        test_spoiled(fx);
        test_busy(fx);
        test_full(fx);
        test_killed(fx, &lanes);
    } else {
        test_terminated(fx);
        test_forgotten(fx);
    }
    fixture_done(fx);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

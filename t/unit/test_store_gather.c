/* Sections for many: who asks the same at the same time is answered together, and each is given
 * what it would have been given alone. */
#include "store_fixture.h"

#define THREADS 8

/* --- gathering */

typedef struct caller_t {
    int asked;    /* runs that it was in */
    int spoiled;  /* it is to fail by itself */
    int poisoned; /* the database is to choke on it */
    int granted;
} caller_t;

static int largest; /* atomically; the largest batch so far */

static cib_error_t *count_callers(cib_db_t *db, cib_wish_t *const *wishes, int count,
                                  apr_pool_t *pool)
{
    if (count > __atomic_load_n(&largest, __ATOMIC_RELAXED))
        __atomic_store_n(&largest, count, __ATOMIC_RELAXED);
    for (int i = 0; i < count; i++) {
        caller_t *caller = wishes[i]->baton;

        caller->asked++;
        if (caller->spoiled)
            wishes[i]->err =
                cib_error(wishes[i]->pool, CIB_REASON_CONFLICT, APR_SUCCESS, "spoiled");
    }
    return CIB_OK;
}

static cib_error_t *ask(fixture_t *fx, cib_gather_e kind, cib_wishes_fn section, void *baton,
                        apr_pool_t *pool)
{
    return cib_store_gather(fx->store, fx->source, kind, "key", section, baton, pool);
}

static int wrong; /* atomically */

/* Until some were answered together, for nothing says when that will be; but not for ever. */
static int is_enough(const fixture_t *fx, int turns)
{
    if (turns < 20 || turns > 2000)
        return turns >= 20;
    return strcmp(fx->driver, "pgsql") != 0 || __atomic_load_n(&largest, __ATOMIC_RELAXED) > 1;
}

static void ask_and_ask(fixture_t *fx, int number, apr_pool_t *pool)
{
    int sqlite = strcmp(fx->driver, "sqlite3") == 0; /* where others fail it is asked again */
    apr_pool_t *turn;

    must(apr_pool_create(&turn, pool), "make a pool");
    for (int turns = 0; !is_enough(fx, turns); turns++) {
        caller_t me = {.spoiled = number % 2};
        cib_error_t *err = ask(fx, CIB_GATHER_MANY, count_callers, &me, turn);

        if (me.asked < 1 || (me.asked > 1 && !sqlite) || (err != NULL) != me.spoiled ||
            (err && (err->reason != CIB_REASON_CONFLICT || strcmp(err->message, "spoiled") != 0)))
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
        apr_pool_clear(turn);
    }
}

static void test_gathering(fixture_t *fx)
{
    int pgsql = strcmp(fx->driver, "pgsql") == 0;

    largest = wrong = 0;
    in_threads(fx, THREADS, ask_and_ask);
    is_int(wrong, 0, "%d threads: each is answered once a time, its own failure is its own",
           THREADS);
    ok(pgsql ? largest > 1 : largest == 1, "at most %d together", largest);
}

/* --- failures, of those who are together */

static const cib_sql_t choke = {"INSERT INTO nowhere VALUES (%lld)", NULL};

static cib_error_t *poison_all(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_error_t *err;

    CIB_TRY(count_callers(db, wishes, count, pool));
    for (int i = 0; i < count; i++)
        if (((caller_t *)wishes[i]->baton)->poisoned) {
            err = cib_db_change(db, &choke, CIB_ARGS(CIB_INT(i)), NULL, pool);
            CIB_TRY(err);
        }
    return CIB_OK;
}

static void ask_poisoned(fixture_t *fx, int number, apr_pool_t *pool)
{
    caller_t me = {.poisoned = number == 0};
    apr_pool_t *turn;

    must(apr_pool_create(&turn, pool), "make a pool");
    for (int turns = 0; !is_enough(fx, turns); turns++) {
        cib_error_t *err = ask(fx, CIB_GATHER_MANY, poison_all, &me, turn);

        if ((err != NULL) != me.poisoned ||
            (err && (err->reason != CIB_REASON_INTERNAL || !strstr(err->detail, "nowhere"))))
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
        apr_pool_clear(turn);
    }
}

/* Everybody's turn is lost, but for those who have their wish. The question gives others the time
 * to come meanwhile. */
static cib_error_t *grant_and_fail(cib_db_t *db, cib_wish_t *const *wishes, int count,
                                   apr_pool_t *pool)
{
    caller_t *first = wishes[0]->baton;
    int rotation;

    CIB_TRY(cib_q_registration_rotation(db, &rotation, pool));
    CIB_TRY(count_callers(db, wishes, count, pool));
    wishes[0]->granted = first->granted = count > 1;
    return cib_error_detail(pool, cib_error(pool, CIB_REASON_UNAVAILABLE, APR_SUCCESS, NULL),
                            "lost");
}

static void ask_in_vain(fixture_t *fx, int number, apr_pool_t *pool)
{
    apr_pool_t *turn;

    must(apr_pool_create(&turn, pool), "make a pool");
    for (int turns = 0; !is_enough(fx, turns); turns++) {
        caller_t me = {0};
        cib_error_t *err = ask(fx, CIB_GATHER_ONE, grant_and_fail, &me, turn);

        if ((err == NULL) != me.granted ||
            (err && (err->reason != CIB_REASON_UNAVAILABLE || strcmp(err->detail, "lost") != 0)))
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
        apr_pool_clear(turn);
    }
}

/* Together they cannot be borne, and then, one by one, the database answers no more. */
static int alone_in_vain; /* atomically */

static cib_error_t *choke_and_hang(cib_db_t *db, cib_wish_t *const *wishes, int count,
                                   apr_pool_t *pool)
{
    int rotation;

    CIB_TRY(cib_q_registration_rotation(db, &rotation, pool));
    CIB_TRY(count_callers(db, wishes, count, pool));
    if (count > 1)
        return cib_error(pool, CIB_REASON_INTERNAL, APR_SUCCESS, "choked");
    if (__atomic_load_n(&largest, __ATOMIC_RELAXED) < 2)
        return CIB_OK;
    __atomic_add_fetch(&alone_in_vain, 1, __ATOMIC_RELAXED);
    apr_sleep(apr_time_from_msec(1100));
    return cib_error(pool, CIB_REASON_UNAVAILABLE, APR_SUCCESS, "hung");
}

static void ask_until_it_hangs(fixture_t *fx, int number, apr_pool_t *pool)
{
    for (int turns = 0; turns < 2000 && __atomic_load_n(&largest, __ATOMIC_RELAXED) < 2; turns++) {
        caller_t me = {0};
        cib_error_t *err = ask(fx, CIB_GATHER_MANY, choke_and_hang, &me, pool);

        if (err && (err->reason != CIB_REASON_UNAVAILABLE || strcmp(err->message, "hung") != 0))
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
    }
}

static void test_failures(fixture_t *fx)
{
    caller_t me = {0};

    largest = wrong = 0;
    in_threads(fx, THREADS, ask_poisoned);
    is_int(wrong, 0, "what the database cannot bear fails only who brought it");
    if (strcmp(fx->driver, "pgsql") != 0)
        return;
    largest = 0;
    in_threads(fx, THREADS, ask_in_vain);
    is_int(wrong, 0, "a batch that is lost fails all but those who had what they wished");
    ok(largest > 1, "some were together");
    largest = 0;
    in_threads(fx, THREADS, ask_until_it_hangs);
    is_int(alone_in_vain, 1, "who is told that it does not answer tells all the others");
    is_int(wrong, 0, "and they need not ask");
    is_reason(ask(fx, CIB_GATHER_ONE, grant_and_fail, &me, fx->pool), CIB_REASON_UNAVAILABLE,
              "one alone fails too");
}

/* --- claims */

typedef struct world_t {
    apr_int64_t projects[3];
    apr_int64_t plain, docker;
    cib_runner_t runners[4]; /* specific, shared, shared alike, shared with a tag less */
    apr_int64_t first;
} world_t;

static cib_error_t *make_world(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    world_t *world = baton;

    CIB_TRY(cib_q_tagset(db, "", &world->plain, pool));
    CIB_TRY(cib_q_tagset(db, "docker", &world->docker, pool));
    for (int i = 0; i < 3; i++) {
        cib_project_t project = {.name = "p",
                                 .repo_url = "http://example.org/p.git",
                                 .timeout = 60,
                                 .shared_runners_enabled = 1,
                                 .builds_enabled = 1};

        CIB_TRY(cib_q_project_add(db, &project, 1, &world->projects[i], pool));
    }
    for (int i = 0; i < 4; i++) {
        cib_runner_t *runner = &world->runners[i];

        *runner = (cib_runner_t){.active = 1,
                                 .run_untagged = 1,
                                 .is_shared = i > 0,
                                 .tags = i < 3 ? "docker" : "",
                                 .description = "r"};
        CIB_TRY(
            cib_q_runner_add(db, runner, apr_psprintf(pool, "token %d", i), 1, &runner->id, pool));
    }
    CIB_TRY(cib_q_runner_bind(db, world->runners[0].id, world->projects[0], pool));
    return cib_q_runner_bind(db, world->runners[0].id, world->projects[1], pool);
}

/* Twelve: by turns of the first project, plain and docker, and of the others. */
#define PUT 12

static cib_error_t *put_builds(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    static const int whose[PUT] = {0, 0, 0, 1, 0, 2, 0, 1, 0, 0, 2, 0};
    const cib_build_spec_t spec = {"make", "{}"};
    world_t *world = baton;

    for (int i = 0; i < PUT; i++) {
        cib_build_t build = {.project_id = world->projects[whose[i]],
                             .tagset_id = i % 2 ? world->docker : world->plain,
                             .status = CIB_PENDING,
                             .name = "build",
                             .stage = "test",
                             .ref = "master",
                             .sha = "0123456789012345678901234567890123456789",
                             .timeout = 60,
                             .created_at = 1};

        CIB_TRY(cib_q_build_add(db, &build, &spec, &build.id, pool));
        CIB_TRY(cib_q_enqueue(db, &build, pool));
        if (i == 0)
            world->first = build.id;
    }
    return CIB_OK;
}

static void put_again(fixture_t *fx, world_t *world)
{
    outside(fx, fx->params, "UPDATE builds SET status = 'success'");
    outside(fx, fx->params, "DELETE FROM queue");
    if (writing(fx, put_builds, world))
        bail_out("cannot add builds");
}

typedef struct claiming_t {
    cib_claiming_t *claimings[PUT + 2];
    int count;
} claiming_t;

static cib_error_t *claim_all(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    claiming_t *all = baton;

    return cib_q_claims(db, all->claimings, all->count, 1000, pool);
}

static cib_error_t *claim_each(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    claiming_t *all = baton;

    for (int i = 0; i < all->count; i++)
        CIB_TRY(cib_q_claim(db, all->claimings[i]->runner, 1000, &all->claimings[i]->id, pool));
    return CIB_OK;
}

/* What they got, each by its place among those that were put. */
static const char *got(fixture_t *fx, const world_t *world, const claiming_t *all)
{
    const char *text = "";

    for (int i = 0; i < all->count; i++) {
        apr_int64_t id = all->claimings[i]->id;

        text = apr_psprintf(fx->pool, "%s %d", text, id ? (int)(id - world->first) : -1);
    }
    return text;
}

/* `count` claims of these two runners by turns: together as one after the other. */
static void is_as_each(fixture_t *fx, world_t *world, int one, int other, int count,
                       const char *what)
{
    cib_claiming_t claimings[PUT + 2];
    claiming_t all = {.count = count};
    const char *expected;

    for (int i = 0; i < count; i++) {
        claimings[i] = (cib_claiming_t){&world->runners[i % 2 ? other : one], -1};
        all.claimings[i] = &claimings[i];
    }
    put_again(fx, world);
    is_fine(writing(fx, claim_each, &all), "claim one after the other");
    expected = got(fx, world, &all);
    put_again(fx, world);
    is_fine(writing(fx, claim_all, &all), "claim together");
    is_str(got(fx, world, &all), expected, "%s", what);
}

typedef struct seen_t {
    apr_int64_t id;
    cib_build_t *build;
} seen_t;

static cib_error_t *see(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    seen_t *seen = baton;

    return cib_q_build(db, seen->id, &seen->build, pool);
}

static const cib_build_t *build_of(fixture_t *fx, apr_int64_t id)
{
    seen_t seen = {.id = id};

    if (reading(fx, see, &seen) || !seen.build)
        bail_out("cannot read build %d", (int)id);
    return seen.build;
}

static void test_claims(fixture_t *fx, world_t *world)
{
    cib_claiming_t first = {&world->runners[1], 0}, second = {&world->runners[2], 0};
    claiming_t two = {{&first, &second}, 2};
    const cib_build_t *build;

    is_as_each(fx, world, 0, 0, 5, "a specific runner: the oldest of its projects");
    is_as_each(fx, world, 0, 0, PUT, "all of them, and then nothing");
    is_as_each(fx, world, 1, 1, 3, "a shared runner: by turns of the projects");
    is_as_each(fx, world, 1, 2, 7, "two alike");
    is_as_each(fx, world, 2, 1, PUT + 2, "until nothing is left");
    put_again(fx, world);
    is_fine(writing(fx, claim_all, &two), "two runners");
    build = build_of(fx, second.id);
    ok(build->runner_id == second.runner->id && build->on_shared_runner && build->claim == 1 &&
           build->started_at == 1000 && !build->heard_at && build->status == CIB_RUNNING,
       "each has its own, as claimed");
    is_int(build_of(fx, first.id)->runner_id, first.runner->id, "and so has the other");
}

/* Alike by what is known of them, and one of them has been changed meanwhile. */
static void test_changed(fixture_t *fx, world_t *world)
{
    cib_runner_t stale = world->runners[3];
    cib_claiming_t first = {&world->runners[1], 0}, second = {&stale, 0}, third = first;
    claiming_t all = {{&first, &second, &third}, 3};

    stale.tags = "docker";
    put_again(fx, world);
    is_str(cib_q_claims_key(&stale, fx->pool), cib_q_claims_key(first.runner, fx->pool),
           "a runner that lost a tag meanwhile asks as those who have it");
    is_fine(writing(fx, claim_all, &all), "it claims with them");
    ok(first.id && second.id && third.id, "all get one");
    is_int(build_of(fx, second.id)->tagset_id, world->plain, "it gets one that it may take");
}

/* The first by whom the others are asked for finds nothing: that holds for those like it only. */
static void test_first_changed(fixture_t *fx, world_t *world)
{
    cib_runner_t changed = world->runners[3], gone = world->runners[1];
    cib_claiming_t first = {&changed, 0}, second = {&world->runners[1], 0};
    cib_claiming_t third = {&world->runners[2], 0};
    claiming_t all = {{&first, &second, &third}, 3};

    changed.tags = "docker";
    put_again(fx, world);
    outside(fx, fx->params,
            apr_psprintf(fx->pool, "DELETE FROM queue WHERE tagset_id = %" APR_INT64_T_FMT,
                         world->plain));
    is_fine(writing(fx, claim_all, &all), "the first has lost the tag that all builds have");
    ok(!first.id && second.id && third.id, "the others get theirs");
    put_again(fx, world);
    gone.id = 987654321;
    first.runner = &gone;
    is_fine(writing(fx, claim_all, &all), "the first is gone");
    ok(!first.id && second.id && third.id, "and the others get theirs");
}

/* --- ends */

typedef struct ends_t {
    cib_end_t *ends[5];
    int count;
} ends_t;

static cib_error_t *end_all(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    ends_t *all = baton;

    return cib_q_builds_end(db, all->ends, all->count, pool);
}

static void test_ends(fixture_t *fx, world_t *world)
{
    cib_claiming_t claimings[3] = {
        {&world->runners[0], 0}, {&world->runners[0], 0}, {&world->runners[0], 0}};
    claiming_t claims = {{&claimings[0], &claimings[1], &claimings[2]}, 3};
    cib_move_t well = {.from = CIB_RUNNING, .to = CIB_SUCCESS, .claim = 1, .now = 2000};
    cib_move_t badly = {.from = CIB_RUNNING,
                        .to = CIB_FAILED,
                        .now = 3000,
                        .failure_reason = "a \"reason\", \\ {of} its own",
                        .has_exit_code = 1,
                        .exit_code = -7,
                        .trace_checksum = "NULL"};
    cib_end_t ends[5];
    ends_t all = {{&ends[0], &ends[1], &ends[2], &ends[3], &ends[4]}, 5};
    const cib_build_t *build;

    put_again(fx, world);
    is_fine(writing(fx, claim_all, &claims), "claim three");
    for (int i = 0; i < 5; i++)
        ends[i] = (cib_end_t){claimings[2 - i % 3].id, well, -1};
    ends[0].move.claim = 2; /* of another claim */
    ends[1].move = badly;   /* of any */
    ends[3].move.claim = 1; /* of the first again, and now by its own */
    ends[4].id = claimings[0].id + 1000;
    is_fine(writing(fx, end_all, &all), "five end at once");
    is_str(apr_psprintf(fx->pool, "%d %d %d %d %d", ends[0].moved, ends[1].moved, ends[2].moved,
                        ends[3].moved, ends[4].moved),
           "0 1 1 1 0", "those end whose claim it is, and that there are");
    build = build_of(fx, ends[1].id);
    ok(build->status == CIB_FAILED && build->finished_at == 3000 && build->has_exit_code &&
           build->exit_code == -7 && strcmp(build->failure_reason, badly.failure_reason) == 0 &&
           strcmp(build->trace_checksum, "NULL") == 0,
       "with all that is said of it");
    build = build_of(fx, ends[2].id);
    ok(build->status == CIB_SUCCESS && build->finished_at == 2000 && !build->has_exit_code &&
           !build->failure_reason && !build->trace_checksum,
       "or nothing");
    is_fine(writing(fx, end_all, &all), "once more");
    is_int(ends[0].moved + ends[1].moved + ends[2].moved + ends[3].moved, 0, "they have ended");
}

/* --- what is read of many */

typedef struct reads_t {
    cib_token_owner_t owners[4];
    cib_whole_t wholes[4];
    int count; /* at once */
} reads_t;

static cib_error_t *read_all(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    reads_t *reads = baton;

    for (int i = 0; i < 4; i += reads->count) {
        cib_token_owner_t *owners[4];
        cib_whole_t *wholes[4];

        for (int j = 0; j < reads->count; j++) {
            owners[j] = &reads->owners[i + j];
            wholes[j] = &reads->wholes[i + j];
        }
        CIB_TRY(cib_q_runners_by_token(db, owners, reads->count, pool));
        CIB_TRY(cib_q_owned(db, wholes, reads->count, pool));
        ok(!wholes[0]->runner && !wholes[0]->parts, "no more than the build and its project");
        CIB_TRY(cib_q_wholes(db, wholes, reads->count, pool));
    }
    return CIB_OK;
}

static void test_reads(fixture_t *fx, world_t *world, int count)
{
    cib_claiming_t claiming = {&world->runners[0], 0};
    claiming_t claim = {{&claiming}, 1};
    reads_t reads = {.count = count};
    static const char *const tokens[] = {"token 2", "{\"", "token 0", "token 2"};
    const cib_whole_t *whole = &reads.wholes[0];

    put_again(fx, world);
    is_fine(writing(fx, claim_all, &claim), "claim one");
    for (int i = 0; i < 4; i++) {
        reads.owners[i] = (cib_token_owner_t){tokens[i], NULL, fx->pool};
        reads.wholes[i] =
            (cib_whole_t){.id = i == 1 ? 987654321 : claiming.id + i, .pool = fx->pool};
    }
    is_fine(reading(fx, read_all, &reads), count == 1 ? "read one by one" : "read four at once");
    ok(reads.owners[0].runner->id == world->runners[2].id && !reads.owners[1].runner &&
           reads.owners[2].runner->id == world->runners[0].id &&
           reads.owners[3].runner->id == world->runners[2].id &&
           reads.owners[0].runner != reads.owners[3].runner,
       "runners by their tokens");
    ok(!reads.wholes[1].build && !reads.wholes[1].parts, "no build, no more");
    ok(whole->build->id == claiming.id && whole->project->id == world->projects[0] &&
           strcmp(whole->parts->spec.commands, "make") == 0 &&
           strcmp(whole->parts->spec.options, "{}") == 0 && !whole->parts->has_variables &&
           !whole->parts->has_needs && !whole->parts->has_artifacts &&
           whole->runner->id == world->runners[0].id && strcmp(whole->build->tags, "") == 0,
       "all of a build");
    whole = &reads.wholes[3];
    ok(whole->build->id == claiming.id + 3 && whole->project->id == world->projects[1] &&
           !whole->runner && whole->parts && strcmp(whole->build->tags, "docker") == 0,
       "of another, that no runner has");
}

static void tests(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    world_t world;

    test_gathering(fx);
    test_failures(fx);
    is_fine(writing(fx, make_world, &world), "make a world");
    test_claims(fx, &world);
    test_changed(fx, &world);
    test_first_changed(fx, &world);
    test_ends(fx, &world);
    test_reads(fx, &world, 1);
    if (strcmp(driver, "pgsql") == 0)
        test_reads(fx, &world, 4);
    fixture_done(fx);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

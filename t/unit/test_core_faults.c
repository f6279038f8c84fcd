/* Every call that can fail, failed once: each operation is made again and again, and at the N-th
 * call that writes to the storage directory (SQLite's files among them), or speaks to PostgreSQL,
 * that call fails, for every N until none is hit. Whatever was not acknowledged must not be seen,
 * what was there before must stay, and the same operation must succeed as soon as nothing fails any
 * more.
 */
#include "core/cib_artifact.h"
#include "core/cib_trace.h"
#include "core/cib_upkeep.h"
#include "core_fixture.h"
#include "fault.h"

/* --- one operation --------------------------------------------------------------------------- */

/* What an operation is made on, and what is to be seen of it. */
typedef struct trial_t {
    core_t *core;
    apr_int64_t id;
    cib_build_t *build;
} trial_t;

typedef enum { BEFORE, AFTER, NEITHER } seen_e;

typedef struct operation_t {
    const char *name;
    void (*prepare)(trial_t *trial);
    cib_error_t *(*run)(trial_t *trial);
    seen_e (*look)(trial_t *trial);
    int is_upkeep; /* one of several works: what fails does not keep the rest, and comes again */
    int is_one;    /* one statement without a transaction: it may be done although it failed */
} operation_t;

#define OLD "what was there before"
#define NEW "what comes now, and is longer than that was"

static void prepare_pending(trial_t *trial)
{
    trial->id = new_build(trial->core, 0, 0);
}

static void prepare_running(trial_t *trial)
{
    prepare_pending(trial);
    start(trial->core, trial->id);
    trial->build = build_of(trial->core, trial->id);
}

/* artifacts */

static cib_error_t *upload_text(trial_t *trial, const char *text, apr_time_t expire_at)
{
    const cib_sink_t *sink;
    cib_upload_t *upload;

    CIB_TRY(cib_upload_begin(&trial->core->ctx, trial->build, &upload));
    CIB_TRY(cib_upload_file(upload, "archive", "zip", "a.zip", &sink));
    CIB_TRY(sink->write(sink->baton, text, strlen(text)));
    CIB_TRY(cib_upload_file_end(upload));
    CIB_TRY(cib_upload_file(upload, "metadata", "gzip", "m.gz", &sink));
    CIB_TRY(sink->write(sink->baton, "m", 1));
    CIB_TRY(cib_upload_file_end(upload));
    return cib_upload_commit(upload, NULL, expire_at, 1);
}

static cib_error_t *upload(trial_t *trial)
{
    return upload_text(trial, NEW, 0);
}

/* NULL: none, "?": not whole. */
static const char *archive_of(trial_t *trial)
{
    cib_artifact_t *artifact;
    apr_file_t *file;
    char text[200] = "";
    cib_error_t *err = cib_artifact_open(&trial->core->ctx, trial->id, "archive", &artifact, &file);

    if (err)
        return err->reason == CIB_REASON_NOTHING ? NULL : "?";
    if (artifact->size >= (apr_int64_t)sizeof(text) ||
        apr_file_read_full(file, text, (apr_size_t)artifact->size, NULL) != APR_SUCCESS)
        return "?";
    apr_file_close(file);
    return apr_pstrdup(trial->core->pool, text);
}

static seen_e look_uploaded(trial_t *trial)
{
    const char *archive = archive_of(trial);

    return !archive ? BEFORE : strcmp(archive, NEW) == 0 ? AFTER : NEITHER;
}

static void prepare_archive(trial_t *trial)
{
    prepare_running(trial);
    fine(upload_text(trial, OLD, apr_time_now()), "upload");
    /* expired ones are not shown */
    sql(trial->core, "UPDATE artifacts SET expire_at = NULL WHERE build_id = %d", (int)trial->id);
}

static seen_e look_replaced(trial_t *trial)
{
    const char *archive = archive_of(trial);

    if (!archive)
        return NEITHER;
    return strcmp(archive, OLD) == 0 ? BEFORE : strcmp(archive, NEW) == 0 ? AFTER : NEITHER;
}

static cib_error_t *remove_archive(trial_t *trial)
{
    return cib_artifact_delete(&trial->core->ctx, trial->id, NULL);
}

static seen_e look_removed(trial_t *trial)
{
    const char *archive = archive_of(trial);

    return !archive ? AFTER : strcmp(archive, OLD) == 0 ? BEFORE : NEITHER;
}

/* traces */

static cib_error_t *append_text(trial_t *trial, apr_int64_t at, const char *text)
{
    cib_trace_append_t *append;
    const cib_sink_t *sink;
    apr_int64_t received;

    CIB_TRY(cib_trace_append_begin(&trial->core->ctx, trial->build, &append, &sink));
    CIB_TRY(sink->write(sink->baton, text, strlen(text)));
    return cib_trace_append_finish(append, at, &received);
}

static cib_error_t *replace_trace(trial_t *trial)
{
    cib_trace_replace_t *replace;
    const cib_sink_t *sink;

    CIB_TRY(cib_trace_replace_begin(&trial->core->ctx, trial->build, &replace, &sink));
    CIB_TRY(sink->write(sink->baton, NEW, strlen(NEW)));
    return cib_trace_replace_finish(replace);
}

static void prepare_trace(trial_t *trial)
{
    prepare_running(trial);
    fine(append_text(trial, 0, OLD), "append");
}

/* What was acknowledged already may come again: 416 tells the runner to go on. */
static cib_error_t *append(trial_t *trial)
{
    cib_error_t *err = append_text(trial, (apr_int64_t)strlen(OLD), NEW);

    return err && err->reason == CIB_REASON_OUT_OF_RANGE ? CIB_OK : err;
}

/* The bytes that a reader is shown, if the length that the runner is told is theirs. */
static const char *trace_of(trial_t *trial)
{
    apr_int64_t size, received;
    apr_file_t *file;
    char *text;

    if (cib_trace_open(&trial->core->ctx, trial->id, &file, &size) ||
        cib_trace_received(&trial->core->ctx, trial->build, &received) || size != received)
        return "?";
    if (!file)
        return "";
    text = apr_pcalloc(trial->core->pool, (apr_size_t)size + 1);
    if (size && apr_file_read_full(file, text, (apr_size_t)size, NULL) != APR_SUCCESS)
        return "?";
    apr_file_close(file);
    return text;
}

static seen_e look_appended(trial_t *trial)
{
    const char *text = trace_of(trial);

    return strcmp(text, OLD) == 0 ? BEFORE : strcmp(text, OLD NEW) == 0 ? AFTER : NEITHER;
}

static seen_e look_trace_replaced(trial_t *trial)
{
    const char *text = trace_of(trial);

    return strcmp(text, OLD) == 0 ? BEFORE : strcmp(text, NEW) == 0 ? AFTER : NEITHER;
}

/* builds */

/* It may be claimed and nobody know: its time-out puts that right. */
static void undo_unheard(trial_t *trial)
{
    apr_time_t later = apr_time_now() + 2 * trial->core->limits.ack_timeout;
    cib_upkeep_report_t report;

    fine(cib_upkeep_turn(&trial->core->ctx, later, 0, 100, 0, &report), "a turn of upkeep");
}

static cib_error_t *claim_one(trial_t *trial)
{
    cib_claim_t claimed;

    if (fault.kind == FAULT_NONE)
        undo_unheard(trial);
    CIB_TRY(cib_queue_claim(&trial->core->ctx, trial->core->runner, NULL, &claimed));
    /* a claim whose answer was lost may have been made, and then the next one finds nothing */
    if (claimed.build_id != trial->id)
        return cib_error(trial->core->ctx.pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    return CIB_OK;
}

static seen_e look_status(trial_t *trial, cib_status_e before, cib_status_e after)
{
    cib_status_e status = build_of(trial->core, trial->id)->status;

    return status == before ? BEFORE : status == after ? AFTER : NEITHER;
}

static seen_e look_claimed(trial_t *trial)
{
    return look_status(trial, CIB_PENDING, CIB_RUNNING);
}

static cib_error_t *end(trial_t *trial)
{
    const cib_ending_t ending = {.state = "success", .bytesize = -1};
    cib_ended_e ended;

    return cib_build_finish(&trial->core->ctx, trial->build, &ending, &ended);
}

static seen_e look_ended(trial_t *trial)
{
    if (strcmp(trace_of(trial), OLD) != 0)
        return NEITHER;
    return look_status(trial, CIB_RUNNING, CIB_SUCCESS);
}

static void prepare_ended(trial_t *trial)
{
    prepare_archive(trial);
    fine(append_text(trial, 0, OLD), "append");
    fine(end(trial), "finish");
}

static cib_error_t *erase(trial_t *trial)
{
    cib_error_t *err = cib_build_erase(&trial->core->ctx, trial->id);

    /* it is erased */
    return err && err->reason == CIB_REASON_CONFLICT ? CIB_OK : err;
}

static seen_e look_erased(trial_t *trial)
{
    if (!build_of(trial->core, trial->id)->erased_at)
        return strcmp(trace_of(trial), OLD) == 0 && look_replaced(trial) == BEFORE ? BEFORE
                                                                                   : NEITHER;
    return archive_of(trial) ? NEITHER : AFTER;
}

static void prepare_expired(trial_t *trial)
{
    prepare_ended(trial);
    sql(trial->core, "UPDATE artifacts SET expire_at = 1 WHERE build_id = %d", (int)trial->id);
}

static cib_error_t *expire(trial_t *trial)
{
    cib_upkeep_report_t report;

    return cib_upkeep_turn(&trial->core->ctx, apr_time_now(), apr_time_now(), 100, 0, &report);
}

static seen_e look_expired(trial_t *trial)
{
    apr_array_header_t *rows;

    fine(cib_artifact_list(&trial->core->ctx, trial->id, &rows), "list");
    return rows->nelts == 2 ? BEFORE : rows->nelts == 0 ? AFTER : NEITHER;
}

static cib_error_t *add(trial_t *trial)
{
    apr_array_header_t *ids = apr_array_make(trial->core->pool, 1, sizeof(apr_int64_t));
    const cib_build_new_t fresh = {
        .project_id = trial->core->project, .sha = SHA, .commands = "true"};

    return cib_build_add(&trial->core->ctx, &fresh, 1, ids);
}

static void prepare_nothing(trial_t *trial)
{
    trial->id = new_build(trial->core, 0, 0);
    while (claim(trial->core))
        continue;
}

static seen_e look_added(trial_t *trial)
{
    apr_array_header_t *builds;

    fine(cib_build_list(&trial->core->ctx, CIB_PENDING, 0, trial->id, -1, &builds), "list");
    return builds->nelts ? AFTER : BEFORE;
}

static const operation_t operations[] = {
    {"upload", prepare_running, upload, look_uploaded, 0, 0},
    {"replace", prepare_archive, upload, look_replaced, 0, 0},
    {"delete", prepare_archive, remove_archive, look_removed, 0, 0},
    {"append", prepare_trace, append, look_appended, 0, 0},
    {"replace the trace", prepare_trace, replace_trace, look_trace_replaced, 0, 0},
    {"claim", prepare_pending, claim_one, look_claimed, 0, 1},
    {"finish", prepare_trace, end, look_ended, 0, 0},
    {"erase", prepare_ended, erase, look_erased, 0, 0},
    {"expire", prepare_expired, expire, look_expired, 1, 0},
    {"add", prepare_nothing, add, look_added, 0, 0},
};

/* Whether the store makes sure of commits, and how many were unsure because it did not. */
static int making_sure, unsure;

/* --- trials ---------------------------------------------------------------------------------- */

static void arm(const core_t *core, fault_e kind, int error, int countdown)
{
    fault_arm(core->fx->dir, kind, error, countdown);
}

/* Once PostgreSQL's connection breaks in a commit, nobody can say whether it was done: either is
 * right then, but nothing in between. Unless the store makes sure. */
static int judge(const operation_t *operation, const cib_error_t *err, seen_e seen, fault_e kind)
{
    if (err && err->unsure)
        return kind == FAULT_SOCKETS && !making_sure && seen != NEITHER;
    if (err && seen == AFTER)
        return (kind == FAULT_SOCKETS && operation->is_one) || operation->is_upkeep;
    if (!err && seen == BEFORE)
        return operation->is_upkeep;
    return seen == (err ? BEFORE : AFTER);
}

/* What waits or runs is in the way of the next trial. */
static void clear_away(core_t *core)
{
    static const cib_status_e live[] = {CIB_PENDING, CIB_RUNNING};

    for (int i = 0; i < 2; i++) {
        apr_array_header_t *builds;

        fine(cib_build_list(&core->ctx, live[i], 0, 0, -1, &builds), "list");
        for (int j = 0; j < builds->nelts; j++)
            fine(cib_build_cancel(&core->ctx, APR_ARRAY_IDX(builds, j, cib_build_t *)->id),
                 "cancel");
    }
}

/* The N-th call fails. 0: there was none. `*wrong` counts what must not be. */
static int try(core_t *core, const operation_t *operation, fault_e kind, int error, int number,
               int *wrong)
{
    static const char *const names[] = {"before", "after", "neither"};
    trial_t trial = {.core = core};
    cib_error_t *err;
    seen_e seen;
    int hit;

    operation->prepare(&trial);
    arm(core, kind, error, number);
    err = operation->run(&trial);
    fault.kind = FAULT_NONE;
    hit = fault.hit;
    seen = operation->look(&trial);
    unsure += err && err->unsure;
    if (!judge(operation, err, seen, kind)) {
        diag("%s, call %d (%s): %s, and %s is seen", operation->name, number, strerror(error),
             err ? cib_error_text(err, core->pool) : "no error", names[seen]);
        ++*wrong;
    }
    /* where it is done, it may not be possible any more */
    err = seen == AFTER ? CIB_OK : operation->run(&trial);
    if (err || operation->look(&trial) != AFTER) {
        diag("%s, call %d: it is not done afterwards: %s", operation->name, number,
             err ? cib_error_text(err, core->pool) : "no error");
        ++*wrong;
    }
    clear_away(core);
    return hit;
}

static void tell_fault(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
    (void)baton;
    (void)build_id;
    diag("check: %s: %s", kind, line);
}

static void check_all(core_t *core, const char *name)
{
    cib_upkeep_report_t report = {0};
    int faults = 0;

    fine(cib_upkeep_orphans(&core->ctx, 0, &report), "remove orphans");
    fine(cib_check(&core->ctx, 0, tell_fault, NULL, &faults), "check");
    is_int(faults, 0, "%s: database and files agree", name);
}

static void try_all(core_t *core, const operation_t *operation, fault_e kind, int error)
{
    apr_pool_t *parent = core->pool;
    int number = 0, wrong = 0, hit = 1;

    for (; hit && number < 10000; number++) {
        apr_pool_create(&core->pool, parent);
        core->ctx.pool = core->pool;
        hit = try(core, operation, kind, error, number, &wrong);
        apr_pool_destroy(core->pool);
    }
    core->ctx.pool = core->pool = parent;
    /* claims and such write no file where the database is PostgreSQL */
    ok(!hit && (number > 1 || (kind == FAULT_FILES && strcmp(core->fx->driver, "pgsql") == 0)),
       "%s: every call failed once (%s): %d", operation->name, strerror(error), number - 1);
    is_int(wrong, 0, "%s: and nothing was lost or made up", operation->name);
    check_all(core, operation->name);
}

/* --- how much is said ------------------------------------------------------------------------ */

/* Calls on the connection while a build ends that so many need. */
static int calls_to_end(core_t *core, int dependents, const char *state)
{
    apr_array_header_t *needs = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *ids = apr_array_make(core->pool, 8, sizeof(apr_int64_t));
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA, .needs = needs};
    apr_int64_t id = new_build(core, 0, 0);
    int calls;

    start(core, id);
    APR_ARRAY_PUSH(needs, apr_int64_t) = id;
    fine(cib_build_add(&core->ctx, &fresh, dependents, ids), "add");
    arm(core, FAULT_SOCKETS, ECONNRESET, 1000000);
    finish(core, id, state);
    calls = 1000000 - fault.countdown;
    arm(core, FAULT_NONE, 0, 0);
    is_str(status_of(core, APR_ARRAY_IDX(ids, dependents - 1, apr_int64_t)),
           strcmp(state, "success") ? "skipped" : "pending", "%d builds go on", dependents);
    return calls;
}

/* Calls on the connection while a build is retried for which so many were skipped. */
static int calls_to_retry(core_t *core, int dependents)
{
    apr_array_header_t *needs = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *ids = apr_array_make(core->pool, 8, sizeof(apr_int64_t));
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA, .needs = needs};
    apr_int64_t id = new_build(core, 0, 0), again;
    int calls;

    start(core, id);
    finish(core, id, "failed");
    APR_ARRAY_PUSH(needs, apr_int64_t) = id;
    fine(cib_build_add(&core->ctx, &fresh, dependents, ids), "add");
    arm(core, FAULT_SOCKETS, ECONNRESET, 1000000);
    fine(cib_build_retry(&core->ctx, id, &again), "retry");
    calls = 1000000 - fault.countdown;
    arm(core, FAULT_NONE, 0, 0);
    is_str(status_of(core, APR_ARRAY_IDX(ids, dependents - 1, apr_int64_t)), "created",
           "%d builds wait again", dependents);
    return calls;
}

/* A build that thousands need ends in one transaction, and PostgreSQL may be far away. */
static void test_calls(core_t *core)
{
    int few, many;

    calls_to_end(core, 1, "success"); /* so that all is prepared */
    few = calls_to_end(core, 2, "success");
    many = calls_to_end(core, 2000, "success");
    ok(few > 0 && many < few * 3, "%d calls for 2 that wait, %d for 2000", few, many);
    calls_to_end(core, 1, "failed");
    few = calls_to_end(core, 2, "failed");
    many = calls_to_end(core, 2000, "failed");
    ok(few > 0 && many < few * 3, "%d calls for 2 that are skipped, %d for 2000", few, many);
    calls_to_retry(core, 1);
    few = calls_to_retry(core, 2);
    many = calls_to_retry(core, 2000);
    ok(few > 0 && many < few * 3, "%d calls for 2 that are reopened, %d for 2000", few, many);
}

/* What fails then was not done, and what was done does not fail. */
static void test_sure(void)
{
    core_t *core = core_new("pgsql");

    ok(unsure > 0, "%d commits were unsure", unsure);
    making_sure = 1;
    cib_store_make_sure(core->fx->store);
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
        try_all(core, &operations[i], FAULT_SOCKETS, ECONNRESET);
    making_sure = 0;
    core_done(core);
}

static void test(const char *driver)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT};
    core_t *core = core_new(driver);
    int pgsql = strcmp(driver, "pgsql") == 0;

    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
        for (int e = 0; e < 3; e++)
            try_all(core, &operations[i], FAULT_FILES, errors[e]);
        if (pgsql)
            try_all(core, &operations[i], FAULT_SOCKETS, ECONNRESET);
    }
    if (pgsql)
        test_calls(core);
    core_done(core);
    if (pgsql)
        test_sure();
}

int main(void)
{
    test("sqlite3");
    if (getenv("CIB_TEST_PGSQL"))
        test("pgsql");
    else
        diag("CIB_TEST_PGSQL is not set: not on PostgreSQL");
    printf("# %d calls on files and %d on connections failed\n", files_failed, sockets_failed);
    return done_testing();
}

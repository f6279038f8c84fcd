/* What time does, and what `check` sees. */
#include <unistd.h>

#include "../../src/core/removal.h"
#include "core/cib_artifact.h"
#include "core/cib_upkeep.h"
#include "core_fixture.h"
#include "files/cib_blob.h"
#include "files/cib_tracefile.h"
#include "util/cib_text.h"

#define SECONDS(n) apr_time_from_sec(n)

static cib_upkeep_report_t turn(core_t *core, apr_time_t now, apr_time_t since, int dry)
{
    cib_upkeep_report_t report = {0};

    fine(cib_upkeep_turn(&core->ctx, now, since, 100, dry, &report), "turn");
    return report;
}

static apr_int64_t running(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);

    start(core, id);
    return id;
}

static void heard(core_t *core, apr_int64_t id)
{
    cib_build_heard(&core->ctx, build_of(core, id));
}

/* What version the runner claims to be. */
static void version(core_t *core, const char *text)
{
    sql(core, "UPDATE runners SET version = '%s' WHERE id = %d", text, (int)core->shared);
}

static void test_overdue(core_t *core)
{
    apr_int64_t id = running(core), other;
    apr_time_t now = apr_time_now();

    version(core, "1.11.5");
    is_int(turn(core, now + SECONDS(50), 0, 0).requeued, 0, "not before the time is up");
    is_int(turn(core, now + SECONDS(70), now + SECONDS(20), 0).requeued, 0,
           "nor when this server could not hear");
    is_int(turn(core, now + SECONDS(70), 0, 1).requeued, 1, "a dry turn counts");
    is_str(status_of(core, id), "running", "and does nothing");
    is_int(turn(core, now + SECONDS(70), 0, 0).requeued, 1, "a claim that was not acknowledged");
    is_str(status_of(core, id), "pending", "goes back");
    start(core, id);
    heard(core, id);
    other = running(core);
    heard(core, other);
    sql(core, "UPDATE builds SET timeout = 36000 WHERE id = %d", (int)other);
    is_int(turn(core, now + SECONDS(70), 0, 0).requeued, 0, "one that was is safe");
    is_int(turn(core, now + SECONDS(890), 0, 0).failed, 0, "within its timeout and five minutes");
    is_int(turn(core, now + SECONDS(1000), now + SECONDS(800), 0).failed, 0,
           "beyond them, but this server was away");
    is_int(turn(core, now + SECONDS(1000), 0, 0).failed, 1, "beyond them");
    is_str(build_of(core, id)->failure_reason, "job_execution_timeout", "fails for its timeout");
    is_int(turn(core, now + SECONDS(3700), now + SECONDS(200), 0).failed, 0,
           "silence that this server could not have heard");
    version(core, "1.0.4");
    is_int(turn(core, now + SECONDS(3700), 0, 0).failed, 0, "an old runner's silence says nothing");
    version(core, "");
    is_int(turn(core, now + SECONDS(3700), 0, 0).failed, 0, "nor that of one without a version");
    version(core, "1.11.5");
    is_int(turn(core, now + SECONDS(3700), 0, 0).failed, 1, "silence for an hour");
    is_str(build_of(core, other)->failure_reason, "runner_lost", "fails as runner_lost");
    id = running(core);
    core->limits.ack_timeout = 0;
    is_int(turn(core, apr_time_now() + SECONDS(300), 0, 0).requeued, 0, "AckTimeout Off");
    core->limits.ack_timeout = SECONDS(60);
    for (int i = 0; i < 3; i++) {
        is_int(turn(core, apr_time_now() + SECONDS(70), 0, 0).requeued, 1, "back again");
        start(core, id);
    }
    is_int(turn(core, apr_time_now() + SECONDS(70), 0, 1).failed, 1, "a dry turn knows the end");
    is_int(turn(core, apr_time_now() + SECONDS(70), 0, 0).failed, 1, "then it fails");
    is_str(build_of(core, id)->failure_reason, "runner_lost", "as runner_lost");
}

/* A runner is told no more than its own limit. */
static void test_limit(core_t *core)
{
    apr_int64_t id = running(core);
    apr_time_t now = apr_time_now();

    heard(core, id);
    sql(core, "UPDATE builds SET timeout = 36000 WHERE id = %d", (int)id);
    sql(core, "UPDATE runners SET maximum_timeout = 700 WHERE id = %d", (int)core->shared);
    is_int(turn(core, now + SECONDS(990), 0, 0).failed, 0, "within its runner's limit");
    is_int(turn(core, now + SECONDS(1010), 0, 1).failed, 1, "a dry turn knows it");
    is_int(turn(core, now + SECONDS(1010), 0, 0).failed, 1, "beyond it");
    is_str(build_of(core, id)->failure_reason, "job_execution_timeout", "it fails for that");
    is_int(build_of(core, id)->timeout, 36000, "its own is what it was");
    id = running(core);
    heard(core, id);
    sql(core, "UPDATE runners SET maximum_timeout = 3000 WHERE id = %d", (int)core->shared);
    is_int(turn(core, apr_time_now() + SECONDS(1000), 0, 0).failed, 1, "a longer limit is none");
    sql(core, "UPDATE runners SET maximum_timeout = NULL WHERE id = %d", (int)core->shared);
}

static void store(core_t *core, apr_int64_t id, const char *type, apr_time_t expire_at)
{
    cib_upload_t *upload;
    const cib_sink_t *sink;

    fine(cib_upload_begin(&core->ctx, build_of(core, id), &upload), "begin");
    fine(cib_upload_file(upload, type, "zip", "a.zip", &sink), "file");
    fine(sink->write(sink->baton, "12345", 5), "write");
    fine(cib_upload_file_end(upload), "end");
    fine(cib_upload_commit(upload, NULL, expire_at, 1), "commit");
}

static int has(core_t *core, apr_int64_t id, const char *type)
{
    cib_artifact_t *artifact;

    fine(cib_artifact_get(&core->ctx, id, type, &artifact), "get");
    return artifact != NULL;
}

static void test_expired(core_t *core)
{
    apr_int64_t id = running(core);
    apr_time_t now = apr_time_now();
    cib_upkeep_report_t report;

    store(core, id, "archive", now + SECONDS(100));
    store(core, id, "junit", now + SECONDS(200));
    store(core, id, "lsif", 0);
    heard(core, id);
    report = turn(core, now + SECONDS(50), now, 0);
    is_int(report.expired, 0, "not yet");
    is_int(turn(core, now + SECONDS(150), now, 1).expired, 1, "a dry turn counts");
    report = turn(core, now + SECONDS(150), now, 0);
    is_int(report.expired, 1, "expired");
    is_int(report.freed, 5, "its bytes are free");
    ok(!has(core, id, "archive") && has(core, id, "junit"), "the one, and not the other");
    is_int(turn(core, now + SECONDS(250), now, 0).expired, 1, "later that too");
    ok(has(core, id, "lsif"), "but never what never expires");
    finish(core, id, "success");
}

/* --- an upload that replaces what upkeep is about to take away */

/* What a commit of an upload does, up to before its COMMIT. */
static void replace_begin(core_t *core, rival_t *rival, apr_int64_t id)
{
    rival_begin(core, rival);
    rival_says(rival, "SELECT 1 FROM builds WHERE id = %d FOR NO KEY UPDATE", (int)id);
    rival_says(rival,
               "UPDATE artifacts SET blob = '%d-archive-new', expire_at = NULL WHERE build_id = %d",
               (int)id, (int)id);
}

static void *APR_THREAD_FUNC expire_it(apr_thread_t *thread, void *data)
{
    core_t core = *(core_t *)data;

    core.ctx.limits = &core.limits;
    turn(&core, apr_time_now() + SECONDS(150), apr_time_now(), 0);
    return NULL;
}

static void ignore(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
}

static void *APR_THREAD_FUNC repair_it(apr_thread_t *thread, void *data)
{
    core_t core = *(core_t *)data;
    int faults;

    core.ctx.limits = &core.limits;
    fine(cib_check(&core.ctx, 1, ignore, NULL, &faults), "check");
    return NULL;
}

static void while_replaced(core_t *core, apr_int64_t id, apr_thread_start_t body, const char *what)
{
    core_t other = *core;
    apr_thread_t *thread;
    apr_status_t rv;
    rival_t rival;

    must(apr_pool_create(&other.ctx.pool, NULL), "make a pool");
    replace_begin(core, &rival, id);
    must(apr_thread_create(&thread, NULL, body, &other, core->pool), "start a thread");
    rival_end(&rival);
    must(apr_thread_join(&rv, thread), "join the thread");
    ok(has(core, id, "archive"), "%s", what);
    apr_pool_destroy(other.ctx.pool);
}

/* On SQLite nobody comes in between. */
static void test_replaced_meanwhile(core_t *core)
{
    apr_int64_t id = running(core);

    heard(core, id);
    if (core->fx->schema) {
        store(core, id, "archive", apr_time_now() + SECONDS(100));
        while_replaced(core, id, expire_it, "what is replaced while it expires stays");
        sql(core, "UPDATE artifacts SET blob = '%d-archive-gone' WHERE build_id = %d", (int)id,
            (int)id);
        while_replaced(core, id, repair_it, "what is replaced while it is judged stays");
        sql(core, "DELETE FROM artifacts WHERE build_id = %d", (int)id);
    }
    finish(core, id, "success");
}

static void test_history(core_t *core)
{
    apr_int64_t old = ended_build(core, "success"), needed = ended_build(core, "success");
    apr_int64_t id = new_build(core, needed, 0);
    apr_time_t now = apr_time_now();
    cib_build_t *build;
    int removed;

    is_int(turn(core, now + SECONDS(100000), now + SECONDS(100000), 0).removed, 0, "never");
    core->limits.history = SECONDS(3600);
    is_int(turn(core, now + SECONDS(3000), now + SECONDS(3000), 0).removed, 0, "not yet");
    removed = turn(core, now + SECONDS(3700), now + SECONDS(3700), 1).removed;
    ok(removed >= 1, "a dry turn counts %d", removed);
    is_int(turn(core, now + SECONDS(3700), now + SECONDS(3700), 0).removed, removed, "removed");
    is_reason(cib_build_get(&core->ctx, old, &build), CIB_REASON_NO_RECORD, "history is gone");
    is_str(status_of(core, needed), "success", "but not what somebody still needs");
    start(core, id);
    finish(core, id, "success");
    removed = turn(core, apr_time_now() + SECONDS(3700), now + SECONDS(3700), 0).removed;
    ok(removed >= 1, "removed later");
    is_reason(cib_build_get(&core->ctx, needed, &build), CIB_REASON_NO_RECORD, "with it");
    core->limits.history = CIB_UNLIMITED;
}

static void forget_it(core_t *core)
{
    apr_time_t then = apr_time_now() + SECONDS(3700);

    turn(core, then, then, 0);
}

/* A build that needs what is history is being added, on PostgreSQL up to before its COMMIT. */
static void test_history_needed_meanwhile(core_t *core)
{
    apr_int64_t old = ended_build(core, "success"), first = new_build(core, 0, 0), id;
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    apr_array_header_t *needs;
    cib_build_t *build;
    rival_t rival;
    int removed = 0;

    APR_ARRAY_PUSH(ids, apr_int64_t) = old;
    start(core, first);
    id = new_build(core, first, core->fx->schema ? 0 : old);
    if (core->fx->schema) {
        core->limits.history = SECONDS(3600);
        rival_begin(core, &rival);
        rival_says(&rival, "SELECT 1 FROM builds WHERE id = %d FOR NO KEY UPDATE", (int)old);
        rival_says(&rival, "INSERT INTO build_needs (build_id, needs_id) VALUES (%d, %d)", (int)id,
                   (int)old);
        rival_ends_during(core, &rival, forget_it);
        core->limits.history = CIB_UNLIMITED;
    }
    fine(cib_builds_remove(&core->ctx, ids, CIB_REMOVE_UNNEEDED, &removed, NULL), "remove");
    is_int(removed, 0, "what somebody needs by now stays");
    fine(cib_build_needs(&core->ctx, id, &needs), "needs");
    is_int(needs->nelts, 2, "and is needed");
    fine(cib_build_cancel(&core->ctx, id), "cancel");
    fine(cib_builds_remove(&core->ctx, ids, CIB_REMOVE_UNNEEDED, &removed, NULL), "remove");
    is_int(removed, 1, "until that one has ended");
    is_reason(cib_build_get(&core->ctx, old, &build), CIB_REASON_NO_RECORD, "then it goes");
    finish(core, first, "success");
}

/* --- tag sets that were made up for one build each */

/* Read behind everybody's back. */
static int count(core_t *core, const char *from)
{
    rival_t rival;
    int number;

    rival_begin(core, &rival);
    number = rival_says(&rival, "SELECT count(*) FROM %s", from);
    apr_dbd_close(rival.driver, rival.handle);
    return number;
}

static apr_int64_t ended_with_tags(core_t *core, const char *tags)
{
    apr_array_header_t *list = apr_array_make(core->pool, 1, sizeof(const char *));
    apr_array_header_t *ids = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    cib_build_new_t fresh = {.project_id = core->project, .sha = SHA, .tags = list};

    APR_ARRAY_PUSH(list, const char *) = tags;
    fine(cib_build_add(&core->ctx, &fresh, 1, ids), "add");
    fine(cib_build_cancel(&core->ctx, APR_ARRAY_IDX(ids, 0, apr_int64_t)), "cancel");
    return APR_ARRAY_IDX(ids, 0, apr_int64_t);
}

static void test_tagsets(core_t *core)
{
    const char *token;
    apr_int64_t runner = new_runner(core, "made,up,for", 0, core->project, &token), id;
    int tagsets = count(core, "tagsets"), takes = count(core, "takes");
    cib_build_t *build;

    ended_with_tags(core, "made");
    ended_with_tags(core, "made,up");
    id = ended_with_tags(core, "made,up,for");
    ended_with_tags(core, "made,up,for");
    is_int(count(core, "tagsets") - tagsets, 3, "three new lists of tags");
    is_int(count(core, "takes") - takes, 3, "that a runner may take");
    fine(cib_build_remove(&core->ctx, id, NULL), "remove");
    is_int(count(core, "tagsets") - tagsets, 3, "all are kept while a build names them");
    core->limits.history = SECONDS(3600);
    forget_it(core);
    core->limits.history = CIB_UNLIMITED;
    is_int(count(core, "tagsets t WHERE NOT EXISTS "
                       "(SELECT 1 FROM builds b WHERE b.tagset_id = t.id)"),
           0, "and go with the last build that names them");
    is_int(count(core, "takes t WHERE NOT EXISTS "
                       "(SELECT 1 FROM tagsets s WHERE s.id = t.tagset_id)"),
           0, "with who may take them");
    id = ended_with_tags(core, "made");
    is_str(build_of(core, id)->tags, "made", "they can come back");
    fine(cib_runner_remove(&core->ctx, runner), "remove the runner");
    fine(cib_build_remove(&core->ctx, id, NULL), "remove");
    is_reason(cib_build_get(&core->ctx, id, &build), CIB_REASON_NO_RECORD, "and go again");
}

static void add_late(core_t *core)
{
    ended_with_tags(core, "late");
}

/* On PostgreSQL a build with the tags is being added, or is the last one being removed. */
static void test_tagsets_meanwhile(core_t *core)
{
    apr_int64_t id = ended_with_tags(core, "late");
    rival_t rival;

    core->limits.history = SECONDS(3600);
    rival_begin(core, &rival);
    rival_says(&rival,
               "INSERT INTO builds (project_id, status, name, stage, ref, tag, sha, tagset_id, "
               "timeout, created_at) SELECT project_id, 'created', 'late', stage, ref, tag, sha, "
               "tagset_id, timeout, created_at FROM builds WHERE id = %d",
               (int)id);
    rival_ends_during(core, &rival, forget_it);
    is_int(count(core, "tagsets WHERE tags = 'late'"), 1, "tags of a build that comes meanwhile");
    is_int(count(core, "builds WHERE name = 'late'"), 1, "  which is there");
    is_int(count(core, "builds WHERE name = 'build' AND tagset_id IN "
                       "(SELECT id FROM tagsets WHERE tags = 'late')"),
           0, "  while the old one is gone");
    sql(core, "DELETE FROM builds WHERE name = 'late'");
    rival_begin(core, &rival);
    rival_says(&rival, "DELETE FROM tagsets WHERE tags = 'late'");
    rival_ends_during(core, &rival, add_late);
    is_int(count(core, "builds b JOIN tagsets t ON t.id = b.tagset_id WHERE t.tags = 'late'"), 1,
           "a build whose tags are forgotten meanwhile makes them known again");
    core->limits.history = CIB_UNLIMITED;
}

static void test_lease(core_t *core)
{
    cib_error_t *err;
    apr_time_t now = apr_time_now();
    int mine;

    fine(cib_upkeep_lease(&core->ctx, "a", now, &mine), "lease");
    is_int(mine, 1, "the first takes it");
    fine(cib_upkeep_lease(&core->ctx, "b", now + SECONDS(1), &mine), "lease");
    is_int(mine, 0, "another does not");
    fine(cib_upkeep_lease(&core->ctx, "a", now + SECONDS(2), &mine), "lease");
    is_int(mine, 1, "who has it renews it");
    fine(cib_upkeep_lease(&core->ctx, "b", now + SECONDS(30), &mine), "lease");
    is_int(mine, 1, "until it is not heard of again");
    fine(cib_upkeep_lease(&core->ctx, "a", now - SECONDS(3600), &mine), "lease");
    is_int(mine, 1, "nor to one who held it when the clock was an hour fast");
    sql(core, "ALTER TABLE leases RENAME TO elsewhere");
    err = cib_upkeep_lease(&core->ctx, "a", now, &mine);
    ok(err && err->reason == CIB_REASON_UNAVAILABLE && !mine,
       "where it cannot be written nobody was heard");
    sql(core, "ALTER TABLE elsewhere RENAME TO leases");
    fine(cib_upkeep_lease(&core->ctx, "a", now, &mine), "lease");
    is_int(mine, 1, "until it can");
}

/* --- files and rows */

typedef struct seen_t {
    int kinds[5];
    apr_int64_t last;
} seen_t;

static const char *const kinds[] = {"missing", "damaged", "orphan", "queue", "waiting"};

static void note(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
    seen_t *seen = baton;

    for (int i = 0; i < 5; i++)
        seen->kinds[i] += strcmp(kind, kinds[i]) == 0;
    seen->last = build_id;
    ok(*line, "%s: %s", kind, line);
}

static int check(core_t *core, int repair, seen_t *seen)
{
    int faults;

    memset(seen, 0, sizeof(*seen));
    fine(cib_check(&core->ctx, repair, note, seen, &faults), "check");
    return faults;
}

static const char *blob_of(core_t *core, apr_int64_t id)
{
    cib_artifact_t *artifact;

    fine(cib_artifact_get(&core->ctx, id, "archive", &artifact), "get");
    return artifact ? artifact->blob : NULL;
}

/* A file that no row names, as a kill between link and commit leaves it. */
static void leave_orphan(core_t *core, apr_int64_t id)
{
    cib_blob_t *blob;

    must(cib_blob_begin(&blob, core->fx->storage, CIB_AREA_ARTIFACTS, id, "archive", core->pool),
         "begin");
    must(cib_blob_write(blob, "123", 3), "write");
    must(cib_blob_seal(blob), "seal");
    must(cib_blob_publish(blob), "publish");
    cib_blob_keep(blob);
}

static void leave_trace(core_t *core, apr_int64_t id)
{
    cib_trace_state_t state;
    cib_tracefile_t *trace;

    must(cib_tracefile_lock(&trace, core->fx->storage, id, &state, core->pool), "lock");
    must(cib_tracefile_write(trace, 0, "1234567", 7), "write");
    state.claim = 1;
    state.received = state.stored = 7;
    must(cib_tracefile_commit(trace, &state), "commit");
    cib_tracefile_close(trace);
}

static void test_orphans(core_t *core)
{
    apr_int64_t id = running(core);
    cib_upkeep_report_t report = {0};
    cib_blob_t *busy;
    int turns = 0;

    heard(core, id);
    store(core, id, "archive", 0);
    leave_trace(core, id);
    leave_orphan(core, id);
    leave_orphan(core, 123456);
    leave_trace(core, 4712);
    must(cib_blob_begin(&busy, core->fx->storage, CIB_AREA_ARTIFACTS, id, "archive", core->pool),
         "begin");
    must(cib_blob_seal(busy), "seal");
    must(cib_blob_publish(busy), "publish");
    fine(cib_upkeep_orphans(&core->ctx, 1, &report), "orphans");
    is_int(report.orphans, 4, "two blobs and the two files of a trace");
    is_int(report.freed, 0, "a dry look frees nothing");
    while (turn(core, apr_time_now(), apr_time_now(), 0).orphans == 0 && turns < 1000)
        turns++;
    ok(turns < 1000, "turns find them in the end");
    memset(&report, 0, sizeof(report));
    fine(cib_upkeep_orphans(&core->ctx, 0, &report), "orphans");
    ok(report.orphans >= 1 && report.orphans < 4, "and gc finds the rest at once");
    memset(&report, 0, sizeof(report));
    fine(cib_upkeep_orphans(&core->ctx, 0, &report), "orphans");
    is_int(report.orphans, 0, "then none is left");
    ok(has(core, id, "archive") && cib_trace_size(&core->ctx, id) == 7, "what has a row stays");
    cib_blob_keep(busy);
    fine(cib_upkeep_orphans(&core->ctx, 0, &report), "orphans");
    is_int(report.orphans, 1, "an upload that came to nothing is one once it lets go");
    is_int(report.freed, 0, "of no bytes");
    finish(core, id, "success");
}

/* Artifacts that cannot be read keep nobody from the traces. */
static void test_unreadable(core_t *core)
{
    const char *path = apr_pstrcat(core->pool, core->fx->dir, "/artifacts", NULL);
    const char *away = apr_pstrcat(core->pool, path, ".away", NULL);
    cib_upkeep_report_t report = {0};
    int failed = 0, turns = 0;

    must(apr_file_rename(path, away, core->pool), "move the artifacts away");
    is_int(symlink("artifacts", path), 0, "and lead around in circles");
    leave_trace(core, 4713);
    while (report.orphans == 0 && turns++ < 1000)
        failed +=
            cib_upkeep_turn(&core->ctx, apr_time_now(), apr_time_now(), 100, 0, &report) != NULL;
    is_int(report.orphans, 2, "the files of a trace without a row are found");
    is_int(failed, turns, "and each turn says that something cannot be read");
    is_int(unlink(path), 0, "the way back");
    must(apr_file_rename(away, path, core->pool), "move the artifacts back");
}

/* Files of an area that are not ours: an NFS client's, a person's. */
static void test_strangers(core_t *core)
{
    static const char *const names[] = {".nfs0000000000000001", "README", ".7~"};
    cib_upkeep_report_t report = {0};
    apr_file_t *file;

    leave_orphan(core, 7);
    for (int i = 0; i < 3; i++) {
        must(apr_file_open(&file,
                           apr_psprintf(core->pool, "%s/artifacts/0/0/%s", core->fx->dir, names[i]),
                           APR_FOPEN_CREATE | APR_FOPEN_WRITE, APR_FPROT_OS_DEFAULT, core->pool),
             "make a file");
        apr_file_close(file);
    }
    core->logged = 0;
    fine(cib_upkeep_orphans(&core->ctx, 0, &report), "orphans");
    is_int(report.orphans, 1, "strangers are no orphans");
    is_int(core->logged, 0, "and nobody complains of them");
}

/* A build that cannot be moved, on SQLite: a trigger says so. */
static void test_jam(core_t *core)
{
    apr_int64_t stuck, other, full;
    cib_upkeep_report_t report = {0};

    if (core->fx->schema)
        return;
    stuck = running(core);
    other = running(core);
    full = running(core);
    heard(core, full);
    store(core, full, "archive", apr_time_now() + SECONDS(1));
    sql(core,
        "CREATE TRIGGER jam BEFORE UPDATE ON builds WHEN old.id = %d "
        "BEGIN SELECT RAISE(ABORT, 'jam'); END",
        (int)stuck);
    is_reason(cib_upkeep_turn(&core->ctx, apr_time_now() + SECONDS(70), 0, 100, 0, &report),
              CIB_REASON_INTERNAL, "a turn that fails for one build");
    is_str(status_of(core, other), "pending", "goes on with the next");
    is_int(report.expired, 1, "and with what expired");
    sql(core, "DROP TRIGGER jam");
    turn(core, apr_time_now() + SECONDS(70), 0, 0);
    is_str(status_of(core, stuck), "pending", "later that too");
    finish(core, full, "success");
    start(core, stuck);
    finish(core, stuck, "success");
    start(core, other);
    finish(core, other, "success");
}

static void test_check(core_t *core)
{
    apr_int64_t whole = running(core), lost, cut, a, b;
    const char *path, *unmounted;
    apr_int64_t freed;
    seen_t seen;

    store(core, whole, "archive", 0);
    lost = running(core);
    store(core, lost, "archive", 0);
    cut = running(core);
    store(core, cut, "archive", 0);
    is_int(check(core, 0, &seen), 0, "clean");
    must(cib_storage_remove(core->fx->storage, CIB_AREA_ARTIFACTS, blob_of(core, lost), &freed,
                            core->pool),
         "remove");
    path = apr_psprintf(core->pool, "%s/artifacts/0/0/%s", core->fx->dir, blob_of(core, cut));
    is_int(truncate(path, 2), 0, "cut a file");
    path = apr_psprintf(core->pool, "%s/artifacts", core->fx->dir);
    unmounted = apr_pstrcat(core->pool, path, ".unmounted", NULL);
    must(apr_file_rename(path, unmounted, core->pool), "move the artifacts away");
    is_int(check(core, 1, &seen), 4, "no file is there");
    is_int(seen.kinds[0], 4, "nor its folder");
    is_int(check(core, 1, &seen), 4, "and nothing is done about it");
    must(apr_file_rename(unmounted, path, core->pool), "move the artifacts back");
    leave_orphan(core, 77777);
    leave_trace(core, 88888);
    a = running(core);
    heard(core, a);
    b = new_build(core, a, 0);
    sql(core, "UPDATE builds SET status = 'success', finished_at = 1 WHERE id = %d", (int)a);
    sql(core, "DELETE FROM queue");
    a = new_build(core, 0, 0);
    sql(core, "DELETE FROM queue WHERE build_id = %d", (int)a);
    is_int(check(core, 0, &seen), 7, "all faults");
    is_int(seen.kinds[0], 1, "a row without its file");
    is_int(seen.kinds[1], 1, "a file of another size");
    is_int(seen.kinds[2], 3, "files without a row");
    is_int(seen.kinds[3], 1, "a pending build that is not in the queue");
    is_int(seen.kinds[4], 1, "a build that waits for nothing");
    is_int(check(core, 1, &seen), 7, "the same, repaired");
    is_int(check(core, 0, &seen), 1, "but for one");
    is_int(seen.kinds[1], 1, "the damaged file, which may still be of use");
    ok(!has(core, lost, "archive") && has(core, whole, "archive"), "rows without a file are gone");
    start(core, b);
    is_str(status_of(core, b), "running", "the build that waited is handed out");
    start(core, a);
    is_str(status_of(core, a), "running", "so is the one that was forgotten");
    finish(core, cut, "failed");
    fine(cib_build_erase(&core->ctx, cut), "erase");
    sql(core,
        "INSERT INTO queue (tagset_id, project_id, build_id) "
        "SELECT tagset_id, project_id, id FROM builds WHERE id = %d",
        (int)cut);
    is_int(check(core, 1, &seen), 1, "a build in the queue that is not pending");
    is_int(seen.kinds[3], 1, "is a fault of the queue");
    is_int(check(core, 0, &seen), 0, "clean again");
}

/* Rows of the queue in another place than the build's own. */
static void test_check_lanes(core_t *core)
{
    apr_int64_t moved = new_build(core, 0, 0), twice = new_build(core, 0, 0);
    apr_int64_t over = ended_with_tags(core, "other");
    seen_t seen;

    sql(core, "UPDATE queue SET tagset_id = 4711 WHERE build_id = %d", (int)moved);
    sql(core,
        "INSERT INTO queue (tagset_id, project_id, build_id) SELECT tagset_id, 4711, id "
        "FROM builds WHERE id = %d",
        (int)twice);
    sql(core, "INSERT INTO queue (tagset_id, project_id, build_id) VALUES (4711, 4711, %d)",
        (int)over);
    sql(core, "INSERT INTO queue (tagset_id, project_id, build_id) VALUES (1, 1, 987654321)");
    is_int(check(core, 0, &seen), 5, "all faults");
    is_int(seen.kinds[3], 5, "are the queue's");
    is_int(check(core, 1, &seen), 5, "the same, repaired");
    is_int(check(core, 0, &seen), 0, "clean");
    is_int(claim(core), moved, "what was in another place is handed out");
    is_int(claim(core), twice, "and what was in two");
    is_int(claim(core), 0, "once");
    finish(core, moved, "success");
    finish(core, twice, "success");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_overdue(core);
    test_limit(core);
    test_expired(core);
    test_replaced_meanwhile(core);
    test_history(core);
    test_history_needed_meanwhile(core);
    test_tagsets(core);
    if (core->fx->schema)
        test_tagsets_meanwhile(core);
    test_lease(core);
    test_orphans(core);
    test_unreadable(core);
    test_strangers(core);
    test_jam(core);
    test_check(core);
    test_check_lanes(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

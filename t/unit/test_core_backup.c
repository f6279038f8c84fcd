/* Backups of what changes while they are taken, and what comes of them. */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/cib_artifact.h"
#include "core/cib_backup.h"
#include "core/cib_upkeep.h"
#include "core_fixture.h"
#include "files/cib_tracefile.h"
#include "store/cib_dump.h"

/* --- an instance */

static cib_build_t *running(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);

    start(core, id);
    return build_of(core, id);
}

static void upload(core_t *core, const cib_build_t *build, const char *data)
{
    cib_ctx_t ctx = core->ctx;
    const cib_sink_t *sink;
    cib_upload_t *made;

    apr_pool_create(&ctx.pool, core->pool);
    fine(cib_upload_begin(&ctx, build, &made), "upload");
    fine(cib_upload_file(made, "archive", "zip", "a.zip", &sink), "upload");
    fine(sink->write(sink->baton, data, strlen(data)), "upload");
    fine(cib_upload_commit(made, NULL, 0, 1), "upload");
    apr_pool_destroy(ctx.pool);
}

static void append(core_t *core, const cib_build_t *build, apr_int64_t at, const char *data)
{
    cib_ctx_t ctx = core->ctx;
    cib_trace_append_t *append;
    const cib_sink_t *sink;
    apr_int64_t received;

    apr_pool_create(&ctx.pool, core->pool);
    fine(cib_trace_append_begin(&ctx, build, &append, &sink), "append");
    fine(sink->write(sink->baton, data, strlen(data)), "append");
    fine(cib_trace_append_finish(append, at, &received), "append");
    apr_pool_destroy(ctx.pool);
}

static const char *read_file(apr_file_t *file, apr_int64_t size, apr_pool_t *pool)
{
    char *text = apr_pcalloc(pool, (apr_size_t)size + 1);

    if (size)
        must(apr_file_read_full(file, text, (apr_size_t)size, NULL), "read");
    apr_file_close(file);
    return text;
}

static const char *artifact_of(const cib_ctx_t *ctx, apr_int64_t id)
{
    cib_artifact_t *artifact;
    apr_file_t *file;

    if (cib_artifact_open(ctx, id, "archive", &artifact, &file))
        return NULL;
    return read_file(file, artifact->size, ctx->pool);
}

static const char *trace_of(const cib_ctx_t *ctx, apr_int64_t id)
{
    apr_file_t *file;
    apr_int64_t size;

    fine(cib_trace_open(ctx, id, &file, &size), "open a trace");
    return file ? read_file(file, size, ctx->pool) : NULL;
}

/* --- away and back */

typedef struct trip_t {
    core_t *core;
    int fd;
    cib_backup_report_t report;
    fixture_t *fx; /* where it was restored */
    cib_ctx_t ctx;
    /* what happens while the backup is taken */
    void (*meanwhile)(struct trip_t *trip, apr_int64_t builds, apr_int64_t artifacts);
    apr_int64_t ids[8];
    int calls;
    int stop;
} trip_t;

static int progress(void *baton, apr_int64_t builds, apr_int64_t artifacts, apr_int64_t bytes)
{
    trip_t *trip = baton;

    if (trip->meanwhile)
        trip->meanwhile(trip, builds, artifacts);
    return trip->stop;
}

static cib_error_t *take_backup(trip_t *trip)
{
    core_t *core = trip->core;
    cib_backup_job_t job = {.progress = progress, .baton = trip};
    char *path = apr_pstrcat(core->pool, core->fx->dir, "/backup-XXXXXX", NULL);

    trip->fd = job.fd = mkstemp(path);
    unlink(path);
    for (int i = 0; i < CIB_BACKUP_SPOOLS; i++)
        must(cib_spool_open(&job.spools[i], core->fx->dir, core->pool), "make a spool");
    return cib_backup(&core->ctx, &job, &trip->report);
}

/* Where nothing is yet. */
static fixture_t *new_place(const char *driver, apr_pool_t *parent)
{
    fixture_t *fx = apr_pcalloc(parent, sizeof(*fx));
    const char *tmp = getenv("TMPDIR");
    char *dir = apr_pstrcat(parent, tmp ? tmp : "/tmp", "/cib-store-XXXXXX", NULL);

    fx->pool = parent;
    fx->driver = driver;
    if (!mkdtemp(dir))
        bail_out("cannot make %s", dir);
    fx->dir = dir;
    fixture_database(fx);
    must(cib_storage_begin(&fx->storage, fx->dir, driver, fx->params, parent), "begin a storage");
    fx->params = fx->storage->params;
    must(cib_generation_open(&fx->gen, fx->storage, parent), "map the generations");
    return fx;
}

static void leave_place(fixture_t *fx)
{
    fixture_detach(fx);
    if (fx->schema)
        outside(fx, getenv("CIB_TEST_PGSQL"),
                apr_psprintf(fx->pool, "DROP SCHEMA %s CASCADE", fx->schema));
    remove_tree(fx->dir, fx->pool);
}

/* Restore it to a place that is new, and have a context there. */
static cib_error_t *restore(trip_t *trip, const char *driver)
{
    apr_pool_t *pool = trip->core->pool;
    fixture_t *fx = trip->fx = new_place(driver, pool);
    const cib_manifest_t *manifest;
    cib_restore_t *restore;

    trip->ctx = trip->core->ctx;
    fixture_attach(fx);
    trip->ctx.storage = fx->storage;
    trip->ctx.store = fx->store;
    trip->ctx.source = fx->source;
    trip->ctx.gen = fx->gen;
    lseek(trip->fd, 0, SEEK_SET);
    CIB_TRY(cib_restore_begin(&restore, trip->fd, fx->dir, NULL, NULL, &manifest, pool));
    fx->storage->id = manifest->id;
    memcpy(fx->storage->secret, manifest->secret, CIB_SECRET_LEN);
    CIB_TRY(cib_dump_begin(fx->store, fx->source, pool));
    CIB_TRY(cib_restore_files(restore, fx->storage));
    CIB_TRY(cib_restore_rows(restore, &trip->ctx, &trip->report));
    must(cib_storage_finish(fx->storage, pool), "finish the storage");
    return CIB_OK;
}

static void end_trip(trip_t *trip)
{
    if (trip->fx)
        leave_place(trip->fx);
    close(trip->fd);
    core_done(trip->core);
}

static void count_fault(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
    diag("%s: %s", kind, line);
}

static void is_clean(const cib_ctx_t *ctx)
{
    int faults = -1;

    is_fine(cib_check(ctx, 0, count_fault, NULL, &faults), "check");
    is_int(faults, 0, "... is clean");
}

/* --- what stands still */

static void test_plain(const char *driver, const char *to)
{
    core_t *core = core_new(driver);
    trip_t trip = {.core = core};
    cib_build_t *ended = running(core), *live = running(core);
    apr_int64_t waits = new_build(core, 0, 0);
    apr_int64_t gone = new_build(core, 0, 0);
    cib_storage_t *opened;
    cib_build_t *build;

    fine(cib_build_cancel(&core->ctx, gone), "cancel");
    fine(cib_build_remove(&core->ctx, gone, NULL), "remove");
    append(core, ended, 0, "all of it");
    upload(core, ended, "artifact");
    finish(core, ended->id, "success");
    append(core, live, 0, "so far");
    is_fine(take_backup(&trip), "a backup");
    is_int(trip.report.builds, 3, "... of builds");
    is_int(trip.report.artifacts, 1, "... and artifacts");
    is_int(trip.report.bytes, lseek(trip.fd, 0, SEEK_END), "... as long as it says");
    is_int(trip.report.faults, 0, "... without a fault");
    is_fine(restore(&trip, to), "restored");
    is_int(trip.report.builds, 3, "... builds");
    is_int(trip.report.artifacts, 1, "... artifacts");
    is_int(trip.report.bytes, 9 + 8 + 6, "... bytes of files");
    is_str(trace_of(&trip.ctx, ended->id), "all of it", "... a trace");
    is_str(artifact_of(&trip.ctx, ended->id), "artifact", "... an artifact");
    is_clean(&trip.ctx);
    must(cib_storage_open(&opened, trip.fx->dir, core->pool), "open it");
    is_str(opened->id, core->fx->storage->id, "the instance is the same");
    is_mem(opened->secret, core->fx->storage->secret, CIB_SECRET_LEN, "... with its secret");
    fine(cib_build_authenticate(
             &trip.ctx, live->id,
             cib_token_build(core->fx->storage, live->id, live->claim, core->pool), 0, &build),
         "the token of a running build opens it");
    core->ctx = trip.ctx;
    append(core, build, 6, ", and on");
    is_str(trace_of(&trip.ctx, live->id), "so far, and on", "... which goes on");
    is_int(claim(core), waits, "what waited can be claimed");
    is_int(build_of(core, waits)->claim > 1000000, 1, "... by a number of its own");
    is_int(new_build(core, 0, 0), gone + 1, "the id of a build that was removed is not used again");
    core->ctx.storage = core->fx->storage;
    core->ctx.store = core->fx->store;
    core->ctx.source = core->fx->source;
    core->ctx.gen = core->fx->gen;
    end_trip(&trip);
}

/* --- artifacts that change */

/* While the first is copied. */
static void change_artifacts(trip_t *trip, apr_int64_t builds, apr_int64_t artifacts)
{
    core_t *core = trip->core;

    if (builds || artifacts)
        return;
    trip->meanwhile = NULL;
    upload(core, build_of(core, trip->ids[1]), "replaced");
    upload(core, build_of(core, trip->ids[1]), "replaced once more");
    fine(cib_artifact_delete(&core->ctx, trip->ids[2], NULL), "delete");
    finish(core, trip->ids[3], "success");
    fine(cib_build_erase(&core->ctx, trip->ids[3]), "erase");
    finish(core, trip->ids[4], "success");
    fine(cib_build_remove(&core->ctx, trip->ids[4], NULL), "remove");
    trip->ids[6] = new_build(core, 0, 0);
}

static void test_changed_artifacts(const char *driver)
{
    core_t *core = core_new(driver);
    trip_t trip = {.core = core, .meanwhile = change_artifacts};
    cib_build_t *build;

    for (int i = 0; i < 6; i++) {
        cib_build_t *made = running(core);

        trip.ids[i] = made->id;
        append(core, made, 0, "trace");
        upload(core, made, apr_psprintf(core->pool, "artifact %d", i));
    }
    is_fine(take_backup(&trip), "a backup while artifacts change");
    is_int(trip.report.faults, 0, "... which is no fault");
    is_int(trip.report.artifacts, 3, "... of those that there are");
    is_fine(restore(&trip, driver), "restored");
    is_str(artifact_of(&trip.ctx, trip.ids[0]), "artifact 0", "the one that was copied then");
    is_str(artifact_of(&trip.ctx, trip.ids[1]), "replaced once more", "the one that was replaced");
    is_str(artifact_of(&trip.ctx, trip.ids[2]), NULL, "one that was removed");
    is_str(artifact_of(&trip.ctx, trip.ids[3]), NULL, "one that was erased");
    is_str(artifact_of(&trip.ctx, trip.ids[4]), NULL, "one whose build is gone");
    is_str(artifact_of(&trip.ctx, trip.ids[5]), "artifact 5", "the last one");
    is_str(trace_of(&trip.ctx, trip.ids[2]), "trace", "traces are those that there are");
    is_str(trace_of(&trip.ctx, trip.ids[3]), NULL, "... and not that of an erased build");
    fine(cib_build_get(&trip.ctx, trip.ids[4], &build), "get");
    is_int(build->status, CIB_RUNNING, "builds are those of the moment it began");
    is_reason(cib_build_get(&trip.ctx, trip.ids[6], &build), CIB_REASON_NO_RECORD,
              "... and not one that was added later");
    is_clean(&trip.ctx);
    end_trip(&trip);
}

/* --- artifacts that are damaged */

static const char *blob_path(core_t *core, apr_int64_t id)
{
    cib_artifact_t *artifact;

    fine(cib_artifact_get(&core->ctx, id, "archive", &artifact), "get");
    return apr_psprintf(core->pool, "%s/artifacts/0/0/%s", core->fx->dir, artifact->blob);
}

static void test_damaged_artifacts(const char *driver)
{
    core_t *core = core_new(driver);
    trip_t trip = {.core = core};
    int fd;

    for (int i = 0; i < 4; i++) {
        cib_build_t *made = running(core);

        trip.ids[i] = made->id;
        upload(core, made, "0123456789");
    }
    if (unlink(blob_path(core, trip.ids[0])) || truncate(blob_path(core, trip.ids[1]), 5))
        bail_out("cannot damage");
    fd = open(blob_path(core, trip.ids[2]), O_WRONLY | O_CLOEXEC);
    if (pwrite(fd, "x", 1, 3) != 1)
        bail_out("cannot damage");
    close(fd);
    core->logged = 0;
    is_fine(take_backup(&trip), "a backup of what is damaged");
    is_int(trip.report.faults, 3, "... is one, and tells");
    is_int(core->logged, 3, "... each fault");
    is_int(trip.report.artifacts, 3, "... but for what is not there");
    is_fine(restore(&trip, driver), "restored");
    is_str(artifact_of(&trip.ctx, trip.ids[0]), NULL, "what was not there");
    is_str(artifact_of(&trip.ctx, trip.ids[2]), "012x456789", "what was damaged, as it was");
    is_str(artifact_of(&trip.ctx, trip.ids[3]), "0123456789", "what was good");
    end_trip(&trip);
}

/* --- traces that change */

static void claim_anew(core_t *core, apr_int64_t id, const char *trace)
{
    cib_build_t *build = build_of(core, id);

    fine(cib_build_requeue(&core->ctx, id, build->claim), "requeue");
    start(core, id);
    append(core, build_of(core, id), 0, trace);
}

/* Before the first build's trace is looked at. */
static void change_traces(trip_t *trip, apr_int64_t builds, apr_int64_t artifacts)
{
    core_t *core = trip->core;

    if (builds != 1)
        return;
    trip->meanwhile = NULL;
    append(core, build_of(core, trip->ids[0]), 5, " grown");
    claim_anew(core, trip->ids[1], "of another claim");
    finish(core, trip->ids[2], "success");
    fine(cib_build_erase(&core->ctx, trip->ids[2]), "erase");
    finish(core, trip->ids[3], "failed");
    start(core, trip->ids[4]);
    append(core, build_of(core, trip->ids[4]), 0, "of its first claim");
}

static void test_changed_traces(const char *driver)
{
    core_t *core = core_new(driver);
    trip_t trip = {.core = core, .meanwhile = change_traces};
    cib_build_t *build;

    for (int i = 0; i < 5; i++) {
        trip.ids[i] = new_build(core, 0, 0);
        if (i == 4)
            break;
        start(core, trip.ids[i]);
        append(core, build_of(core, trip.ids[i]), 0, "begun");
    }
    is_fine(take_backup(&trip), "a backup while traces change");
    is_int(trip.report.faults, 0, "... which is no fault");
    is_fine(restore(&trip, driver), "restored");
    is_str(trace_of(&trip.ctx, trip.ids[0]), "begun grown", "one that has grown");
    is_str(trace_of(&trip.ctx, trip.ids[1]), NULL, "one that another claim began anew");
    is_str(trace_of(&trip.ctx, trip.ids[2]), NULL, "one that was erased");
    is_str(trace_of(&trip.ctx, trip.ids[3]), "begun", "one whose build has ended");
    is_str(trace_of(&trip.ctx, trip.ids[4]), NULL, "one that was not begun yet");
    fine(cib_build_get(&trip.ctx, trip.ids[3], &build), "get");
    is_int(build->status, CIB_RUNNING, "... whose build runs as it did");
    fine(cib_build_get(&trip.ctx, trip.ids[4], &build), "get");
    is_int(build->status, CIB_PENDING, "what waited waits");
    is_clean(&trip.ctx);
    end_trip(&trip);
}

/* In the middle of the first trace: a claim after the row's, or one that its row may well have, or
 * the build's last word. */
#define LONG_LEN 3000000

static const char *letters(core_t *core, char letter)
{
    char *text = apr_pcalloc(core->pool, LONG_LEN + 1);

    memset(text, letter, LONG_LEN);
    return text;
}

static void begin_anew(trip_t *trip, apr_int64_t builds, apr_int64_t artifacts)
{
    if (!builds || ++trip->calls != 2)
        return;
    claim_anew(trip->core, trip->ids[0], letters(trip->core, 'b'));
}

static void erase_it(trip_t *trip, apr_int64_t builds, apr_int64_t artifacts)
{
    if (!builds || ++trip->calls != 2)
        return;
    finish(trip->core, trip->ids[0], "success");
    fine(cib_build_erase(&trip->core->ctx, trip->ids[0]), "erase");
}

/* The row is of the second claim already, its trace still of the first. */
static void begin_late(trip_t *trip, apr_int64_t builds, apr_int64_t artifacts)
{
    if (!builds || ++trip->calls != 2)
        return;
    append(trip->core, build_of(trip->core, trip->ids[0]), 0, letters(trip->core, 'b'));
}

static void test_torn_trace(const char *driver,
                            void (*meanwhile)(trip_t *trip, apr_int64_t builds,
                                              apr_int64_t artifacts),
                            const char *what)
{
    core_t *core = core_new(driver);
    trip_t trip = {.core = core, .meanwhile = meanwhile};
    cib_build_t *build = running(core);

    trip.ids[0] = build->id;
    append(core, build, 0, letters(core, 'a'));
    if (meanwhile == begin_late) {
        fine(cib_build_requeue(&core->ctx, build->id, build->claim), "requeue");
        start(core, build->id);
    }
    is_fine(take_backup(&trip), what);
    ok(trip.calls >= 2, "... in the middle of it");
    is_int(trip.report.faults, 0, "... is no fault");
    is_fine(restore(&trip, driver), "restored");
    is_str(trace_of(&trip.ctx, trip.ids[0]), NULL, "... it is left out");
    is_clean(&trip.ctx);
    end_trip(&trip);
}

/* --- ends */

static void stop(trip_t *trip, apr_int64_t builds, apr_int64_t artifacts)
{
    trip->stop = 1;
}

static void test_ends(const char *driver)
{
    core_t *core = core_new(driver);
    trip_t trip = {.core = core, .meanwhile = stop};

    upload(core, running(core), "x");
    is_reason(take_backup(&trip), CIB_REASON_CONFLICT, "a backup that is interrupted");
    is_reason(restore(&trip, driver), CIB_REASON_CONFLICT, "... is none");
    leave_place(trip.fx);
    close(trip.fd);
    trip.fx = NULL;
    trip.meanwhile = NULL;
    trip.stop = 0;
    trip.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    {
        cib_backup_job_t job = {.fd = trip.fd};
        cib_error_t *err;

        for (int i = 0; i < CIB_BACKUP_SPOOLS; i++)
            must(cib_spool_open(&job.spools[i], core->fx->dir, core->pool), "make a spool");
        err = cib_backup(&core->ctx, &job, &trip.report);
        is_int(err ? (int)err->reason : -1, CIB_REASON_NO_SPACE, "a full disk");
    }
    end_trip(&trip);
}

static void tests(const char *driver)
{
    test_plain(driver, driver);
    if (getenv("CIB_TEST_PGSQL"))
        test_plain(driver, strcmp(driver, "sqlite3") == 0 ? "pgsql" : "sqlite3");
    test_changed_artifacts(driver);
    test_damaged_artifacts(driver);
    test_changed_traces(driver);
    test_torn_trace(driver, begin_anew, "a trace that another claim begins anew");
    test_torn_trace(driver, begin_late, "a trace that the claim of its row begins anew");
    test_torn_trace(driver, erase_it, "a trace that is erased");
    test_ends(driver);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

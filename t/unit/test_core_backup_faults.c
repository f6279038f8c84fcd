/* Backups and restores in which the N-th call fails, for every N until none is hit: what says that
 * it was done can be relied on, and what fails leaves nothing.
 */
#include "core/cib_artifact.h"
#include "core/cib_backup.h"
#include "core/cib_upkeep.h"
#include "core_fixture.h"
#include "fault.h"
#include "files/cib_outfile.h"
#include "store/cib_dump.h"

#define ARTIFACT "an artifact"
#define TRACE "what its runner said"

typedef struct trial_t {
    core_t *core;
    const char *dir; /* where the backup is to be, or to be restored to */
    int wrong;
} trial_t;

static void wrong(trial_t *trial, int number, const char *what, const cib_error_t *err)
{
    diag("call %d: %s: %s", number, what,
         err ? cib_error_text(err, trial->core->pool) : "no error");
    trial->wrong++;
}

static int is_empty(const char *dir, apr_pool_t *pool)
{
    apr_finfo_t entry;
    apr_dir_t *open;
    int count = 0;

    must(apr_dir_open(&open, dir, pool), "open a directory");
    while (apr_dir_read(&entry, APR_FINFO_NAME, open) == APR_SUCCESS)
        count += strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0;
    apr_dir_close(open);
    return count == 0;
}

static const char *new_dir(apr_pool_t *pool)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = apr_pstrcat(pool, tmp ? tmp : "/tmp", "/cib-store-XXXXXX", NULL);

    if (!mkdtemp(dir))
        bail_out("cannot make %s", dir);
    return dir;
}

/* Builds with an artifact and a trace, one of them live. */
static apr_int64_t make_builds(core_t *core)
{
    apr_int64_t id = 0;

    for (int i = 0; i < 2; i++) {
        const cib_sink_t *sink;
        cib_trace_append_t *append;
        cib_upload_t *upload;
        cib_build_t *build;
        apr_int64_t received;

        id = new_build(core, 0, 0);
        start(core, id);
        build = build_of(core, id);
        fine(cib_upload_begin(&core->ctx, build, &upload), "upload");
        fine(cib_upload_file(upload, "archive", "zip", "a.zip", &sink), "upload");
        fine(sink->write(sink->baton, ARTIFACT, strlen(ARTIFACT)), "upload");
        fine(cib_upload_commit(upload, NULL, 0, 1), "upload");
        fine(cib_trace_append_begin(&core->ctx, build, &append, &sink), "append");
        fine(sink->write(sink->baton, TRACE, strlen(TRACE)), "append");
        fine(cib_trace_append_finish(append, 0, &received), "append");
        if (i == 0)
            finish(core, id, "success");
    }
    return id;
}

/* --- backup ---------------------------------------------------------------------------------- */

static cib_error_t *back_up(core_t *core, const char *path, cib_backup_report_t *report)
{
    cib_backup_job_t job = {0};
    cib_outfile_t *out = NULL;
    cib_error_t *err = CIB_OK;
    apr_status_t rv = cib_outfile_open(&out, path, 0, core->pool);
    const char *dir = apr_pstrmemdup(core->pool, path, (apr_size_t)(strrchr(path, '/') - path));

    for (int i = 0; i < CIB_BACKUP_SPOOLS && rv == APR_SUCCESS; i++)
        rv = cib_spool_open(&job.spools[i], dir, core->pool);
    if (rv == APR_SUCCESS) {
        job.fd = cib_outfile_fd(out);
        err = cib_backup(&core->ctx, &job, report);
    }
    if (rv == APR_SUCCESS && !err)
        rv = cib_outfile_finish(out);
    else if (out)
        cib_outfile_abandon(out);
    return err || rv == APR_SUCCESS ? err : cib_error_system(core->pool, rv, "write a backup");
}

/* NULL: it is whole. */
static const char *read_all(const char *path, apr_pool_t *pool)
{
    cib_unarchive_t *archive;
    cib_spool_t *sums;
    const char *name;
    apr_int64_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cib_error_t *err;

    must(cib_spool_open(&sums, "/tmp", pool), "make a spool");
    err = cib_unarchive_begin(&archive, fd, sums, pool);
    do {
        if (!err)
            err = cib_unarchive_next(archive, &name, &size);
    } while (!err && name);
    close(fd);
    return err ? cib_error_text(err, pool) : NULL;
}

static int try_backup(trial_t *trial, const char *where, fault_e kind, int error, int number)
{
    core_t *core = trial->core;
    const char *path = apr_pstrcat(core->pool, trial->dir, "/b.tar", NULL);
    cib_backup_report_t report;
    cib_error_t *err;
    int hit;

    fault_arm(where, kind, error, number);
    err = back_up(core, path, &report);
    fault.kind = FAULT_NONE;
    hit = fault.hit;
    if (err && !is_empty(trial->dir, core->pool))
        wrong(trial, number, "a backup that failed leaves something", err);
    if (!err && read_all(path, core->pool))
        wrong(trial, number, read_all(path, core->pool), err);
    if (!err && report.artifacts < 2 && !report.faults)
        wrong(trial, number, "an artifact is not there, and nobody told", err);
    if (!err && !hit && report.faults)
        wrong(trial, number, "a fault without a cause", err);
    unlink(path);
    return hit;
}

/* `where`: below which files fail. */
static void test_backup(core_t *core, const char *where, fault_e kind, int error)
{
    apr_pool_t *parent = core->pool;
    trial_t trial = {.core = core, .dir = new_dir(parent)};
    int number = 0, hit = 1;

    for (; hit && number < 10000; number++) {
        apr_pool_create(&core->pool, parent);
        core->ctx.pool = core->pool;
        hit = try_backup(&trial, where ? where : trial.dir, kind, error, number);
        apr_pool_destroy(core->pool);
    }
    core->ctx.pool = core->pool = parent;
    ok(!hit && number > 1, "backup: every call failed once (%s): %d", strerror(error), number - 1);
    is_int(trial.wrong, 0, "... and nothing was lost or left behind");
    rmdir(trial.dir);
}

/* --- restore --------------------------------------------------------------------------------- */

typedef struct place_t {
    fixture_t *fx;
    cib_storage_t *storage;
    cib_ctx_t ctx;
    cib_backup_report_t report;
    int filled;
} place_t;

static cib_error_t *from_rv(place_t *place, apr_status_t rv)
{
    return rv == APR_SUCCESS ? CIB_OK : cib_error_system(place->ctx.pool, rv, "restore");
}

/* As the command line does it. */
static cib_error_t *restore(place_t *place, const char *path)
{
    apr_pool_t *pool = place->ctx.pool;
    const cib_manifest_t *manifest;
    cib_restore_t *restore;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    CIB_TRY(cib_restore_begin(&restore, fd, place->fx->dir, NULL, NULL, &manifest, pool));
    CIB_TRY(from_rv(place, cib_storage_begin(&place->storage, place->fx->dir, place->fx->driver,
                                             place->fx->params, pool)));
    place->storage->id = manifest->id;
    memcpy(place->storage->secret, manifest->secret, CIB_SECRET_LEN);
    place->ctx.storage = place->storage;
    CIB_TRY(from_rv(place, cib_generation_open(&place->ctx.gen, place->storage, pool)));
    CIB_TRY(from_rv(place, cib_source_own(&place->ctx.source, place->storage->driver,
                                          place->storage->params, 1, pool)));
    CIB_TRY(
        from_rv(place, cib_store_create(&place->ctx.store, place->storage, place->ctx.gen, pool)));
    CIB_TRY(cib_dump_begin(place->ctx.store, place->ctx.source, pool));
    CIB_TRY(cib_restore_files(restore, place->storage));
    CIB_TRY(cib_restore_rows(restore, &place->ctx, &place->report));
    place->filled = 1;
    CIB_TRY(from_rv(place, cib_storage_finish(place->storage, pool)));
    close(fd);
    return CIB_OK;
}

static void undo(place_t *place)
{
    if (place->filled)
        fine(cib_dump_undo(place->ctx.store, place->ctx.source, place->ctx.pool), "undo");
    if (place->storage)
        cib_storage_undo(place->storage, place->ctx.pool);
}

static void tell_fault(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
    diag("check: %s: %s", kind, line);
}

static int is_whole(place_t *place, apr_int64_t id)
{
    cib_artifact_t *artifact;
    cib_storage_t *opened;
    apr_file_t *file;
    int faults = 1;

    return cib_storage_open(&opened, place->fx->dir, place->ctx.pool) == APR_SUCCESS &&
           place->report.builds == 2 && place->report.artifacts == 2 &&
           !cib_artifact_open(&place->ctx, id, "archive", &artifact, &file) &&
           cib_trace_size(&place->ctx, id) == (apr_int64_t)strlen(TRACE) &&
           !cib_check(&place->ctx, 0, tell_fault, NULL, &faults) && faults == 0;
}

/* Is the database empty, as seen by somebody new? SQLite's went with the directory. */
static int is_free(place_t *place, apr_pool_t *pool)
{
    fixture_t *fx = place->fx;
    cib_storage_t storage = {.dir = fx->dir, .driver = fx->driver, .params = fx->params};
    const cib_source_t *source;
    cib_store_t *store;

    if (strcmp(fx->driver, "sqlite3") == 0)
        return 1;
    must(cib_source_own(&source, fx->driver, fx->params, 0, pool), "make a source");
    must(cib_store_create(&store, &storage, NULL, pool), "make a store");
    return cib_dump_begin(store, source, pool) == CIB_OK;
}

static int try_restore(trial_t *trial, fixture_t *fx, const char *path, apr_int64_t id,
                       fault_e kind, int error, int number)
{
    place_t place = {.fx = fx};
    apr_pool_t *pool;
    cib_error_t *err;
    int hit;

    apr_pool_create(&pool, fx->pool);
    place.ctx = trial->core->ctx;
    place.ctx.pool = pool;
    fault_arm(fx->dir, kind, error, number);
    err = restore(&place, path);
    fault.kind = FAULT_NONE;
    hit = fault.hit;
    if (!err && !is_whole(&place, id))
        wrong(trial, number, "a restore that is not whole", err);
    place.filled |= !err;
    undo(&place);
    if (!is_empty(fx->dir, pool))
        wrong(trial, number, "a restore leaves files", err);
    if (!is_free(&place, pool))
        wrong(trial, number, "a restore leaves rows", err);
    if (!hit && err)
        wrong(trial, number, "a restore that fails for nothing", err);
    apr_pool_destroy(pool);
    return hit;
}

static void test_restore(core_t *core, const char *path, apr_int64_t id, fault_e kind, int error)
{
    trial_t trial = {.core = core};
    fixture_t fx = {.pool = core->pool, .driver = core->fx->driver, .dir = new_dir(core->pool)};
    int number = 0, hit = 1;

    fixture_database(&fx);
    for (; hit && number < 10000; number++)
        hit = try_restore(&trial, &fx, path, id, kind, error, number);
    ok(!hit && number > 1, "restore: every call failed once (%s): %d", strerror(error), number - 1);
    is_int(trial.wrong, 0, "... and nothing was lost or left behind");
    if (fx.schema)
        outside(&fx, getenv("CIB_TEST_PGSQL"),
                apr_psprintf(fx.pool, "DROP SCHEMA %s CASCADE", fx.schema));
    rmdir(fx.dir);
}

static void test(const char *driver)
{
    static const int errors[] = {ENOSPC, EIO};
    core_t *core = core_new(driver);
    apr_int64_t id = make_builds(core);
    const char *path = apr_pstrcat(core->pool, core->fx->dir, "/good.tar", NULL);
    int pgsql = strcmp(driver, "pgsql") == 0;
    cib_backup_report_t report;

    /* on PostgreSQL it takes longer, and adds nothing */
    for (int e = pgsql; e < 2; e++) {
        test_backup(core, NULL, FAULT_FILES, errors[e]);
        test_backup(core, core->fx->dir, FAULT_FILES, errors[e]);
    }
    if (pgsql)
        test_backup(core, NULL, FAULT_SOCKETS, ECONNRESET);
    fine(back_up(core, path, &report), "a backup");
    for (int e = pgsql; e < 2; e++)
        test_restore(core, path, id, FAULT_FILES, errors[e]);
    if (pgsql)
        test_restore(core, path, id, FAULT_SOCKETS, ECONNRESET);
    core_done(core);
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

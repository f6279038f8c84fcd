/* Artifacts: whole or not at all. */
#include <sys/socket.h>
#include <sys/stat.h>

#include "core/cib_artifact.h"
#include "core/cib_description.h"
#include "core_fixture.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

static cib_build_t *running(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);

    start(core, id);
    return build_of(core, id);
}

static apr_status_t count_file(void *baton, const cib_stored_file_t *file, apr_pool_t *pool)
{
    (void)file;
    (void)pool;
    ++*(int *)baton;
    return APR_SUCCESS;
}

static int files(core_t *core)
{
    int count = 0;

    must(cib_storage_walk(core->fx->storage, CIB_AREA_ARTIFACTS, count_file, &count, core->pool),
         "walk");
    return count;
}

static cib_error_t *file(cib_upload_t *upload, const char *type, const char *name, const char *data,
                         size_t len)
{
    const cib_sink_t *sink;

    CIB_TRY(cib_upload_file(upload, type, "zip", name, &sink));
    for (size_t at = 0; at < len; at += 1000)
        CIB_TRY(sink->write(sink->baton, data + at, len - at < 1000 ? len - at : 1000));
    return cib_upload_file_end(upload);
}

/* A whole upload; what is not committed is gone with its pool. */
static cib_error_t *upload(core_t *core, const cib_build_t *build, const char *data,
                           const char *metadata, const char *sha256, apr_time_t expire_at)
{
    cib_ctx_t ctx = core->ctx;
    cib_error_t *err;
    cib_upload_t *made;

    apr_pool_create(&ctx.pool, core->pool);
    err = cib_upload_begin(&ctx, build, &made);
    if (!err && data)
        err = file(made, "archive", "dir/a.zip", data, strlen(data));
    if (!err && metadata)
        err = file(made, "metadata", "m.gz", metadata, strlen(metadata));
    if (!err)
        err = cib_upload_commit(made, sha256, expire_at, 1);
    if (err)
        err = cib_error(core->pool, err->reason, err->rv, "%s", err->message ? err->message : "");
    apr_pool_destroy(ctx.pool);
    return err;
}

static const char *contents(core_t *core, apr_int64_t id, const char *type)
{
    cib_artifact_t *artifact;
    apr_file_t *open;
    char *text;

    if (cib_artifact_open(&core->ctx, id, type, &artifact, &open))
        return NULL;
    text = apr_pcalloc(core->pool, (apr_size_t)artifact->size + 1);
    if (artifact->size)
        must(apr_file_read_full(open, text, (apr_size_t)artifact->size, NULL), "read");
    apr_file_close(open);
    return text;
}

static void test_lifecycle(core_t *core)
{
    cib_build_t *build = running(core);
    cib_artifact_t *artifact;
    apr_int64_t freed;
    int before = files(core);

    is_str(contents(core, build->id, "archive"), NULL, "nothing yet");
    is_fine(upload(core, build, "one", NULL, NULL, 0), "an upload");
    is_str(contents(core, build->id, "archive"), "one", "is there");
    is_int(files(core), before + 1, "one file");
    is_fine(upload(core, build, "second", "meta", NULL, 0), "another");
    is_str(contents(core, build->id, "archive"), "second", "takes its place");
    is_str(contents(core, build->id, "metadata"), "meta", "with its metadata");
    is_int(files(core), before + 2, "the replaced file is gone");
    fine(cib_artifact_get(&core->ctx, build->id, "archive", &artifact), "get");
    is_str(artifact->filename, "a.zip", "its name without a path");
    is_str(artifact->sha256, cib_sha256_hex("second", 6, core->pool), "its digest");
    is_int(artifact->size, 6, "its size");
    is_int(artifact->expire_at, 0, "no expiry");
    finish(core, build->id, "success");
    is_str(contents(core, build->id, "archive"), "second", "kept when the build has ended");
    fine(cib_artifact_delete(&core->ctx, build->id, &freed), "delete");
    is_int(freed, 10, "bytes freed");
    is_int(files(core), before, "no file is left");
    fine(cib_artifact_delete(&core->ctx, build->id, NULL), "delete");
    is_str(contents(core, build->id, "archive"), NULL, "gone");
}

static void test_refused(core_t *core)
{
    cib_build_t *build = running(core), *stale = build;
    int before = files(core);
    cib_error_t *err;

    err = upload(core, build, NULL, NULL, NULL, 0);
    is_reason(err, CIB_REASON_MISSING, "no file");
    is_str(err->message, "Missing artifacts file!", "as GitLab says it");
    is_reason(upload(core, build, NULL, "meta", NULL, 0), CIB_REASON_MISSING, "metadata alone");
    is_reason(upload(core, build, "data", NULL, cib_sha256_hex("other", 5, core->pool), 0),
              CIB_REASON_INVALID, "another digest than announced");
    is_int(files(core), before, "nothing is left");
    is_fine(upload(core, build, "data", NULL,
                   "3A6EB0790F39AC87C94F3856B2DD2C5D110E6811602261A9A923D3"
                   "BB23ADC8B7",
                   0),
            "the digest in capitals");
    fine(cib_build_requeue(&core->ctx, build->id, build->claim), "requeue");
    is_reason(upload(core, stale, "late", NULL, NULL, 0), CIB_REASON_NOT_RUNNING,
              "of a former claim");
    start(core, build->id);
    err = upload(core, stale, "late", NULL, NULL, 0);
    is_reason(err, CIB_REASON_NOT_RUNNING, "also when there is a new one");
    is_str(err->message, "Build is not running!", "and says why");
    is_str(contents(core, build->id, "archive"), "data", "what was there stays");
    is_int(files(core), before + 1, "alone");
}

/* As v4 has it: of one type, and without taking another's place. */
static cib_error_t *typed(core_t *core, const cib_build_t *build, const char *type,
                          const char *data, const char *metadata, apr_time_t expire_at)
{
    cib_ctx_t ctx = core->ctx;
    cib_error_t *err;
    cib_upload_t *made;

    apr_pool_create(&ctx.pool, core->pool);
    err = cib_upload_begin(&ctx, build, &made);
    if (!err && metadata)
        err = file(made, "metadata", "m.gz", metadata, strlen(metadata));
    if (!err)
        err = file(made, type, "a", data, strlen(data));
    if (!err)
        err = cib_upload_commit(made, NULL, expire_at, 0);
    if (err)
        err = cib_error(core->pool, err->reason, err->rv, "%s", err->message ? err->message : "");
    apr_pool_destroy(ctx.pool);
    return err;
}

/* The types of what can be had, with blanks between them. */
static const char *types_of(core_t *core, apr_int64_t id)
{
    apr_array_header_t *artifacts;
    const char *types = "";

    fine(cib_artifact_list(&core->ctx, id, &artifacts), "list");
    for (int i = 0; i < artifacts->nelts; i++)
        types = apr_pstrcat(core->pool, types, i ? " " : "",
                            APR_ARRAY_IDX(artifacts, i, cib_artifact_t *)->type, NULL);
    return types;
}

/* Behind everybody's back. */
static void lose_file(core_t *core, apr_int64_t id, const char *type)
{
    cib_artifact_t *artifact;

    fine(cib_artifact_get(&core->ctx, id, type, &artifact), "get");
    must(
        cib_storage_remove(core->fx->storage, CIB_AREA_ARTIFACTS, artifact->blob, NULL, core->pool),
        "remove");
}

static void test_again(core_t *core)
{
    cib_build_t *build = running(core);
    int before = files(core);
    cib_error_t *err;

    is_fine(typed(core, build, "archive", "one", "about one", 0), "an upload");
    is_fine(typed(core, build, "archive", "one", "about another", 0), "the same bytes again");
    is_str(contents(core, build->id, "metadata"), "about one", "change nothing");
    is_int(files(core), before + 2, "and leave nothing");
    err = typed(core, build, "archive", "two", "about two", 0);
    is_reason(err, CIB_REASON_DUPLICATE, "other bytes");
    is_str(err->message, "another artifact of the same type already exists", "as GitLab says it");
    is_str(contents(core, build->id, "archive"), "one", "change nothing either");
    is_int(files(core), before + 2, "nor leave anything");
    lose_file(core, build->id, "archive");
    is_fine(typed(core, build, "archive", "one", "about one", 0),
            "the same bytes whose file is lost");
    is_str(contents(core, build->id, "archive"), "one", "are there again");
    is_fine(typed(core, build, "junit", "two", NULL, 0), "of another type");
    is_str(types_of(core, build->id), "archive junit metadata", "side by side");
    fine(cib_build_requeue(&core->ctx, build->id, build->claim), "requeue");
    start(core, build->id);
    build = build_of(core, build->id);
    is_fine(typed(core, build, "junit", "three", NULL, 0), "the next claim replaces");
    is_str(contents(core, build->id, "junit"), "three", "what the one before has left");
    is_fine(typed(core, build, "archive", "one", NULL, 0), "the same bytes too");
    is_str(types_of(core, build->id), "archive junit", "without the metadata of the former");
    is_int(files(core), before + 2, "whose files are gone");
    is_reason(typed(core, build, "archive", "two", NULL, 0), CIB_REASON_DUPLICATE,
              "from then on it is this claim's");
    is_fine(upload(core, build, "two", NULL, NULL, 0), "a dialect that replaces does so");
    is_str(contents(core, build->id, "archive"), "two", "all the same");
    finish(core, build->id, "success");
}

/* What is not kept is gone when the caller is told so, however long its pool lives. */
static void test_dropped(core_t *core)
{
    cib_build_t *build = running(core);
    const char *const again[] = {"one", "two"};
    int before = files(core);
    cib_upload_t *made;

    is_fine(typed(core, build, "archive", "one", NULL, 0), "an upload");
    for (int i = 0; i < 2; i++) {
        fine(cib_upload_begin(&core->ctx, build, &made), "begin");
        fine(file(made, "metadata", "m", "m", 1), "metadata");
        fine(file(made, "archive", "a", again[i], 3), "archive");
        ok(!cib_upload_commit(made, NULL, 0, 0) == !i, "the %s bytes", i ? "wrong" : "same");
        is_int(files(core), before + 1, "leave nothing");
    }
    fine(cib_upload_begin(&core->ctx, build, &made), "begin");
    fine(file(made, "metadata", "m", "m", 1), "metadata");
    fine(file(made, "junit", "j", "j", 1), "report");
    is_fine(cib_upload_commit(made, NULL, 0, 0), "a report");
    is_int(files(core), before + 2, "without the metadata");
    finish(core, build->id, "success");
}

static void test_again_expired(core_t *core)
{
    cib_build_t *build = running(core);
    int before = files(core);

    is_fine(typed(core, build, "dotenv", "A=1", NULL, apr_time_now() - 1), "one that has expired");
    is_str(types_of(core, build->id), "", "is none");
    is_fine(typed(core, build, "dotenv", "A=2", NULL, apr_time_now() - 1), "others may come");
    is_fine(typed(core, build, "dotenv", "A=2", NULL, 0), "and the same again");
    is_str(contents(core, build->id, "dotenv"), "A=2", "to be had now");
    is_int(files(core), before + 1, "alone");
    finish(core, build->id, "success");
}

static void test_metadata(core_t *core)
{
    cib_build_t *build = running(core);
    int before = files(core);

    is_fine(upload(core, build, "one", "about one", NULL, 0), "an archive with metadata");
    is_fine(typed(core, build, "junit", "report", "about it", 0), "a report with metadata");
    is_str(contents(core, build->id, "metadata"), "about one", "that nobody asked for");
    is_int(files(core), before + 3, "and nobody keeps");
    is_fine(upload(core, build, "two", NULL, NULL, 0), "another archive, without");
    is_str(types_of(core, build->id), "archive junit", "the metadata goes with the former");
    is_int(files(core), before + 2, "and its file");
    finish(core, build->id, "success");
}

/* What GitLab 14 and later ones know. */
static const char *const known[] = {"trace",
                                    "metrics_referee",
                                    "network_referee",
                                    "junit",
                                    "metrics",
                                    "dotenv",
                                    "cobertura",
                                    "jacoco",
                                    "cluster_applications",
                                    "cyclonedx",
                                    "annotations",
                                    "repository_xray",
                                    "lsif",
                                    "sast",
                                    "secret_detection",
                                    "dependency_scanning",
                                    "container_scanning",
                                    "cluster_image_scanning",
                                    "dast",
                                    "license_scanning",
                                    "coverage_fuzzing",
                                    "api_fuzzing",
                                    "accessibility",
                                    "codequality",
                                    "performance",
                                    "browser_performance",
                                    "load_performance",
                                    "terraform",
                                    "requirements",
                                    "requirements_v2"};
#define KNOWN (int)(sizeof(known) / sizeof(*known))

/* All that a build can have, and all of it goes together. */
static cib_build_t *with_all_types(core_t *core)
{
    cib_build_t *build = running(core);
    apr_array_header_t *artifacts;
    int failed = 0;

    is_fine(upload(core, build, "archive", "metadata", NULL, 0), "an archive");
    for (int i = 0; i < KNOWN; i++)
        failed += typed(core, build, known[i], known[i], NULL, 0) != CIB_OK;
    is_int(failed, 0, "one of each type");
    fine(cib_artifact_list(&core->ctx, build->id, &artifacts), "list");
    is_int(artifacts->nelts, KNOWN + 2, "all are there");
    finish(core, build->id, "success");
    return build;
}

static void test_together(core_t *core)
{
    int before = files(core);
    cib_build_t *build = with_all_types(core);
    apr_int64_t freed, bytes = strlen("archive") + strlen("metadata");

    for (int i = 0; i < KNOWN; i++)
        bytes += (apr_int64_t)strlen(known[i]);
    fine(cib_artifact_delete(&core->ctx, build->id, &freed), "delete");
    is_int(freed, bytes, "all are deleted together");
    build = with_all_types(core);
    fine(cib_build_erase(&core->ctx, build->id), "erase");
    is_str(types_of(core, build->id), "", "erased together");
    build = with_all_types(core);
    fine(cib_build_remove(&core->ctx, build->id, &freed), "remove");
    is_int(freed, bytes, "and removed together");
    is_int(files(core), before, "no file is left of any");
}

static void test_table(core_t *core)
{
    const cib_artifact_type_t *type = cib_artifact_type("junit");

    (void)core;
    ok(type && !strcmp(type->format, "gzip") && !strcmp(type->filename, "junit.xml"), "junit");
    type = cib_artifact_type("archive");
    ok(type && !strcmp(type->format, "zip") && !type->filename, "archive");
    ok(!cib_artifact_type(NULL) && !cib_artifact_type("") && !cib_artifact_type("Archive"),
       "and no others");
    for (int i = 0; i < KNOWN; i++) {
        type = cib_artifact_type(known[i]);
        ok(type && cib_artifact_is_format(type->format), "%s has a format", known[i]);
    }
    ok(!cib_artifact_is_format(NULL) && !cib_artifact_is_format("tar"), "tar is none");
}

static void test_twice_and_types(core_t *core)
{
    cib_build_t *build = running(core);
    const cib_sink_t *sink;
    cib_upload_t *made;

    fine(cib_upload_begin(&core->ctx, build, &made), "begin");
    is_reason(cib_upload_file(made, "../x", "zip", "n", &sink), CIB_REASON_INVALID, "no type");
    is_reason(cib_upload_file(made, "code_quality", "zip", "n", &sink), CIB_REASON_INVALID,
              "nor one that nobody knows");
    is_reason(cib_upload_file(made, "junit", "tar", "n", &sink), CIB_REASON_INVALID, "no format");
    is_fine(file(made, "codequality", "C:\\x\\\xc3\xa4\n.gz", "q", 1), "another type");
    is_reason(cib_upload_file(made, "codequality", "zip", "n", &sink), CIB_REASON_INVALID, "twice");
    is_reason(cib_upload_file(made, "junit", "zip", "n", &sink), CIB_REASON_INVALID,
              "nor two of different types");
    is_fine(cib_upload_commit(made, NULL, 0, 1), "committed");
    is_str(contents(core, build->id, "codequality"), "q", "by its own type");
    is_str(contents(core, build->id, "archive"), NULL, "and no other");
}

static void test_limits(core_t *core)
{
    cib_build_t *build = running(core), *waiting;
    cib_error_t *err;
    int before = files(core);

    core->limits.max_artifact_size = 2500;
    is_fine(upload(core, build, apr_psprintf(core->pool, "%2500d", 1), NULL, NULL, 0),
            "a file of exactly the limit");
    err = upload(core, build, apr_psprintf(core->pool, "%2501d", 1), NULL, NULL, 0);
    is_reason(err, CIB_REASON_TOO_LARGE, "one byte more");
    ok(strstr(err->message, "2.4 KiB") != NULL, "names the limit: %s", err->message);
    is_int(files(core), before + 1, "leaves nothing");
    is_fine(cib_artifact_allowed(&core->ctx, build, 2500), "allowed");
    is_fine(cib_artifact_allowed(&core->ctx, build, -1), "of unknown size");
    is_reason(cib_artifact_allowed(&core->ctx, build, 2501), CIB_REASON_TOO_LARGE, "too large");
    core->limits.max_artifact_size = 0;
    is_reason(cib_artifact_allowed(&core->ctx, build, -1), CIB_REASON_TOO_LARGE, "0 refuses all");
    core->limits.max_artifact_size = CIB_UNLIMITED;
    core->limits.min_free = APR_INT64_MAX;
    is_reason(cib_artifact_allowed(&core->ctx, build, 1), CIB_REASON_NO_SPACE, "a full disk");
    is_reason(upload(core, build, "x", NULL, NULL, 0), CIB_REASON_NO_SPACE, "takes nothing");
    waiting = build_of(core, new_build(core, 0, 0));
    err = cib_artifact_allowed(&core->ctx, waiting, 1);
    is_reason(err, CIB_REASON_NOT_RUNNING, "not running comes before that");
    is_str(err->message, "Build is not running!", "and it says so");
    core->limits.artifacts = 0;
    is_reason(cib_artifact_allowed(&core->ctx, waiting, 1), CIB_REASON_NOT_ALLOWED,
              "switched off comes first");
    core->limits = cib_limits_default;
    core->limits.min_free = 0;
}

static void test_expiry(core_t *core)
{
    cib_build_t *build = running(core);
    apr_time_t at, now = apr_time_now();
    cib_description_t *about;
    cib_artifact_t *artifact;

    fine(cib_artifact_expiry(&core->ctx, NULL, &at), "expiry");
    is_int(at, 0, "never by default");
    core->limits.artifact_expire = apr_time_from_sec(60);
    fine(cib_artifact_expiry(&core->ctx, NULL, &at), "expiry");
    ok(at >= now + apr_time_from_sec(60) && at < now + apr_time_from_sec(90), "the default's");
    fine(cib_artifact_expiry(&core->ctx, "never", &at), "expiry");
    is_int(at, 0, "never");
    fine(cib_artifact_expiry(&core->ctx, "1 week", &at), "expiry");
    ok(at >= now + apr_time_from_sec(604800), "a week");
    is_reason(cib_artifact_expiry(&core->ctx, "soon", &at), CIB_REASON_INVALID, "nonsense");
    core->limits.artifact_expire = CIB_UNLIMITED;
    is_fine(upload(core, build, "gone", NULL, NULL, now - 1), "an upload that has expired");
    is_str(contents(core, build->id, "archive"), NULL, "is not handed out");
    fine(cib_artifact_get(&core->ctx, build->id, "archive", &artifact), "get");
    ok(!artifact, "nor named");
    fine(cib_describe(&core->ctx, build->id, &about), "describe");
    ok(!about->archive, "nor in its build's description");
}

static void test_damage(core_t *core)
{
    cib_build_t *build = running(core);
    cib_artifact_t *artifact;
    apr_file_t *open;
    apr_int64_t freed;

    is_fine(upload(core, build, "precious", NULL, NULL, 0), "an upload");
    fine(cib_artifact_get(&core->ctx, build->id, "archive", &artifact), "get");
    must(cib_storage_remove(core->fx->storage, CIB_AREA_ARTIFACTS, artifact->blob, &freed,
                            core->pool),
         "remove");
    is_reason(cib_artifact_open(&core->ctx, build->id, "archive", &artifact, &open),
              CIB_REASON_INTERNAL, "a row without its file");
    ok(!open, "opens nothing");
}

/* --- a connection that breaks while PostgreSQL commits */

#define SLOW_COMMIT                                                                                \
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "                                  \
    "'BEGIN PERFORM pg_advisory_xact_lock(%d); RETURN NULL; END'"
#define SLOW_TRIGGER                                                                               \
    "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON artifacts DEFERRABLE INITIALLY DEFERRED "      \
    "FOR EACH ROW EXECUTE FUNCTION slow()"

#define FDS 256

typedef struct cutter_t {
    rival_t rival;
    int pid;
    char connected[FDS]; /* what there was before the rival's own connection */
    int done;            /* the upload has given its verdict */
} cutter_t;

static int is_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* How many wait for the rival, or for who waits for it? */
static int waiting(cutter_t *cutter)
{
    return rival_says(&cutter->rival,
                      "WITH first AS (SELECT pid FROM pg_locks WHERE NOT granted "
                      "AND %d = ANY (pg_blocking_pids(pid))) SELECT count(DISTINCT pid) "
                      "FROM pg_locks WHERE NOT granted AND (pid IN (SELECT pid FROM first) "
                      "OR pg_blocking_pids(pid) && ARRAY (SELECT pid FROM first))",
                      cutter->pid);
}

/* Cut the connection while its COMMIT waits; let that go on once somebody waits for it in turn, or
 * has not cared to. */
static void *APR_THREAD_FUNC cut(apr_thread_t *thread, void *data)
{
    cutter_t *cutter = data;

    while (waiting(cutter) == 0)
        apr_sleep(apr_time_from_msec(5));
    for (int fd = 0; fd < FDS; fd++)
        if (cutter->connected[fd])
            shutdown(fd, SHUT_RDWR);
    while (waiting(cutter) < 2 && !__atomic_load_n(&cutter->done, __ATOMIC_SEQ_CST))
        apr_sleep(apr_time_from_msec(5));
    rival_says(&cutter->rival, "COMMIT");
    return NULL;
}

static void test_commit_cut_off(core_t *core)
{
    cutter_t cutter = {.done = 0};
    apr_thread_t *thread;
    cib_build_t *build;
    cib_error_t *err;
    apr_status_t rv;

    if (!core->fx->schema)
        return;
    build = running(core);
    for (int fd = 0; fd < FDS; fd++)
        cutter.connected[fd] = (char)is_connected(fd);
    sql(core, SLOW_COMMIT, (int)getpid());
    sql(core, SLOW_TRIGGER);
    rival_begin(core, &cutter.rival);
    cutter.pid = rival_says(&cutter.rival, "SELECT pg_backend_pid()");
    rival_says(&cutter.rival, "SELECT count(*) FROM (SELECT pg_advisory_xact_lock(%d)) AS l",
               (int)getpid());
    must(apr_thread_create(&thread, NULL, cut, &cutter, core->pool), "start a thread");
    err = upload(core, build, "precious", NULL, NULL, 0);
    __atomic_store_n(&cutter.done, 1, __ATOMIC_SEQ_CST);
    must(apr_thread_join(&rv, thread), "join the thread");
    apr_dbd_close(cutter.rival.driver, cutter.rival.handle);
    sql(core, "DROP FUNCTION slow CASCADE");
    is_fine(err, "a commit that took place, though nobody heard of it, is one");
    is_str(contents(core, build->id, "archive"), "precious", "its row has its file");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_lifecycle(core);
    test_refused(core);
    test_again(core);
    test_dropped(core);
    test_again_expired(core);
    test_metadata(core);
    test_together(core);
    test_table(core);
    test_twice_and_types(core);
    test_limits(core);
    test_expiry(core);
    test_damage(core);
    test_commit_cut_off(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

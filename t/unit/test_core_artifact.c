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
        err = cib_upload_commit(made, sha256, expire_at);
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
    is_reason(upload(core, stale, "late", NULL, NULL, 0), CIB_REASON_FORBIDDEN,
              "of a former claim");
    start(core, build->id);
    err = upload(core, stale, "late", NULL, NULL, 0);
    is_reason(err, CIB_REASON_FORBIDDEN, "also when there is a new one");
    is_str(err->message, "Build is not running!", "and says why");
    is_str(contents(core, build->id, "archive"), "data", "what was there stays");
    is_int(files(core), before + 1, "alone");
}

static void test_twice_and_types(core_t *core)
{
    cib_build_t *build = running(core);
    const cib_sink_t *sink;
    cib_upload_t *made;

    fine(cib_upload_begin(&core->ctx, build, &made), "begin");
    is_reason(cib_upload_file(made, "../x", "zip", "n", &sink), CIB_REASON_INVALID, "no type");
    is_reason(cib_upload_file(made, "junit", "tar", "n", &sink), CIB_REASON_INVALID, "no format");
    is_fine(file(made, "code_quality", "C:\\x\\\xc3\xa4\n.gz", "q", 1), "another type");
    is_reason(cib_upload_file(made, "code_quality", "zip", "n", &sink), CIB_REASON_INVALID,
              "twice");
    is_fine(cib_upload_commit(made, NULL, 0), "committed");
    is_str(contents(core, build->id, "code_quality"), "q", "by its own type");
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
    is_fine(cib_artifact_allowed(&core->ctx, build, 0, 2500), "allowed");
    is_fine(cib_artifact_allowed(&core->ctx, build, 0, -1), "of unknown size");
    is_reason(cib_artifact_allowed(&core->ctx, build, 0, 2501), CIB_REASON_TOO_LARGE, "too large");
    core->limits.max_artifact_size = 0;
    is_reason(cib_artifact_allowed(&core->ctx, build, 0, -1), CIB_REASON_TOO_LARGE,
              "0 refuses all");
    core->limits.max_artifact_size = CIB_UNLIMITED;
    core->limits.min_free = APR_INT64_MAX;
    is_reason(cib_artifact_allowed(&core->ctx, build, 0, 1), CIB_REASON_NO_SPACE, "a full disk");
    is_reason(upload(core, build, "x", NULL, NULL, 0), CIB_REASON_NO_SPACE, "takes nothing");
    waiting = build_of(core, new_build(core, 0, 0));
    err = cib_artifact_allowed(&core->ctx, waiting, 0, 1);
    is_reason(err, CIB_REASON_FORBIDDEN, "not running comes before that");
    is_str(err->message, "Build is not running!", "for an upload");
    err = cib_artifact_allowed(&core->ctx, waiting, 1, 1);
    is_str(err->message, "build is not running", "for authorize");
    core->limits.artifacts = 0;
    is_reason(cib_artifact_allowed(&core->ctx, waiting, 0, 1), CIB_REASON_NOT_ALLOWED,
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

/* A fresh instance for the tests of the store: a storage directory of its own, and a database in it
 * (SQLite) or a schema of its own in the database that CIB_TEST_PGSQL names (PostgreSQL).
 */
#ifndef CIB_STORE_FIXTURE_H
#define CIB_STORE_FIXTURE_H

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_dbd.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "store/cib_questions.h"
#include "store/cib_schema.h"
#include "store/cib_source.h"
#include "tap.h"

typedef struct fixture_t {
    apr_pool_t *pool;
    const char *driver;
    const char *params;
    const char *dir;
    const char *schema; /* PostgreSQL */
    cib_storage_t *storage;
    cib_generation_t *gen;
    apr_pool_t *attached; /* of what follows; NULL while detached */
    cib_store_t *store;
    const cib_source_t *source;
} fixture_t;

TAP_UNUSED static void must(apr_status_t rv, const char *what)
{
    char text[120];

    if (rv != APR_SUCCESS)
        bail_out("%s: %s", what, apr_strerror(rv, text, sizeof(text)));
}

/* Is it success? Says why not otherwise. */
TAP_UNUSED static int is_fine(const cib_error_t *err, const char *what)
{
    apr_pool_t *pool;
    int fine = ok(err == CIB_OK, "%s", what);

    if (!fine && apr_pool_create(&pool, NULL) == APR_SUCCESS) {
        diag("%s: reason %d: %s", what, (int)err->reason, cib_error_text(err, pool));
        apr_pool_destroy(pool);
    }
    return fine;
}

TAP_UNUSED static void is_reason(const cib_error_t *err, cib_reason_e reason, const char *what)
{
    is_int(err ? (int)err->reason : -1, (int)reason, "%s", what);
}

/* --- the database, without the store */

/* Run one statement on a connection of its own, as any other program might. */
TAP_UNUSED static void outside(const fixture_t *fx, const char *params, const char *sql)
{
    const apr_dbd_driver_t *driver;
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    apr_dbd_t *handle;
    apr_pool_t *pool;
    int rc;

    must(apr_pool_create(&pool, fx->pool), "make a pool");
    must(apr_dbd_init(fx->pool), "initialize apr_dbd");
    must(apr_dbd_get_driver(fx->pool, fx->driver, &driver), "load the driver");
    must(apr_dbd_open(driver, pool, params, &handle), "connect");
    rc = apr_dbd_select(driver, pool, handle, &results, sql, 1);
    if (rc != 0)
        bail_out("%s: %s", sql, apr_dbd_error(driver, handle, rc));
    while (apr_dbd_get_row(driver, pool, results, &row, -1) == 0)
        continue;
    apr_dbd_close(driver, handle);
    apr_pool_destroy(pool);
}

/* --- processes and threads */

/* What a process needs of its own: store and source never cross a fork. */
TAP_UNUSED static void fixture_attach(fixture_t *fx)
{
    must(apr_pool_create(&fx->attached, fx->pool), "make a pool");
    must(cib_source_own(&fx->source, fx->driver, fx->params, 1, fx->attached), "make a source");
    must(cib_store_create(&fx->store, fx->storage, fx->gen, fx->attached), "make the store");
}

TAP_UNUSED static void fixture_detach(fixture_t *fx)
{
    apr_pool_destroy(fx->attached);
    fx->attached = NULL;
}

/* Fork while detached; in the child, attach and run `body`, whose result is the exit code. */
TAP_UNUSED static pid_t fork_child(const fixture_t *fx, int (*body)(fixture_t *fx, int number),
                                   int number)
{
    fixture_t mine = *fx;
    pid_t pid;

    if (fx->attached)
        bail_out("a connection must not cross a fork");
    pid = fork();
    if (pid < 0)
        bail_out("cannot fork");
    if (pid > 0)
        return pid;
    must(apr_pool_create(&mine.pool, NULL), "make a pool");
    fixture_attach(&mine);
    _exit(body(&mine, number));
}

TAP_UNUSED static int exit_code(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#define MAX_THREADS 64

/* Run `body` in `count` threads, each with a pool of its own, and wait for all. */
typedef struct thread_job_t {
    fixture_t *fx;
    int number;
    void (*body)(fixture_t *fx, int number, apr_pool_t *pool);
} thread_job_t;

TAP_UNUSED static void *APR_THREAD_FUNC thread_main(apr_thread_t *thread, void *data)
{
    thread_job_t *job = data;
    apr_pool_t *pool;

    must(apr_pool_create(&pool, NULL), "make a pool");
    job->body(job->fx, job->number, pool);
    apr_pool_destroy(pool);
    /* not by apr_thread_exit: AddressSanitizer does not see that this frame is left */
    return NULL;
}

TAP_UNUSED static void in_threads(fixture_t *fx, int count,
                                  void (*body)(fixture_t *fx, int number, apr_pool_t *pool))
{
    apr_thread_t *threads[MAX_THREADS];
    thread_job_t jobs[MAX_THREADS];
    apr_status_t rv;

    for (int i = 0; i < count; i++) {
        jobs[i].fx = fx;
        jobs[i].number = i;
        jobs[i].body = body;
        must(apr_thread_create(&threads[i], NULL, thread_main, &jobs[i], fx->pool),
             "start a thread");
    }
    for (int i = 0; i < count; i++)
        must(apr_thread_join(&rv, threads[i]), "join a thread");
}

/* --- setting up */

static void fixture_database(fixture_t *fx)
{
    static int count;
    const char *base = getenv("CIB_TEST_PGSQL");

    if (strcmp(fx->driver, "sqlite3") == 0)
        return;
    fx->schema = apr_psprintf(fx->pool, "cib_test_%d_%d", (int)getpid(), ++count);
    outside(fx, base, apr_pstrcat(fx->pool, "CREATE SCHEMA ", fx->schema, NULL));
    fx->params = apr_psprintf(fx->pool, "%s options='-c search_path=%s'", base, fx->schema);
}

/* An instance without a schema. */
TAP_UNUSED static fixture_t *fixture_bare(const char *driver)
{
    apr_pool_t *pool = tap_pool();
    fixture_t *fx = apr_pcalloc(pool, sizeof(*fx));
    const char *tmp = getenv("TMPDIR");
    char *dir = apr_pstrcat(pool, tmp ? tmp : "/tmp", "/cib-store-XXXXXX", NULL);

    if (!mkdtemp(dir))
        bail_out("cannot make %s", dir);
    fx->pool = pool;
    fx->driver = driver;
    fx->dir = dir;
    fixture_database(fx);
    must(cib_storage_create(dir, driver, fx->params, pool), "make the storage directory");
    must(cib_storage_open(&fx->storage, dir, pool), "open the storage directory");
    fx->params = fx->storage->params;
    must(cib_generation_open(&fx->gen, fx->storage, pool), "map the generations");
    fixture_attach(fx);
    return fx;
}

/* An instance ready to be used. */
TAP_UNUSED static fixture_t *fixture_new(const char *driver)
{
    fixture_t *fx = fixture_bare(driver);
    cib_error_t *err;
    int from;

    err = cib_schema_upgrade(fx->store, fx->source, fx->storage->id, &from, fx->pool);
    if (err)
        bail_out("make the schema: %s", cib_error_text(err, fx->pool));
    return fx;
}

static void remove_tree(const char *path, apr_pool_t *pool)
{
    apr_finfo_t info;
    apr_dir_t *dir;

    if (apr_dir_open(&dir, path, pool) == APR_SUCCESS) {
        while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS)
            if (strcmp(info.name, ".") != 0 && strcmp(info.name, "..") != 0)
                remove_tree(apr_pstrcat(pool, path, "/", info.name, NULL), pool);
        apr_dir_close(dir);
        apr_dir_remove(path, pool);
    } else {
        apr_file_remove(path, pool);
    }
}

TAP_UNUSED static void fixture_done(fixture_t *fx)
{
    if (fx->schema)
        outside(fx, getenv("CIB_TEST_PGSQL"),
                apr_psprintf(fx->pool, "DROP SCHEMA %s CASCADE", fx->schema));
    remove_tree(fx->dir, fx->pool);
    apr_pool_destroy(fx->pool);
}

/* Run `tests` on SQLite, and on PostgreSQL where there is one. */
TAP_UNUSED static void on_every_driver(void (*tests)(const char *driver))
{
    diag("sqlite3");
    tests("sqlite3");
    if (getenv("CIB_TEST_PGSQL")) {
        diag("pgsql");
        tests("pgsql");
    } else {
        diag("CIB_TEST_PGSQL is not set: not on PostgreSQL");
    }
}

/* --- sections */

TAP_UNUSED static cib_error_t *reading(fixture_t *fx, cib_section_fn section, void *baton)
{
    return cib_store_read(fx->store, fx->source, section, baton, fx->pool);
}

TAP_UNUSED static cib_error_t *writing(fixture_t *fx, cib_section_fn section, void *baton)
{
    return cib_store_write(fx->store, fx->source, CIB_WRITE_MANY, section, baton, fx->pool);
}

#endif

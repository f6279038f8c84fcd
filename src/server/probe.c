/* A look at storage and database at start-up, in a child process that is httpd's User: root may not
 * be able to, must not leave files of its own behind, and no handle may cross a fork. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_dbd.h>
#include <apr_strings.h>

#include <httpd.h>
#include <unixd.h>

#include "internal.h"
#include "store/cib_source.h"

/* A database that does not answer in that time is one that cannot be reached. */
#define PATIENCE apr_time_from_sec(10)

/* One write of a pipe that nobody else writes to: never torn. */
#define LINE_MAX_LEN 1024

static cib_verdict_t good(void)
{
    cib_verdict_t verdict = {CIB_VERDICT_GOOD, ""};

    return verdict;
}

static cib_verdict_t warning(const char *line)
{
    cib_verdict_t verdict = {CIB_VERDICT_WARN, line};

    return verdict;
}

static cib_verdict_t stop(const char *line)
{
    cib_verdict_t verdict = {CIB_VERDICT_STOP, line};

    return verdict;
}

static const char *text_of(apr_status_t rv, apr_pool_t *pool)
{
    char text[200];

    return apr_pstrdup(pool, apr_strerror(rv, text, sizeof(text)));
}

/* --- in the child */

static const char *me(apr_pool_t *pool)
{
    return cib_user_name(geteuid(), pool);
}

/* As httpd's children do it. */
static int become_user(void)
{
    if (geteuid() != 0)
        return 1;
    return setgid(ap_unixd_config.group_id) == 0 &&
           initgroups(ap_unixd_config.user_name, ap_unixd_config.group_id) == 0 &&
           setuid(ap_unixd_config.user_id) == 0;
}

static cib_verdict_t look_at_storage(const cib_probe_t *probe, cib_storage_t **storage,
                                     apr_pool_t *pool)
{
    apr_status_t rv = cib_storage_open(storage, probe->dir, pool);

    if (rv == APR_SUCCESS && access(probe->dir, R_OK | W_OK | X_OK) != 0)
        rv = errno;
    if (APR_STATUS_IS_EINVAL(rv))
        return stop(apr_psprintf(pool,
                                 "CIB0209: the file config in the storage directory %s cannot be "
                                 "understood: restore it from a backup",
                                 probe->dir));
    if (rv != APR_SUCCESS)
        return stop(apr_psprintf(pool,
                                 "CIB0210: %s cannot use the storage directory %s: %s: see to it "
                                 "that it is %s's, as 'ci-builds init' made it",
                                 me(pool), probe->dir, text_of(rv, pool), me(pool)));
    if (strcmp((*storage)->driver, probe->driver))
        return stop(apr_psprintf(pool,
                                 "CIB0211: DBDriver is %s, but the storage directory %s was made "
                                 "for %s: write 'DBDriver %s'",
                                 probe->driver, probe->dir, (*storage)->driver,
                                 (*storage)->driver));
    return good();
}

/* SQLite opens a file that is not there as an empty database, and one it may not write as a lame
 * one.
 */
static cib_verdict_t look_at_file(const cib_probe_t *probe, const cib_storage_t *storage,
                                  apr_pool_t *pool)
{
    apr_status_t rv;

    if (strcmp(probe->driver, "sqlite3") || access(probe->params, R_OK | W_OK) == 0)
        return good();
    rv = errno;
    return stop(apr_psprintf(pool,
                             "CIB0212: %s cannot use the database %s: %s: let DBDParams name %s, "
                             "or make that %s's",
                             me(pool), probe->params, text_of(rv, pool), storage->params,
                             me(pool)));
}

static cib_verdict_t not_reached(const cib_probe_t *probe, const char *why, apr_pool_t *pool)
{
    return warning(apr_psprintf(pool,
                                "CIB0213: the database of %s cannot be reached now (%s): requests "
                                "get 503 until it can",
                                probe->dir, why));
}

static cib_verdict_t look_at_database(const cib_probe_t *probe, const cib_storage_t *storage,
                                      apr_pool_t *pool)
{
    cib_schema_state_t state = {0, NULL};
    const cib_source_t *source;
    cib_store_t *store;
    const char *mismatch;
    cib_error_t *err;
    apr_status_t rv;

    apr_dbd_init(pool);
    rv = cib_source_own(&source, probe->driver, probe->params, 0, pool);
    if (rv == APR_SUCCESS)
        rv = cib_store_create(&store, storage, NULL, pool);
    if (rv != APR_SUCCESS)
        return stop(apr_psprintf(pool,
                                 "CIB0214: cannot use the database of %s with DBDriver %s: %s",
                                 probe->dir, probe->driver, text_of(rv, pool)));
    err = cib_schema_state(store, source, &state, pool);
    if (err)
        return not_reached(probe, cib_error_text(err, pool), pool);
    mismatch = cib_instance_mismatch(storage, &state, pool);
    return mismatch ? stop(apr_pstrcat(pool, "CIB0215: ", mismatch, NULL)) : good();
}

static cib_verdict_t look(const cib_probe_t *probe, apr_pool_t *pool)
{
    cib_storage_t *storage = NULL;
    cib_verdict_t verdict;

    if (!become_user())
        return stop(apr_psprintf(pool, "CIB0216: cannot become %s: %s", ap_unixd_config.user_name,
                                 text_of(errno, pool)));
    verdict = look_at_storage(probe, &storage, pool);
    if (verdict.kind == CIB_VERDICT_GOOD)
        verdict = look_at_file(probe, storage, pool);
    if (verdict.kind == CIB_VERDICT_GOOD)
        verdict = look_at_database(probe, storage, pool);
    return verdict;
}

/* The parent's signal handlers would act on the parent's state. */
static void forget_signals(void)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM};

    for (apr_size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++)
        signal(handled[i], SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
}

/* Answer by one byte for the kind and the line; never return. */
static void __attribute__((noreturn))
be_child(const cib_probe_t *probe, int answer, apr_pool_t *pool)
{
    char text[LINE_MAX_LEN + 1];
    cib_verdict_t verdict;
    apr_size_t len;

    forget_signals();
    verdict = look(probe, pool);
    len = apr_snprintf(text, sizeof(text), "%d%s", (int)verdict.kind, verdict.line);
    _exit(write(answer, text, len) == (ssize_t)len ? 0 : 1);
}

/* --- in the parent */

/* Read all the child says until `deadline`; the length, 0 when it said nothing. */
static apr_size_t listen_to(int answer, char *text, apr_size_t size, apr_time_t deadline)
{
    apr_size_t len = 0;

    while (len < size) {
        struct pollfd wait = {answer, POLLIN, 0};
        apr_time_t left = deadline - apr_time_now();
        int ready = left > 0 ? poll(&wait, 1, (int)apr_time_as_msec(left) + 1) : 0;
        ssize_t got;

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            break;
        got = read(answer, text + len, size - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += got;
    }
    return len;
}

static void hear(const cib_probe_t *probe, int answer, cib_verdict_t *verdict, apr_pool_t *pool)
{
    char text[LINE_MAX_LEN + 1];
    apr_time_t deadline = apr_time_now() + PATIENCE;
    apr_size_t len = listen_to(answer, text, sizeof(text) - 1, deadline);

    text[len] = '\0';
    if (len > 0 && text[0] >= '0' + CIB_VERDICT_GOOD && text[0] <= '0' + CIB_VERDICT_STOP) {
        verdict->kind = text[0] - '0';
        verdict->line = apr_pstrdup(pool, text + 1);
    } else if (apr_time_now() >= deadline) {
        *verdict = not_reached(probe, "no answer for 10 seconds", pool);
    } else {
        *verdict = stop(apr_psprintf(pool, "CIB0217: the start-up check of %s died", probe->dir));
    }
}

void cib_probe_run(const cib_probe_t *probe, cib_verdict_t *verdict, apr_pool_t *pool)
{
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        *verdict = stop(apr_psprintf(pool, "CIB0218: no pipe: %s", text_of(errno, pool)));
        return;
    }
    child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(probe, ends[1], pool);
    }
    close(ends[1]);
    if (child < 0) {
        *verdict = stop(apr_psprintf(pool, "CIB0219: no process: %s", text_of(errno, pool)));
    } else {
        hear(probe, ends[0], verdict, pool);
        kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close(ends[0]);
}

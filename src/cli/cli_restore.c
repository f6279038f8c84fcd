/* ci-builds restore */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>
#include "core/cib_backup.h"
#include "guard.h"
#include "making.h"
#include "output.h"
#include "progress.h"
#include "session.h"
#include "store/cib_dump.h"
#include "util/cib_text.h"

typedef struct restoring_t {
    int fd;
    cli_wish_t wish;
    cli_guard_t *guard;
    cli_progress_t progress;
    cib_restore_t *restore;
    const cib_manifest_t *manifest;
    cib_storage_t *storage; /* NULL: not begun */
    int made_database;      /* the SQLite file was not there */
    int filled;             /* the database is */
    cib_backup_report_t report;
} restoring_t;

cib_error_t *cli_restore_prepare(cli_t *cli)
{
    restoring_t *restoring = apr_pcalloc(cli->pool, sizeof(*restoring));
    struct stat is;

    cli->prepared = restoring;
    signal(SIGXFSZ, SIG_IGN);
    if (!strcmp(cli->operand, "-") && isatty(STDIN_FILENO))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "this is a terminal: name a file, or redirect the input");
    restoring->fd = STDIN_FILENO;
    if (strcmp(cli->operand, "-") != 0)
        restoring->fd = open(cli->operand, O_RDONLY | O_CLOEXEC);
    if (restoring->fd < 0)
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, APR_FROM_OS_ERROR(errno), "open %s",
                         cli->operand);
    if (fstat(restoring->fd, &is) == 0 && S_ISDIR(is.st_mode))
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, APR_SUCCESS, "%s is a directory",
                         cli->operand);
    return CIB_OK;
}

/* --- the directory --------------------------------------------------------------------------- */

static void remove_dir(void *baton)
{
    (void)rmdir(baton);
}

/* Make DIR, leave behind who can remove it again if that was us, and become its owner. */
static cib_error_t *take_dir(cli_t *cli, restoring_t *restoring)
{
    cli_duty_t duty = {NULL, NULL, apr_pstrdup(cli->pool, cli->dir)};
    struct stat is;

    if (lstat(cli->dir, &is) != 0)
        duty.abandon = remove_dir;
    else if (!cli_is_empty(cli->dir, cli->pool))
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "%s is not an empty directory, and a restore overwrites nothing",
                         cli->dir);
    CIB_TRY(cli_make_dir(cli, &restoring->wish));
    CIB_TRY(cli_guard_begin(cli, &duty, &restoring->guard));
    return cli_session_become(cli);
}

static cib_error_t *begin_storage(cli_t *cli, restoring_t *restoring)
{
    const cli_wish_t *wish = &restoring->wish;
    const cib_manifest_t *manifest = restoring->manifest;
    const char *driver = wish->driver ? wish->driver : manifest->driver;
    struct stat is;
    apr_status_t rv;

    if (!strcmp(driver, "pgsql") && !wish->params)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the backup is to be restored to pgsql, which needs --params");
    rv = cib_storage_begin(&restoring->storage, cli->dir, driver, cli_wish_params(wish, driver),
                           cli->pool);
    if (APR_STATUS_IS_EEXIST(rv))
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "somebody else makes a storage directory of %s", cli->dir);
    if (rv != APR_SUCCESS)
        return cib_error_system(cli->pool, rv, "make the storage directory %s", cli->dir);
    restoring->storage->id = manifest->id;
    memcpy(restoring->storage->secret, manifest->secret, CIB_SECRET_LEN);
    restoring->made_database =
        !strcmp(driver, "sqlite3") && lstat(restoring->storage->params, &is) != 0;
    return CIB_OK;
}

/* --- all ------------------------------------------------------------------------------------- */

/* What is wrong with the backup is to name it. */
static cib_error_t *naming(const cli_t *cli, cib_error_t *err)
{
    if (!err || err->reason != CIB_REASON_CONFLICT)
        return err;
    return cib_error(cli->pool, err->reason, APR_SUCCESS, "%s: %s", cli->operand,
                     cib_error_text(err, cli->pool));
}

static cib_error_t *open_database(cli_t *cli, restoring_t *restoring)
{
    int reached = 0;

    CIB_TRY(cli_reach(cli, restoring->storage, &reached));
    return cib_dump_begin(cli->ctx.store, cli->ctx.source, cli->pool);
}

static cib_error_t *fill(cli_t *cli, restoring_t *restoring)
{
    apr_status_t rv;

    CIB_TRY(naming(cli, cib_restore_begin(&restoring->restore, restoring->fd, cli->dir,
                                          cli_progress_show, &restoring->progress,
                                          &restoring->manifest, cli->pool)));
    CIB_TRY(begin_storage(cli, restoring));
    /* before hours go by */
    CIB_TRY(open_database(cli, restoring));
    CIB_TRY(naming(cli, cib_restore_files(restoring->restore, restoring->storage)));
    CIB_TRY(naming(cli, cib_restore_rows(restoring->restore, &cli->ctx, &restoring->report)));
    restoring->filled = 1;
    rv = cib_storage_finish(restoring->storage, cli->pool);
    return rv == APR_SUCCESS
               ? CIB_OK
               : cib_error_system(cli->pool, rv, "finish the storage directory %s", cli->dir);
}

static void undo(cli_t *cli, restoring_t *restoring)
{
    const cib_storage_t *storage = restoring->storage;

    if (restoring->filled && cib_dump_undo(cli->ctx.store, cli->ctx.source, cli->pool))
        cli_complain("the database was filled, and cannot be emptied now: do so yourself");
    if (storage && restoring->made_database) {
        unlink(storage->params);
        unlink(apr_pstrcat(cli->pool, storage->params, "-wal", NULL));
        unlink(apr_pstrcat(cli->pool, storage->params, "-shm", NULL));
    }
    if (storage)
        cib_storage_undo(storage, cli->pool);
    if (restoring->guard)
        cli_guard_abandon(restoring->guard);
}

static void print_result(const cli_t *cli, const restoring_t *restoring)
{
    const cib_backup_report_t *report = &restoring->report;
    json_object *object;

    if (!cli->json) {
        printf("# %" APR_INT64_T_FMT " builds and %" APR_INT64_T_FMT
               " artifacts are restored, files of %s.\n"
               "# httpd must be told where they are, and started anew.\n",
               report->builds, report->artifacts, cib_size_format(report->bytes, cli->pool));
        cli_print_snippet(cli, restoring->storage);
        return;
    }
    object = json_object_new_object();
    cli_set_text(object, "storage", restoring->storage->dir);
    cli_set_text(object, "id", restoring->storage->id);
    cli_set_text(object, "driver", restoring->storage->driver);
    cli_set_int(object, "builds", report->builds);
    cli_set_int(object, "artifacts", report->artifacts);
    cli_set_int(object, "bytes", report->bytes);
    cli_print(cli, object);
}

cib_error_t *cli_restore(cli_t *cli)
{
    restoring_t *restoring = (restoring_t *)cli->prepared;
    cib_error_t *err;

    CIB_TRY(cli_wish_read(cli, &restoring->wish));
    cli_progress_heed_signals();
    CIB_TRY(take_dir(cli, restoring));
    cli_progress_begin(&restoring->progress);
    err = fill(cli, restoring);
    cli_progress_end(&restoring->progress);
    if (err) {
        undo(cli, restoring);
        return err;
    }
    print_result(cli, restoring);
    return CIB_OK;
}

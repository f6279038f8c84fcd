/* ci-builds backup */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include "core/cib_backup.h"
#include "files/cib_outfile.h"
#include "guard.h"
#include "output.h"
#include "progress.h"
#include "util/cib_text.h"

typedef struct target_t {
    const char *path;
    cib_outfile_t *file; /* NULL: standard output */
    cli_guard_t *guard;
    cib_backup_job_t job;
    cli_progress_t progress;
} target_t;

static apr_status_t finish_file(void *baton)
{
    return cib_outfile_finish(baton);
}

static void abandon_file(void *baton)
{
    cib_outfile_abandon(baton);
}

static cib_error_t *file_trouble(const cli_t *cli, const target_t *target, apr_status_t rv)
{
    if (APR_STATUS_IS_EEXIST(rv) && cli_given(cli, "force"))
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "%s is no file: write to it with '-' and a redirection", target->path);
    if (APR_STATUS_IS_EEXIST(rv))
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "%s is there: --force replaces it", target->path);
    return cib_error_system(cli->pool, rv, "write %s", target->path);
}

static cib_error_t *open_file(const cli_t *cli, target_t *target)
{
    cli_duty_t duty = {finish_file, abandon_file, NULL};
    apr_status_t rv =
        cib_outfile_open(&target->file, target->path, cli_given(cli, "force"), cli->pool);

    if (rv != APR_SUCCESS)
        return file_trouble(cli, target, rv);
    target->job.fd = cib_outfile_fd(target->file);
    duty.baton = target->file;
    return cli_guard_begin(cli, &duty, &target->guard);
}

/* Beside the file: who has room for it has room for the rows. */
static cib_error_t *open_spools(const cli_t *cli, target_t *target)
{
    const char *dir;
    apr_status_t rv = APR_SUCCESS;

    if (target->file)
        dir = cib_outfile_folder(target->file);
    else
        rv = apr_temp_dir_get(&dir, cli->pool);
    for (int i = 0; i < CIB_BACKUP_SPOOLS && rv == APR_SUCCESS; i++)
        rv = cib_spool_open(&target->job.spools[i], dir, cli->pool);
    return rv == APR_SUCCESS ? CIB_OK : cib_error_system(cli->pool, rv, "make a temporary file");
}

cib_error_t *cli_backup_prepare(cli_t *cli)
{
    target_t *target = apr_pcalloc(cli->pool, sizeof(*target));

    cli->prepared = target;
    target->path = cli->operand;
    target->job.pack = cib_archive_pack(target->path);
    target->job.fd = STDOUT_FILENO;
    /* what goes beyond a limit is to be an error like any other */
    signal(SIGXFSZ, SIG_IGN);
    if (strcmp(target->path, "-") != 0)
        CIB_TRY(open_file(cli, target));
    else if (isatty(STDOUT_FILENO))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "this is a terminal: name a file, or redirect the output");
    return open_spools(cli, target);
}

static cib_error_t *write_backup(const cli_t *cli, target_t *target, cib_backup_report_t *report)
{
    apr_status_t rv;

    CIB_TRY(cib_backup(&cli->ctx, &target->job, report));
    rv = target->file ? cli_guard_finish(target->guard) : APR_SUCCESS;
    return rv == APR_SUCCESS ? CIB_OK : file_trouble(cli, target, rv);
}

static void print_report(const cli_t *cli, const target_t *target,
                         const cib_backup_report_t *report)
{
    json_object *object = json_object_new_object();

    cli_set_text(object, "file", target->path);
    cli_set_int(object, "builds", report->builds);
    cli_set_int(object, "artifacts", report->artifacts);
    cli_set_int(object, "bytes", report->bytes);
    cli_set_int(object, "faults", report->faults);
    cli_print(cli, object);
}

cib_error_t *cli_backup(cli_t *cli)
{
    /* what prepare made is ours alone */
    target_t *target = (target_t *)cli->prepared;
    cib_backup_report_t report;
    cib_error_t *err;

    cli_progress_begin(&target->progress);
    target->job.progress = cli_progress_show;
    target->job.baton = &target->progress;
    /* a pipe's reader may keep us waiting for ever: then a signal is to end us at once */
    if (target->file)
        cli_progress_heed_signals();
    err = write_backup(cli, target, &report);
    cli_progress_end(&target->progress);
    if (err) {
        if (target->file)
            cli_guard_abandon(target->guard);
        return err;
    }
    if (target->file)
        print_report(cli, target, &report);
    if (report.faults) {
        cli_complain("the backup was written, but not all is in it: see above, and "
                     "'" CLI_PROGRAM " check'");
        cli->exit_code = CLI_FAILED;
    }
    return CIB_OK;
}

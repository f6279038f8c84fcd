/* How far a long command is, on a terminal; and ending it in an orderly way. */
#ifndef CIB_CLI_PROGRESS_H
#define CIB_CLI_PROGRESS_H

#include <apr_time.h>
#include "cli.h"

typedef struct cli_progress_t {
    int shows;        /* standard error is a terminal */
    apr_time_t shown; /* when it last was */
} cli_progress_t;

void cli_progress_begin(cli_progress_t *progress);

/* A cib_backup_progress_fn; its baton is a cli_progress_t. */
int cli_progress_show(void *baton, apr_int64_t builds, apr_int64_t artifacts, apr_int64_t bytes);

/* Wipe what was shown. */
void cli_progress_end(cli_progress_t *progress);

/* From now on SIGINT, SIGTERM and SIGHUP make cli_progress_show ask for an end; the second of them
 * ends the program at once. */
void cli_progress_heed_signals(void);

#endif

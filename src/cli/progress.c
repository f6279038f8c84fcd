#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "util/cib_text.h"

#define SHOW_EVERY apr_time_from_msec(200)
#define WIPE "\r\033[K"

static volatile sig_atomic_t wanted_to_end;

static void heed(int signal)
{
    (void)signal;
    wanted_to_end = 1;
}

void cli_progress_heed_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = heed, .sa_flags = (int)SA_RESETHAND};

    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaction(signals[i], &action, NULL);
}

void cli_progress_begin(cli_progress_t *progress)
{
    progress->shows = isatty(STDERR_FILENO);
    progress->shown = 0;
}

int cli_progress_show(void *baton, apr_int64_t builds, apr_int64_t artifacts, apr_int64_t bytes)
{
    cli_progress_t *progress = baton;
    apr_time_t now = progress->shows ? apr_time_now() : 0;
    apr_pool_t *pool;

    if (now - progress->shown > SHOW_EVERY && apr_pool_create(&pool, NULL) == APR_SUCCESS) {
        fprintf(stderr, WIPE "%" APR_INT64_T_FMT " artifacts, %" APR_INT64_T_FMT " builds, %s",
                artifacts, builds, cib_size_format(bytes, pool));
        fflush(stderr);
        apr_pool_destroy(pool);
        progress->shown = now;
    }
    return wanted_to_end;
}

void cli_progress_end(cli_progress_t *progress)
{
    if (progress->shown)
        fputs(WIPE, stderr);
    progress->shown = 0;
}

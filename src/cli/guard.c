#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct cli_guard_t {
    cli_duty_t duty;
    int socket; /* to who stayed behind; -1: nobody did */
};

static pid_t guarded;

/* Who wants the program to end usually knows the first process only. */
static void pass_on(int signal)
{
    kill(guarded, signal);
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

    sigaction(SIGTERM, &action, NULL);
    /* a terminal sends these to both */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

/* `*finished`: it was done when asked for, and well. */
static void serve(int socket, const cli_duty_t *duty, int *finished)
{
    char request;
    ssize_t got;

    do
        got = read(socket, &request, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1 && duty->finish) {
        apr_status_t rv = duty->finish(duty->baton);

        *finished = rv == APR_SUCCESS;
        (void)send(socket, &rv, sizeof(rv), MSG_NOSIGNAL);
    }
}

__attribute__((noreturn)) static void stay_behind(int socket, const cli_duty_t *duty)
{
    int finished = 0;
    int status = 0;

    watch_signals();
    serve(socket, duty, &finished);
    while (waitpid(guarded, &status, 0) < 0 && errno == EINTR)
        ;
    if (!duty->finish)
        finished = WIFEXITED(status) && WEXITSTATUS(status) == CLI_DONE;
    if (!finished && duty->abandon)
        duty->abandon(duty->baton);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED);
}

static cib_error_t *leave_guard(const cli_t *cli, cli_guard_t *guard)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "make a socket");
    guarded = fork();
    if (guarded < 0)
        return cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "fork");
    if (guarded > 0) {
        close(ends[1]);
        stay_behind(ends[0], &guard->duty);
    }
    close(ends[0]);
    guard->socket = ends[1];
    return CIB_OK;
}

cib_error_t *cli_guard_begin(const cli_t *cli, const cli_duty_t *duty, cli_guard_t **guard)
{
    cli_guard_t *made = apr_pcalloc(cli->pool, sizeof(*made));

    made->duty = *duty;
    made->socket = -1;
    *guard = made;
    return geteuid() == 0 ? leave_guard(cli, made) : CIB_OK;
}

apr_status_t cli_guard_finish(cli_guard_t *guard)
{
    apr_status_t rv = APR_EGENERAL;
    ssize_t got;

    if (guard->socket < 0)
        return guard->duty.finish(guard->duty.baton);
    if (send(guard->socket, "", 1, MSG_NOSIGNAL) != 1)
        return APR_FROM_OS_ERROR(errno);
    do
        got = read(guard->socket, &rv, sizeof(rv));
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(rv) ? rv : APR_EGENERAL;
}

void cli_guard_abandon(cli_guard_t *guard)
{
    if (guard->socket < 0 && guard->duty.abandon)
        guard->duty.abandon(guard->duty.baton);
}

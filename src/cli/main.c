/* ci-builds: the command line of mod_ci_builds. */
#include <stdio.h>
#include <stdlib.h>
#include <apr_general.h>
#include "cli.h"
#include "output.h"
#include "session.h"
#include "util/cib_version.h"

static const char *text_of(const cib_error_t *err, apr_pool_t *pool)
{
    return err->message || err->detail || err->rv ? cib_error_text(err, pool) : NULL;
}

/* Say what is wrong with the command line and where to read more. */
static int complain_usage(const cli_t *cli, const char *noun, const char *text)
{
    const char *verb = cli->command ? cli->command->verb : NULL;

    if (cli->command)
        noun = cli->command->noun;
    if (text)
        cli_complain(text);
    fprintf(stderr, "Try '" CLI_PROGRAM "%s%s%s%s --help'.\n", noun ? " " : "", noun ? noun : "",
            verb ? " " : "", verb ? verb : "");
    return CLI_USAGE;
}

static int complain(const cli_t *cli, const cib_error_t *err)
{
    const char *text = text_of(err, cli->pool);

    if (err->reason == CIB_REASON_INVALID || err->reason == CIB_REASON_MISSING)
        return complain_usage(cli, NULL, text);
    cli_complain(text ? text : "it failed, and nothing says why");
    return CLI_FAILED;
}

static int help(const cli_t *cli, const char *noun)
{
    if (cli->command)
        cli_help_command(cli->command);
    else if (noun)
        cli_help_noun(noun);
    else
        cli_help_program();
    return CLI_DONE;
}

static cib_error_t *obey(cli_t *cli)
{
    const cli_command_t *command = cli->command;

    if (command->prepare)
        CIB_TRY(command->prepare(cli));
    if (!command->own_session) {
        const cib_storage_t *storage;

        CIB_TRY(cli_session_become(cli));
        CIB_TRY(cli_session_storage(cli, &storage));
        CIB_TRY(cli_session_open(cli, storage));
        CIB_TRY(cli_session_check(cli));
    }
    return command->run(cli);
}

static int run(cli_t *cli, int argc, const char *const *argv)
{
    const char *noun = NULL;
    int wants_help = 0;
    int wants_version = 0;
    cib_error_t *err = cli_parse(cli, argc, argv, &noun, &wants_help, &wants_version);

    if (err)
        return complain_usage(cli, noun, text_of(err, cli->pool));
    if (wants_help)
        return help(cli, noun);
    if (wants_version) {
        puts(CLI_PROGRAM " (" CIB_NAME ") " CIB_VERSION);
        return CLI_DONE;
    }
    if (!cli->command)
        return complain_usage(cli, noun, noun ? "which command?" : "no command given");
    err = obey(cli);
    return err ? complain(cli, err) : cli->exit_code;
}

int main(int argc, const char *const *argv, const char *const *env)
{
    cli_t cli = {0};
    int code;
    int unwritten;

    if (apr_app_initialize(&argc, &argv, &env) || apr_pool_create(&cli.pool, NULL)) {
        fputs(CLI_PROGRAM ": the portable runtime does not start\n", stderr);
        return CLI_FAILED;
    }
    code = run(&cli, argc, argv);
    unwritten = cli_output_finish();
    apr_pool_destroy(cli.pool);
    apr_terminate();
    return code ? code : unwritten;
}

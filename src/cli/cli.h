/* The command line. One table (commands.c) says which commands and options there are; main.c reads
 * the command line by it, help.c explains it; the files of a noun hold what the commands do:
 *
 *   prepare   opens and reads the files that the command line names, as the caller
 *   run       works on the instance, as the owner of the storage directory
 *
 * Either ends the program with what it returns: CIB_OK is exit 0 (or cli->exit_code), INVALID and
 * MISSING are 2, all other reasons 1.
 */
#ifndef CIB_CLI_H
#define CIB_CLI_H

#include <apr_hash.h>
#include <apr_tables.h>
#include "core/cib_ctx.h"

#define CLI_PROGRAM "ci-builds"
#define CLI_DEFAULT_STORAGE "/var/lib/ci-builds"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef enum {
    CLI_FLAG,    /* takes no value */
    CLI_TEXT,    /* any text */
    CLI_ID,      /* 1 or more, 64 bits */
    CLI_NUMBER,  /* 1 or more, 31 bits */
    CLI_NATURAL, /* 0 or more, 31 bits */
} cli_kind_e;

#define CLI_REQUIRED 1u
#define CLI_REPEATED 2u

typedef struct cli_option_t {
    const char *name; /* NULL ends a list */
    char letter;      /* 0: none */
    cli_kind_e kind;
    unsigned flags;
    const char *value; /* what the help calls its value */
    const char *help;
} cli_option_t;

typedef struct cli_t cli_t;
typedef cib_error_t *(*cli_fn)(cli_t *cli);

typedef struct cli_command_t {
    const char *noun;
    const char *verb;            /* NULL: the noun is the command */
    const char *operand;         /* "ID" (a number), "NAME", "FILE", or NULL: none */
    const cli_option_t *options; /* NULL: none */
    const char *summary;         /* one line */
    const char *details;         /* what else --help says; NULL: nothing */
    cli_fn prepare;              /* NULL: nothing to prepare */
    cli_fn run;
    int own_session; /* opens the instance itself, if at all */
} cli_command_t;

/* Ended by a command without a noun. */
extern const cli_command_t cli_commands[];
extern const cli_option_t cli_global_options[];

struct cli_t {
    apr_pool_t *pool;
    const cli_command_t *command;
    const char *dir; /* the storage directory, absolute */
    int json;
    apr_hash_t *values;   /* by option name: an array of const char * */
    const char *operand;  /* as it was given */
    apr_int64_t id;       /* the operand where it is an ID */
    const void *prepared; /* what prepare hands to run */
    cib_ctx_t ctx;        /* good in run */
    int exit_code;
};

/* --- options.c: what was given. A name that the command does not have is a bug and aborts. */

/* Read the whole command line into `cli`: command, options, operand. `*help`: help is wanted, of
 * cli->command, else of `*noun`, else of the program. `*version`: that is wanted. */
cib_error_t *cli_parse(cli_t *cli, int argc, const char *const *argv, const char **noun, int *help,
                       int *version);

int cli_given(const cli_t *cli, const char *name);
/* The last one given, NULL where there is none. */
const char *cli_text(const cli_t *cli, const char *name);
/* All of them in order: const char *; empty where there is none. */
const apr_array_header_t *cli_texts(const cli_t *cli, const char *name);
/* The last one given, or `otherwise`. */
apr_int64_t cli_number(const cli_t *cli, const char *name, apr_int64_t otherwise);
/* All of them: apr_int64_t. */
apr_array_header_t *cli_numbers(const cli_t *cli, const char *name);
/* A pair of flags like --locked and --no-locked: 1, 0, or `otherwise`. INVALID: both. */
cib_error_t *cli_switch(const cli_t *cli, const char *name, int *value);

/* --- help.c */
void cli_help_program(void);
void cli_help_noun(const char *noun);
void cli_help_command(const cli_command_t *command);

/* --- the commands, by noun */
cib_error_t *cli_init(cli_t *cli);
cib_error_t *cli_backup_prepare(cli_t *cli);
cib_error_t *cli_backup(cli_t *cli);
cib_error_t *cli_restore_prepare(cli_t *cli);
cib_error_t *cli_restore(cli_t *cli);

/* prepare: --token, where it is given, into cli->prepared (const char *). */
cib_error_t *cli_token_prepare(cli_t *cli);

cib_error_t *cli_project_add(cli_t *cli);
cib_error_t *cli_project_list(cli_t *cli);
cib_error_t *cli_project_show(cli_t *cli);
cib_error_t *cli_project_set(cli_t *cli);
cib_error_t *cli_project_rotate_token(cli_t *cli);
cib_error_t *cli_project_remove(cli_t *cli);

cib_error_t *cli_runner_add(cli_t *cli);
cib_error_t *cli_runner_list(cli_t *cli);
cib_error_t *cli_runner_show(cli_t *cli);
cib_error_t *cli_runner_set(cli_t *cli);
cib_error_t *cli_runner_pause(cli_t *cli);
cib_error_t *cli_runner_resume(cli_t *cli);
cib_error_t *cli_runner_rotate_token(cli_t *cli);
cib_error_t *cli_runner_remove(cli_t *cli);

cib_error_t *cli_build_add_prepare(cli_t *cli);
cib_error_t *cli_build_add(cli_t *cli);
cib_error_t *cli_build_list(cli_t *cli);
cib_error_t *cli_build_show(cli_t *cli);
cib_error_t *cli_build_trace(cli_t *cli);
cib_error_t *cli_build_cancel(cli_t *cli);
cib_error_t *cli_build_retry(cli_t *cli);
cib_error_t *cli_build_erase(cli_t *cli);
cib_error_t *cli_build_artifacts_prepare(cli_t *cli);
cib_error_t *cli_build_artifacts(cli_t *cli);

cib_error_t *cli_registration_token_show(cli_t *cli);
cib_error_t *cli_registration_token_rotate(cli_t *cli);
cib_error_t *cli_gc(cli_t *cli);
cib_error_t *cli_check(cli_t *cli);
cib_error_t *cli_stats(cli_t *cli);

#endif

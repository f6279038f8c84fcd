/* Who stays behind as the caller. As root the program becomes the owner of the storage directory,
 * who may not touch what is the caller's; so another process remains root, does for it the one
 * thing that it was told beforehand, and tidies up when it fails. */
#ifndef CIB_CLI_GUARD_H
#define CIB_CLI_GUARD_H

#include "cli.h"

typedef struct cli_guard_t cli_guard_t;

/* What the guard does: `finish` when asked to, once; `abandon` when the program ends without having
 * finished (or where finishing is nothing to be asked for, fails). Either may be NULL. */
typedef struct cli_duty_t {
    apr_status_t (*finish)(void *baton);
    void (*abandon)(void *baton);
    void *baton;
} cli_duty_t;

/* As root: fork. Only the child returns; the guard ends with the child's exit code. As anybody else
 * there is nobody: then the duties are done here. Before anything was printed. */
cib_error_t *cli_guard_begin(const cli_t *cli, const cli_duty_t *duty, cli_guard_t **guard);

apr_status_t cli_guard_finish(cli_guard_t *guard);
/* Only for who has no guard: it sees for itself that the program failed. */
void cli_guard_abandon(cli_guard_t *guard);

#endif

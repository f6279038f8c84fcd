/* Making a storage directory: whose it is to be, where its database is, and what httpd is to be
 * told of it. */
#ifndef CIB_CLI_MAKING_H
#define CIB_CLI_MAKING_H

#include <apr_user.h>
#include "cli.h"

/* What the options --driver, --params and --user say. */
typedef struct cli_wish_t {
    const char *driver; /* NULL: not said */
    const char *params; /* NULL: not said */
    const char *path;   /* the same as a file's full name */
    const char *user;
    apr_uid_t uid;
    apr_gid_t gid;
    int user_said;
} cli_wish_t;
cib_error_t *cli_wish_read(const cli_t *cli, cli_wish_t *wish);
/* The parameters as they are for `driver`; NULL: not said. */
const char *cli_wish_params(const cli_wish_t *wish, const char *driver);

/* Make cli->dir where it is not, as root or as who is to own it; as root, give it to its user:
 * CONFLICT where it is neither empty nor the user's already. */
cib_error_t *cli_make_dir(const cli_t *cli, const cli_wish_t *wish);

/* Is nothing in that directory (but what mkfs puts into every filesystem)? */
int cli_is_empty(const char *path, apr_pool_t *pool);

/* Open the session of cli->dir, and a connection to see that there is a database. `*reached`: there
 * is. */
cib_error_t *cli_reach(cli_t *cli, const cib_storage_t *storage, int *reached);

/* The lines for httpd's configuration. */
void cli_print_snippet(const cli_t *cli, const cib_storage_t *storage);

#endif

/* Who the program is while it works, and the instance it works on. */
#ifndef CIB_CLI_SESSION_H
#define CIB_CLI_SESSION_H

#include "cli.h"

/* As root: become the owner of cli->dir for good (group, further groups, user, environment). As
 * anybody else nothing. What is made from now on is not for others. */
cib_error_t *cli_session_become(cli_t *cli);

/* Read the storage directory's description; NO_RECORD where it is none. */
cib_error_t *cli_session_storage(cli_t *cli, const cib_storage_t **storage);

/* The error for a storage directory that we may not enter. */
cib_error_t *cli_session_closed(cli_t *cli);

/* Open the rest: generations, store, connection. cli->ctx is whole afterwards. */
cib_error_t *cli_session_open(cli_t *cli, const cib_storage_t *storage);

/* The database is this directory's, and of the version that the program was made for. Else
 * CONFLICT. */
cib_error_t *cli_session_check(cli_t *cli);

#endif

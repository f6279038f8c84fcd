/* What the command line names and brings in. To be used in a command's prepare, where the program
 * still is its caller. */
#ifndef CIB_CLI_INPUT_H
#define CIB_CLI_INPUT_H

#include "cli.h"

/* The whole of a file ("-": standard input) as a text. INVALID: it holds NUL or is over 16 MiB;
 * NO_RECORD: it cannot be read. */
cib_error_t *cli_read_file(const cli_t *cli, const char *path, const char **text);

/* A copy without the one line end at its end, if there is one. */
const char *cli_without_line_end(const char *text, apr_pool_t *pool);

/* Cut "K=V" in two. INVALID ("--<option> ...") without a key. */
cib_error_t *cli_cut_pair(const cli_t *cli, const char *option, const char *pair, const char **key,
                          const char **value);

#endif

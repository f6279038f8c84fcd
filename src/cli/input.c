/* Reading files and pairs. */
#include <string.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include "input.h"

#define LARGEST_FILE 16777216

static apr_status_t open_file(apr_file_t **file, const char *path, apr_pool_t *pool)
{
    if (!strcmp(path, "-"))
        return apr_file_open_stdin(file, pool);
    return apr_file_open(file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, pool);
}

/* All there is, into a buffer that doubles; `*len` over LARGEST_FILE: not all was read. */
static apr_status_t read_all(apr_file_t *file, char **bytes, apr_size_t *len, apr_pool_t *pool)
{
    apr_size_t room = 65536;
    char *buffer = apr_palloc(pool, room + 1);
    apr_status_t rv;

    *len = 0;
    for (;;) {
        apr_size_t got;

        rv = apr_file_read_full(file, buffer + *len, room - *len, &got);
        *len += got;
        if (rv || *len > LARGEST_FILE)
            break;
        buffer = memcpy(apr_palloc(pool, room * 2 + 1), buffer, *len);
        room *= 2;
    }
    buffer[*len] = '\0';
    *bytes = buffer;
    return APR_STATUS_IS_EOF(rv) ? APR_SUCCESS : rv;
}

cib_error_t *cli_read_file(const cli_t *cli, const char *path, const char **text)
{
    apr_file_t *file;
    char *bytes;
    apr_size_t len;
    apr_status_t rv = open_file(&file, path, cli->pool);

    if (rv)
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, rv, "open %s", path);
    rv = read_all(file, &bytes, &len, cli->pool);
    if (rv)
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, rv, "read %s", path);
    if (len > LARGEST_FILE)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is larger than 16 MiB",
                         path);
    if (memchr(bytes, '\0', len))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s holds a NUL byte", path);
    *text = bytes;
    return CIB_OK;
}

const char *cli_without_line_end(const char *text, apr_pool_t *pool)
{
    apr_size_t len = strlen(text);

    if (len && text[len - 1] == '\n')
        len--;
    if (len < strlen(text) && len && text[len - 1] == '\r')
        len--;
    return apr_pstrmemdup(pool, text, len);
}

cib_error_t *cli_cut_pair(const cli_t *cli, const char *option, const char *pair, const char **key,
                          const char **value)
{
    const char *equals = strchr(pair, '=');

    /* not the text itself: without its "=" it may be a secret */
    if (!equals || equals == pair)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "--%s is to be KEY=VALUE",
                         option);
    *key = apr_pstrmemdup(cli->pool, pair, (apr_size_t)(equals - pair));
    *value = equals + 1;
    return CIB_OK;
}

cib_error_t *cli_token_prepare(cli_t *cli)
{
    const char *token = cli_text(cli, "token");

    if (token && !strcmp(token, "-")) {
        CIB_TRY(cli_read_file(cli, token, &token));
        token = cli_without_line_end(token, cli->pool);
    }
    cli->prepared = token;
    return CIB_OK;
}

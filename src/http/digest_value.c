/* What a client announces of its bytes (RFC 9530). */
#include <string.h>

#include <apr_encode.h>
#include <apr_strings.h>

#include "http/cib_parser.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

#define ALGORITHM "sha-256="

/* ":<base64>:" and nothing after it but parameters. */
static int decode(const char *value, const char **sha256, apr_pool_t *pool)
{
    const char *end = *value == ':' ? strchr(value + 1, ':') : NULL;
    const unsigned char *digest;
    apr_size_t len = 0;

    if (!end || (end[1] && end[1] != ';'))
        return 0;
    digest = apr_pdecode_base64_binary(pool, value + 1, end - value - 1, APR_ENCODE_NONE, &len);
    if (!digest || len != CIB_SHA256_LEN)
        return 0;
    *sha256 = cib_hex(digest, len, pool);
    return 1;
}

int cib_digest_sha256(const char *header, const char **sha256, apr_pool_t *pool)
{
    char *state = NULL;
    char *member = header ? apr_strtok(apr_pstrdup(pool, header), ",", &state) : NULL;

    for (; member; member = apr_strtok(NULL, ",", &state)) {
        const char *found = NULL;

        apr_collapse_spaces(member, member);
        if (strncasecmp(member, ALGORITHM, sizeof ALGORITHM - 1))
            continue;
        if (!decode(member + sizeof ALGORITHM - 1, &found, pool) ||
            (*sha256 && strcmp(*sha256, found)))
            return 0;
        *sha256 = found;
    }
    return 1;
}

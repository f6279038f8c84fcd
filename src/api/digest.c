/* What a client announces of its bytes: Repr-Digest and Content-Digest (RFC 9530). */
#include <string.h>
#include <apr_encode.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "internal.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

#define ALGORITHM "sha-256="

static cib_error_t *malformed(const cib_call_t *call, const char *header)
{
    return cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is invalid", header);
}

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

/* Every SHA-256 that one header names; other algorithms are nothing to us. */
static cib_error_t *look_into(const cib_call_t *call, const char *header, const char **sha256)
{
    apr_pool_t *pool = call->r->pool;
    const char *value = apr_table_get(call->r->headers_in, header);
    char *state = NULL;
    char *member = value ? apr_strtok(apr_pstrdup(pool, value), ",", &state) : NULL;

    for (; member; member = apr_strtok(NULL, ",", &state)) {
        const char *found = NULL;

        apr_collapse_spaces(member, member);
        if (strncasecmp(member, ALGORITHM, sizeof ALGORITHM - 1))
            continue;
        if (!decode(member + sizeof ALGORITHM - 1, &found, pool) ||
            (*sha256 && strcmp(*sha256, found)))
            return malformed(call, header);
        *sha256 = found;
    }
    return CIB_OK;
}

cib_error_t *cib_call_digest(const cib_call_t *call, const char **sha256)
{
    *sha256 = NULL;
    CIB_TRY(look_into(call, "Repr-Digest", sha256));
    return look_into(call, "Content-Digest", sha256);
}

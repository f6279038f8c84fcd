/* What a client announces of its bytes: Repr-Digest and Content-Digest (RFC 9530). */
#include "http/cib_parser.h"
#include "internal.h"

static cib_error_t *look_into(const cib_call_t *call, const char *header, const char **sha256)
{
    apr_pool_t *pool = call->r->pool;

    if (cib_digest_sha256(apr_table_get(call->r->headers_in, header), sha256, pool))
        return CIB_OK;
    return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is invalid", header);
}

cib_error_t *cib_call_digest(const cib_call_t *call, const char **sha256)
{
    *sha256 = NULL;
    CIB_TRY(look_into(call, "Repr-Digest", sha256));
    return look_into(call, "Content-Digest", sha256);
}

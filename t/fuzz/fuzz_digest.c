/* Repr-Digest and Content-Digest: what is named is named again by its own hex, and contradicted by
 * any other. The first line is what is known already, if it is the hex of a digest. */
#include <string.h>

#include <apr_encode.h>
#include <apr_strings.h>

#include "fuzz.h"
#include "http/cib_parser.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

/* A header that names it. */
static const char *name_again(const char *sha256, apr_pool_t *pool)
{
    apr_size_t len = 0;
    const void *bytes = apr_pdecode_base16_binary(pool, sha256, CIB_SHA256_HEX, 0, &len);

    return apr_pstrcat(
        pool, "sha-256=:",
        apr_pencode_base64_binary(pool, bytes, (apr_ssize_t)len, APR_ENCODE_NONE, NULL), ":", NULL);
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    static const char other[] =
        "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"; /* thirty-two zeros */
    const char *known = fuzz_line(&data, &len, pool), *text = fuzz_text(data, len, pool);
    const char *found, *again;
    int good;

    known = cib_is_hex(known, CIB_SHA256_HEX) ? known : NULL;
    found = known;
    good = cib_digest_sha256(text, &found, pool);
    holds(!known || found == known || !strcmp(found, known), "what is known stays");
    if (!good || !found)
        return;
    holds(cib_is_hex(found, CIB_SHA256_HEX), "a digest is hex");
    again = NULL;
    holds(cib_digest_sha256(name_again(found, pool), &again, pool) && !strcasecmp(again, found),
          "said again it is the same");
    again = found;
    holds(cib_digest_sha256(apr_pstrcat(pool, text, ", md5=:AA==:;a=1,", NULL), &again, pool),
          "other algorithms are nothing");
    again = found;
    holds(cib_digest_sha256(apr_pstrcat(pool, text, ",", other, NULL), &again, pool) ==
              (strspn(found, "0") == CIB_SHA256_HEX),
          "two digests are one too many");
}

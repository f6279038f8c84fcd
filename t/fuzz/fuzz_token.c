/* Tokens: two lines, the second held against the first. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_token.h"
#include "fuzz.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

static void check_importable(const char *token, apr_pool_t *pool)
{
    apr_size_t len = strlen(token);
    int good = len >= CIB_TOKEN_MIN && len <= 255;
    cib_error_t *err = cib_token_importable(token, pool);

    for (const char *at = token; *at; at++)
        good &= *at > ' ' && *at < 0x7f;
    holds((err == NULL) == good, "%lu bytes are fit to be a token", (unsigned long)len);
    holds(good || err->reason == CIB_REASON_INVALID, "or refused as the client's mistake");
    holds(good || !len || len < CIB_TOKEN_MIN || !strstr(err->message, token),
          "which does not tell the token");
}

/* What is sealed opens, here and nowhere else; what was not does not. */
static void check_seal(const char *plain, const char *other, apr_pool_t *pool)
{
    static const unsigned char key[32] = "a key of thirty-two bytes, no le";
    const char *sealed = NULL, *opened = NULL;

    holds(cib_open(key, "place", plain, &opened, pool) == APR_EINVAL && !opened,
          "what nobody sealed does not open");
    holds(cib_seal(key, "place", plain, &sealed, pool) == APR_SUCCESS, "anything can be sealed");
    holds(cib_open(key, "place", sealed, &opened, pool) == APR_SUCCESS && !strcmp(opened, plain),
          "and opens");
    opened = NULL;
    holds(cib_open(key, other, sealed, &opened, pool) ==
              (strcmp(other, "place") ? APR_EINVAL : APR_SUCCESS),
          "in its place only");
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *first = fuzz_line(&data, &len, pool);
    const char *second = fuzz_text(data, len, pool);
    const char *hash = cib_token_hash(first, pool);

    check_importable(first, pool);
    check_importable(second, pool);
    holds(cib_secret_equal(first, second) == !strcmp(first, second), "equal is what is equal");
    holds(cib_secret_equal(first, apr_pstrdup(pool, first)), "to a copy of itself too");
    holds(!cib_secret_equal(first, NULL) && !cib_secret_equal(NULL, second), "to nothing never");
    holds(cib_is_hex(hash, CIB_SHA256_HEX), "a hash is hex");
    holds(strcmp(hash, cib_token_hash(second, pool)) != 0 || !strcmp(first, second),
          "and tells them apart");
    holds((cib_token_runner_kind(first) == CIB_TOKEN_CREATED) == (strstr(first, "glrt-") == first),
          "a kind is told by its beginning");
    check_seal(first, second, pool);
}

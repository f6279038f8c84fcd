/* Tokens and what must be readable again. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_token.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

#define TOKEN_BYTES 20 /* 160 bits */
#define TOKEN_LONGEST 255

/* Known to the runners, so it may not be another. */
#define CREATED_PREFIX "glrt-"

cib_runner_token_e cib_token_runner_kind(const char *token)
{
    return strncmp(token, CREATED_PREFIX, strlen(CREATED_PREFIX)) ? CIB_TOKEN_REGISTERED
                                                                  : CIB_TOKEN_CREATED;
}

cib_error_t *cib_token_runner(cib_runner_token_e kind, const char **token, apr_pool_t *pool)
{
    unsigned char bytes[TOKEN_BYTES];
    apr_status_t rv = cib_random(bytes, sizeof(bytes));

    *token = NULL;
    if (rv != APR_SUCCESS)
        return cib_error(pool, CIB_REASON_INTERNAL, rv, NULL);
    *token = apr_pstrcat(pool, kind == CIB_TOKEN_CREATED ? CREATED_PREFIX : "",
                         cib_hex(bytes, sizeof(bytes), pool), NULL);
    return CIB_OK;
}

/* NULL, which equals no token, where libcrypto fails. */
static const char *derive(const cib_storage_t *storage, const char *what, apr_pool_t *pool)
{
    unsigned char mac[CIB_SHA256_LEN];

    if (cib_hmac_sha256(storage->secret, sizeof(storage->secret), what, mac) != APR_SUCCESS)
        return NULL;
    return cib_hex(mac, TOKEN_BYTES, pool);
}

const char *cib_token_registration(const cib_storage_t *storage, int rotation, apr_pool_t *pool)
{
    return derive(storage, apr_psprintf(pool, "registration:%d", rotation), pool);
}

const char *cib_token_build(const cib_storage_t *storage, apr_int64_t id, apr_int64_t claim,
                            apr_pool_t *pool)
{
    const char *what =
        apr_psprintf(pool, "build:%" APR_INT64_T_FMT ":%" APR_INT64_T_FMT, id, claim);

    return derive(storage, what, pool);
}

static const char *project_place(apr_int64_t id, apr_pool_t *pool)
{
    return apr_psprintf(pool, "project:%" APR_INT64_T_FMT, id);
}

cib_error_t *cib_token_project(const cib_storage_t *storage, const cib_project_t *project,
                               const char **token, apr_pool_t *pool)
{
    const char *place = project_place(project->id, pool);

    if (project->token_sealed)
        return cib_secret_open(storage, place, project->token_sealed, token, pool);
    *token = derive(storage, apr_psprintf(pool, "%s:%d", place, project->rotation), pool);
    return *token ? CIB_OK : cib_error(pool, CIB_REASON_INTERNAL, APR_EGENERAL, NULL);
}

const char *cib_token_hash(const char *token, apr_pool_t *pool)
{
    return cib_sha256_hex(token, strlen(token), pool);
}

/* What seals is not what derives tokens. */
static apr_status_t sealing_key(const cib_storage_t *storage, unsigned char *key)
{
    return cib_hmac_sha256(storage->secret, sizeof(storage->secret), "seal", key);
}

cib_error_t *cib_secret_seal(const cib_storage_t *storage, const char *place, const char *plain,
                             const char **sealed, apr_pool_t *pool)
{
    unsigned char key[CIB_SHA256_LEN];
    apr_status_t rv = sealing_key(storage, key);

    *sealed = NULL;
    if (rv == APR_SUCCESS)
        rv = cib_seal(key, place, plain, sealed, pool);
    explicit_bzero(key, sizeof(key));
    if (rv != APR_SUCCESS)
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_INTERNAL, rv, NULL),
                                "cannot seal %s", place);
    return CIB_OK;
}

cib_error_t *cib_secret_open(const cib_storage_t *storage, const char *place, const char *sealed,
                             const char **plain, apr_pool_t *pool)
{
    unsigned char key[CIB_SHA256_LEN];
    apr_status_t rv = sealing_key(storage, key);

    *plain = NULL;
    if (rv == APR_SUCCESS)
        rv = cib_open(key, place, sealed, plain, pool);
    explicit_bzero(key, sizeof(key));
    if (rv != APR_SUCCESS)
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_INTERNAL, rv, NULL),
                                "what is sealed as %s does not open: was the secret in the storage "
                                "directory's config changed?",
                                place);
    return CIB_OK;
}

cib_error_t *cib_token_importable(const char *token, apr_pool_t *pool)
{
    apr_size_t len = strlen(token);

    if (len < CIB_TOKEN_MIN)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "a token must have at least %d characters", CIB_TOKEN_MIN);
    if (len > TOKEN_LONGEST)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "a token must have at most %d characters", TOKEN_LONGEST);
    for (; *token; token++) {
        if (*token <= 0x20 || *token > 0x7e)
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                             "a token must be of printable ASCII characters without blanks");
    }
    return CIB_OK;
}

#include "util/cib_crypto.h"

#include <limits.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "util/cib_text.h"

#define SEAL_KEY_LEN 32
#define SEAL_NONCE_LEN 12
#define SEAL_TAG_LEN 16

apr_status_t cib_random(void *bytes, apr_size_t len)
{
    unsigned char *at = bytes;

    while (len) {
        int turn = len > INT_MAX ? INT_MAX : (int)len;

        if (RAND_bytes(at, turn) != 1)
            return APR_EGENERAL;
        at += turn;
        len -= (apr_size_t)turn;
    }
    return APR_SUCCESS;
}

apr_status_t cib_sha256(const void *data, apr_size_t len, unsigned char *digest)
{
    return EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) == 1 ? APR_SUCCESS
                                                                        : APR_EGENERAL;
}

const char *cib_sha256_hex(const void *data, apr_size_t len, apr_pool_t *pool)
{
    unsigned char digest[CIB_SHA256_LEN];

    if (cib_sha256(data, len, digest) != APR_SUCCESS)
        return NULL;
    return cib_hex(digest, sizeof(digest), pool);
}

apr_status_t cib_hmac_sha256(const void *key, apr_size_t key_len, const char *text,
                             unsigned char *mac)
{
    if (key_len > INT_MAX)
        return APR_EINVAL;
    if (!HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), mac,
              NULL))
        return APR_EGENERAL;
    return APR_SUCCESS;
}

/* In every function below: 1 is success, as libcrypto has it. */
static int gcm_seal(EVP_CIPHER_CTX *ctx, const unsigned char *key, const char *context,
                    const char *plain, int len, unsigned char *nonce)
{
    unsigned char *cipher = nonce + SEAL_NONCE_LEN;
    int done = 0, rest = 0;

    return RAND_bytes(nonce, SEAL_NONCE_LEN) == 1 &&
           EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, nonce, NULL) == 1 &&
           EVP_EncryptUpdate(ctx, NULL, &done, (const unsigned char *)context,
                             (int)strlen(context)) == 1 &&
           EVP_EncryptUpdate(ctx, cipher, &done, (const unsigned char *)plain, len) == 1 &&
           EVP_EncryptFinal_ex(ctx, cipher + done, &rest) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SEAL_TAG_LEN, cipher + len) == 1;
}

static int gcm_open(EVP_CIPHER_CTX *ctx, const unsigned char *key, const char *context,
                    unsigned char *sealed, int len, unsigned char *plain)
{
    unsigned char *cipher = sealed + SEAL_NONCE_LEN;
    int done = 0, rest = 0;

    return EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), key, sealed, NULL) == 1 &&
           EVP_DecryptUpdate(ctx, NULL, &done, (const unsigned char *)context,
                             (int)strlen(context)) == 1 &&
           EVP_DecryptUpdate(ctx, plain, &done, cipher, len) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SEAL_TAG_LEN, cipher + len) == 1 &&
           EVP_DecryptFinal_ex(ctx, plain + done, &rest) == 1;
}

apr_status_t cib_seal(const unsigned char *key, const char *context, const char *plain,
                      const char **sealed, apr_pool_t *pool)
{
    apr_size_t len = strlen(plain);
    apr_size_t box_len = SEAL_NONCE_LEN + len + SEAL_TAG_LEN;
    unsigned char *box;
    EVP_CIPHER_CTX *ctx;
    char *text;
    int sealed_ok;

    /* base64 must still count in an int */
    if (len > INT_MAX / 2 || strlen(context) > INT_MAX)
        return APR_EINVAL;
    ctx = EVP_CIPHER_CTX_new();
    if (!ctx)
        return APR_ENOMEM;
    box = apr_palloc(pool, box_len);
    sealed_ok = gcm_seal(ctx, key, context, plain, (int)len, box);
    EVP_CIPHER_CTX_free(ctx);
    if (!sealed_ok)
        return APR_EGENERAL;
    text = apr_palloc(pool, 4 * ((box_len + 2) / 3) + 1);
    EVP_EncodeBlock((unsigned char *)text, box, (int)box_len);
    *sealed = text;
    return APR_SUCCESS;
}

/* The bytes behind strict base64: no blanks, whole groups, padding at the end only. Their number,
 * or -1. */
static int decode_base64(const char *text, unsigned char **bytes, apr_pool_t *pool)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    apr_size_t used = strspn(text, digits);
    apr_size_t padding = strspn(text + used, "=");
    apr_size_t len = used + padding;

    if (text[len] || padding > 2 || len % 4 || !len || len > INT_MAX)
        return -1;
    *bytes = apr_palloc(pool, len / 4 * 3);
    if (EVP_DecodeBlock(*bytes, (const unsigned char *)text, (int)len) < 0)
        return -1;
    return (int)(len / 4 * 3 - padding);
}

apr_status_t cib_open(const unsigned char *key, const char *context, const char *sealed,
                      const char **plain, apr_pool_t *pool)
{
    unsigned char *box = NULL, *text;
    EVP_CIPHER_CTX *ctx;
    int opened, len = decode_base64(sealed, &box, pool) - SEAL_NONCE_LEN - SEAL_TAG_LEN;

    if (len < 0 || !box || strlen(context) > INT_MAX)
        return APR_EINVAL;
    ctx = EVP_CIPHER_CTX_new();
    if (!ctx)
        return APR_ENOMEM;
    text = apr_palloc(pool, (apr_size_t)len + 1);
    opened = gcm_open(ctx, key, context, box, len, text);
    EVP_CIPHER_CTX_free(ctx);
    if (!opened) {
        /* what was decrypted before the tag proved wrong is nobody's business */
        OPENSSL_cleanse(text, (apr_size_t)len);
        return APR_EINVAL;
    }
    text[len] = '\0';
    *plain = (const char *)text;
    return APR_SUCCESS;
}

int cib_secret_equal(const char *expected, const char *given)
{
    apr_size_t len, expected_len;

    if (!expected || !given)
        return 0;
    len = strlen(given);
    expected_len = strlen(expected);
    /* of another length: compare all the same, with itself, so that only the lengths show */
    return (CRYPTO_memcmp(len == expected_len ? expected : given, given, len) == 0) &
           (len == expected_len);
}

struct cib_sha256_t {
    EVP_MD_CTX *ctx;
    apr_pool_t *pool;
};

static apr_status_t sha256_cleanup(void *data)
{
    cib_sha256_t *sha = data;

    EVP_MD_CTX_free(sha->ctx);
    sha->ctx = NULL;
    return APR_SUCCESS;
}

apr_status_t cib_sha256_begin(cib_sha256_t **sha, apr_pool_t *pool)
{
    cib_sha256_t *made = apr_pcalloc(pool, sizeof(*made));

    made->pool = pool;
    made->ctx = EVP_MD_CTX_new();
    if (!made->ctx)
        return APR_ENOMEM;
    apr_pool_cleanup_register(pool, made, sha256_cleanup, apr_pool_cleanup_null);
    if (EVP_DigestInit_ex2(made->ctx, EVP_sha256(), NULL) != 1)
        return APR_EGENERAL;
    *sha = made;
    return APR_SUCCESS;
}

apr_status_t cib_sha256_update(cib_sha256_t *sha, const void *data, apr_size_t len)
{
    if (!sha->ctx)
        return APR_EINVAL;
    return EVP_DigestUpdate(sha->ctx, data, len) == 1 ? APR_SUCCESS : APR_EGENERAL;
}

apr_status_t cib_sha256_end(cib_sha256_t *sha, unsigned char *digest)
{
    apr_status_t rv;

    if (!sha->ctx)
        return APR_EINVAL;
    rv = EVP_DigestFinal_ex(sha->ctx, digest, NULL) == 1 ? APR_SUCCESS : APR_EGENERAL;
    apr_pool_cleanup_run(sha->pool, sha, sha256_cleanup);
    return rv;
}

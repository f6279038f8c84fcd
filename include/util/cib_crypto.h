/* libcrypto, as this project uses it. */
#ifndef CIB_CRYPTO_H
#define CIB_CRYPTO_H

#include <apr_pools.h>

#define CIB_SHA256_LEN 32
#define CIB_SHA256_HEX 64

/* Fill `len` bytes with cryptographic random. APR_EGENERAL where the system has none. */
apr_status_t cib_random(void *bytes, apr_size_t len);

/* SHA-256 of `len` bytes; `digest` takes CIB_SHA256_LEN of them. APR_EGENERAL: it cannot be had. */
apr_status_t cib_sha256(const void *data, apr_size_t len, unsigned char *digest);

/* The same in lower case hex, in `pool`. NULL where it cannot be had. */
const char *cib_sha256_hex(const void *data, apr_size_t len, apr_pool_t *pool);

/* HMAC-SHA256 of `text` under `key`; `mac` takes CIB_SHA256_LEN bytes. */
apr_status_t cib_hmac_sha256(const void *key, apr_size_t key_len, const char *text,
                             unsigned char *mac);

/* AES-256-GCM under a 32-byte key with a fresh nonce; the sealed text is printable (base64 of
 * nonce, ciphertext and tag) and lives in `pool`, and so does what is opened again. `context` is
 * authenticated with it: what was sealed for one place does not open in another. cib_open gives
 * APR_EINVAL where the text was not sealed so. */
apr_status_t cib_seal(const unsigned char *key, const char *context, const char *plain,
                      const char **sealed, apr_pool_t *pool);
apr_status_t cib_open(const unsigned char *key, const char *context, const char *sealed,
                      const char **plain, apr_pool_t *pool);

/* Are two strings equal? In time that depends on their lengths only. NULL equals nothing. */
int cib_secret_equal(const char *expected, const char *given);

/* A running SHA-256. Freed with `pool`. */
typedef struct cib_sha256_t cib_sha256_t;
apr_status_t cib_sha256_begin(cib_sha256_t **sha, apr_pool_t *pool);
apr_status_t cib_sha256_update(cib_sha256_t *sha, const void *data, apr_size_t len);
/* `digest` takes CIB_SHA256_LEN bytes; the object cannot be used again. */
apr_status_t cib_sha256_end(cib_sha256_t *sha, unsigned char *digest);

#endif

/* Tokens. Ours have 160 bits, 40 hex digits.
 *
 * runner        random; only its SHA-256 is stored. With "glrt-" before it where the administrator
 *               made it: runners 16 and later tell by that what `register --token` was given
 * registration  derived: HMAC-SHA256(secret, "registration:<rotation>")
 * project       derived: HMAC-SHA256(secret, "project:<id>:<rotation>"), its SHA-256 stored for
 *               look-ups; or imported, then also kept sealed (AES-256-GCM)
 * build         derived: HMAC-SHA256(secret, "build:<id>:<claim>"), not stored at all
 *
 * Results live in `pool`. No token is ever logged.
 */
#ifndef CIB_TOKEN_H
#define CIB_TOKEN_H

#include "core/cib_ctx.h"

/* The shortest token that may be imported. */
#define CIB_TOKEN_MIN 16

/* How a runner came by its token. */
typedef enum { CIB_TOKEN_REGISTERED, CIB_TOKEN_CREATED } cib_runner_token_e;
cib_error_t *cib_token_runner(cib_runner_token_e kind, const char **token, apr_pool_t *pool);
/* Of which kind is this one? */
cib_runner_token_e cib_token_runner_kind(const char *token);
const char *cib_token_registration(const cib_storage_t *storage, int rotation, apr_pool_t *pool);
const char *cib_token_build(const cib_storage_t *storage, apr_int64_t id, apr_int64_t claim,
                            apr_pool_t *pool);
/* The project's token, derived or opened. INTERNAL: a sealed one that does not open. */
cib_error_t *cib_token_project(const cib_storage_t *storage, const cib_project_t *project,
                               const char **token, apr_pool_t *pool);
/* What look-ups are by. */
const char *cib_token_hash(const char *token, apr_pool_t *pool);

/* Seal and open what must be readable again, for one place ("project:7", "variable:12:KEY"). */
cib_error_t *cib_secret_seal(const cib_storage_t *storage, const char *place, const char *plain,
                             const char **sealed, apr_pool_t *pool);
cib_error_t *cib_secret_open(const cib_storage_t *storage, const char *place, const char *sealed,
                             const char **plain, apr_pool_t *pool);

/* Is a token fit to be imported (16 to 255 printable characters without blanks)? */
cib_error_t *cib_token_importable(const char *token, apr_pool_t *pool);

#endif

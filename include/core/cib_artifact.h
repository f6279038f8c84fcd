/* Artifacts: taken whole or not at all, durable before they are acknowledged. */
#ifndef CIB_ARTIFACT_H
#define CIB_ARTIFACT_H

#include "core/cib_build.h"
#include "util/cib_sink.h"

/* May this build be given artifacts now, of `size` bytes (-1: unknown)? In order: NOT_ALLOWED
 * (switched off), FORBIDDEN ("Build is not running!" or, for authorize, "build is not running";
 * erased is said by cib_build_authenticate), TOO_LARGE, NO_SPACE. */
cib_error_t *cib_artifact_allowed(const cib_ctx_t *ctx, const cib_build_t *build, int authorize,
                                  apr_int64_t size);

/* One upload: a request may bring an archive and its metadata; both become visible in one
 * transaction.
 *
 *   cib_upload_begin; for each file: cib_upload_file, its sink's writes, cib_upload_file_end;
 *   cib_upload_commit
 *
 * Without commit nothing is left. No database connection is held but inside begin... commit's
 * sections. */
typedef struct cib_upload_t cib_upload_t;

cib_error_t *cib_upload_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                              cib_upload_t **upload);
/* A file of `type` ("archive", "metadata") begins. The same type twice: INVALID. */
cib_error_t *cib_upload_file(cib_upload_t *upload, const char *type, const char *format,
                             const char *filename, const cib_sink_t **sink);
cib_error_t *cib_upload_file_end(cib_upload_t *upload);
/* `sha256` (hex, or NULL) is what the client announced for the archive: another is INVALID.
 * `expire_at` 0: never. The build must still be running this claim: FORBIDDEN otherwise. Replaced
 * files disappear after the commit. INVALID ("Missing artifacts file!" as MISSING) without an
 * archive. */
cib_error_t *cib_upload_commit(cib_upload_t *upload, const char *sha256, apr_time_t expire_at);

/* What `expire_in` (NULL or empty: not given) means now: 0 is never. INVALID: nonsense. */
cib_error_t *cib_artifact_expiry(const cib_ctx_t *ctx, const char *expire_in,
                                 apr_time_t *expire_at);

/* The archive (or another type), open for reading. NOTHING: none, or expired. INTERNAL: the row is
 * there and the file is not, or has another size. */
cib_error_t *cib_artifact_open(const cib_ctx_t *ctx, apr_int64_t build_id, const char *type,
                               cib_artifact_t **artifact, apr_file_t **file);
/* Only the row: NULL where there is none or it expired. */
cib_error_t *cib_artifact_get(const cib_ctx_t *ctx, apr_int64_t build_id, const char *type,
                              cib_artifact_t **artifact);
/* All of a build's; none is fine. `freed` (or NULL) takes the bytes. */
cib_error_t *cib_artifact_delete(const cib_ctx_t *ctx, apr_int64_t build_id, apr_int64_t *freed);

#endif

/* Artifacts: taken whole or not at all, durable before they are acknowledged. A build has one of
 * each type. Each expires at its own time, its metadata with the archive; erased, removed and
 * deleted they are together. */
#ifndef CIB_ARTIFACT_H
#define CIB_ARTIFACT_H

#include "core/cib_build.h"
#include "util/cib_sink.h"

/* May this build be given artifacts now, of `size` bytes (-1: unknown)? In order: NOT_ALLOWED
 * (switched off), NOT_RUNNING ("Build is not running!"), TOO_LARGE, NO_SPACE. */
cib_error_t *cib_artifact_allowed(const cib_ctx_t *ctx, const cib_build_t *build, apr_int64_t size);

/* The types that there are: what GitLab 14 knows and later ones added. NULL: none of them. */
typedef struct cib_artifact_type_t {
    const char *name;     /* "archive", "metadata", "junit" ... */
    const char *format;   /* that runners are asked for: "zip", "gzip", "raw" */
    const char *filename; /* of a report that names none */
} cib_artifact_type_t;
const cib_artifact_type_t *cib_artifact_type(const char *name);
int cib_artifact_is_format(const char *format);
/* The names of those that a build can report (they have a file name), by commas. */
const char *cib_artifact_reports(apr_pool_t *pool);

/* One upload: a file, an archive with its metadata perhaps; both become visible in one transaction.
 *
 *   cib_upload_begin; for each file: cib_upload_file, its sink's writes, cib_upload_file_end;
 *   cib_upload_commit
 *
 * Without commit nothing is left. No database connection is held but inside begin... commit's
 * sections. */
typedef struct cib_upload_t cib_upload_t;

cib_error_t *cib_upload_begin(const cib_ctx_t *ctx, const cib_build_t *build,
                              cib_upload_t **upload);
/* A file of `type` (see cib_artifact_type) begins. INVALID: no type, no format, a second file
 * beside metadata. */
cib_error_t *cib_upload_file(cib_upload_t *upload, const char *type, const char *format,
                             const char *filename, const cib_sink_t **sink);
cib_error_t *cib_upload_file_end(cib_upload_t *upload);
/* `sha256` (hex, or NULL) is what the client announced for the archive: another is INVALID.
 * `expire_at` 0: never. The build must still be running this claim: NOT_RUNNING otherwise. MISSING
 * ("Missing artifacts file!") without a file that is not metadata.
 *
 * Of a type that is there already: with `replace` the new file takes its place, and the old one
 * disappears after the commit. Without, one that an earlier claim left is replaced all the same; of
 * this claim, the same bytes change nothing, and others are DUPLICATE. The metadata is that of the
 * archive it came with, and beside any other file of none: it goes where that goes. */
cib_error_t *cib_upload_commit(cib_upload_t *upload, const char *sha256, apr_time_t expire_at,
                               int replace);

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
/* All that can be had of a build: cib_artifact_t *, by type. */
cib_error_t *cib_artifact_list(const cib_ctx_t *ctx, apr_int64_t build_id,
                               apr_array_header_t **artifacts);
/* All of a build's; none is fine. `freed` (or NULL) takes the bytes. */
cib_error_t *cib_artifact_delete(const cib_ctx_t *ctx, apr_int64_t build_id, apr_int64_t *freed);

#endif

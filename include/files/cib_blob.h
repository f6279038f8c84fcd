/* Blobs: files written once, durable before anybody hears of them, never changed, removed whole.
 *
 *   cib_blob_begin; cib_blob_write ...; cib_blob_seal; cib_blob_publish;
 *   (commit the row that names it); cib_blob_keep
 *
 * A blob that is not kept leaves nothing behind: the pool's cleanup, or a killed process, drops the
 * unnamed file (O_TMPFILE; a named one beginning with a dot where the filesystem has none), and
 * after publish unlinks the name. From begin to keep the file is locked (flock), so that upkeep can
 * tell an upload from an orphan at any age.
 */
#ifndef CIB_BLOB_H
#define CIB_BLOB_H

#include "files/cib_storage.h"

typedef struct cib_blob_t cib_blob_t;

/* Begin a blob of `build_id` in `area`; `type` ("archive", "metadata", ...: letters only) goes into
 * its name. Everything lives in `pool`. */
apr_status_t cib_blob_begin(cib_blob_t **blob, const cib_storage_t *storage, cib_area_e area,
                            apr_int64_t build_id, const char *type, apr_pool_t *pool);

/* Append. Gathered into writes of 1 MiB. ENOSPC, EDQUOT, EIO: the blob is lost, abandon it; every
 * later call gives the same error. */
apr_status_t cib_blob_write(cib_blob_t *blob, const char *data, apr_size_t len);

/* `digest` takes the SHA-256 (CIB_SHA256_LEN bytes) of everything written; no more writes. Of a
 * large blob a thread of its own computes it while the bytes come. */
apr_status_t cib_blob_sha256(cib_blob_t *blob, unsigned char *digest);

/* Everything written is on disk (fsync) afterwards; no more writes. */
apr_status_t cib_blob_seal(cib_blob_t *blob);

/* Link it into place and fsync the directory. */
apr_status_t cib_blob_publish(cib_blob_t *blob);

/* Its row is committed: keep it. Releases lock and descriptor. Without a publish that succeeded it
 * does nothing. */
void cib_blob_keep(cib_blob_t *blob);

/* Give it up now instead of at the pool's end. */
void cib_blob_abandon(cib_blob_t *blob);

const char *cib_blob_name(const cib_blob_t *blob);
apr_int64_t cib_blob_size(const cib_blob_t *blob);

/* Open a published blob for reading; `size` takes its length. APR_ENOENT; APR_EINVAL: not a name of
 * our making, or not a file. The file closes with `pool`; open it with `sendfile` for what goes out
 * by sendfile. */
apr_status_t cib_blob_open(apr_file_t **file, apr_int64_t *size, const cib_storage_t *storage,
                           cib_area_e area, const char *name, int sendfile, apr_pool_t *pool);

#endif

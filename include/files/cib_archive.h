/* Archives: a plain tar, which tar(1) reads (pax headers only for what ustar cannot say: members
 * over 8 GiB, long names). Its last member, SHA256SUMS, has a line for each of the others as
 * sha256sum(1) writes and checks it; an archive that ends without it is not whole.
 *
 *   cib_archive_begin; for each member: cib_archive_member, its writes, cib_archive_member_end;
 *   cib_archive_finish
 *
 * Writing and reading take the memory of a buffer, however long the archive is. Only what links
 * libarchive has this: the command line and the unit tests (see BACKUP_SRC in the Makefile).
 */
#ifndef CIB_ARCHIVE_H
#define CIB_ARCHIVE_H

#include <apr_time.h>
#include "files/cib_spool.h"
#include "util/cib_error.h"

#define CIB_ARCHIVE_SUMS "SHA256SUMS"

/* How an archive of that name is packed, by its ending: .gz, .xz, .zst; not at all by any other. */
typedef enum { CIB_PACK_NOT, CIB_PACK_GZIP, CIB_PACK_XZ, CIB_PACK_ZSTD } cib_pack_e;
cib_pack_e cib_archive_pack(const char *name);

typedef struct cib_archive_t cib_archive_t;

/* Write to `fd`, which stays the caller's. `sums` is for the archive alone until it is finished.
 * Errors live in `pool`, and so does the archive; that is all that is left behind by one that is
 * not finished. */
cib_error_t *cib_archive_begin(cib_archive_t **archive, int fd, cib_pack_e pack, cib_spool_t *sums,
                               apr_pool_t *pool);

/* A member of exactly `size` bytes begins. `mode` as of a file; `name` has no line end. */
cib_error_t *cib_archive_member(cib_archive_t *archive, const char *name, apr_int64_t size,
                                int mode, apr_time_t mtime);
cib_error_t *cib_archive_write(cib_archive_t *archive, const char *data, apr_size_t len);
/* `sha256` (or NULL) takes its sum, CIB_SHA256_HEX digits, good until the next member. */
cib_error_t *cib_archive_member_end(cib_archive_t *archive, const char **sha256);

/* The sums and the end. */
cib_error_t *cib_archive_finish(cib_archive_t *archive);

/* Bytes written so far: of the file, where it is packed. */
apr_int64_t cib_archive_bytes(const cib_archive_t *archive);

typedef struct cib_unarchive_t cib_unarchive_t;

/* Read from `fd`, packed or not. `sums` as above. */
cib_error_t *cib_unarchive_begin(cib_unarchive_t **archive, int fd, cib_spool_t *sums,
                                 apr_pool_t *pool);

/* The next member but SHA256SUMS; `name` (good until the next call) NULL: that was the last one,
 * and every sum is right. CONFLICT: it is no archive, or damaged; the message says which member. */
cib_error_t *cib_unarchive_next(cib_unarchive_t *archive, const char **name, apr_int64_t *size);

/* The next bytes of the member, good until the next call; `len` 0: it ends. They are not to be
 * trusted before the archive's end. */
cib_error_t *cib_unarchive_read(cib_unarchive_t *archive, const char **data, apr_size_t *len);

#endif

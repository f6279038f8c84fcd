/* Backups: the whole instance in one archive (files/cib_archive.h), taken while it is served, and
 * read into an empty directory and an empty database of either driver.
 *
 *   manifest.json            what it is, the schema's version, the instance's id and secret
 *   artifacts/M/K/NAME       as in the storage directory
 *   traces/M/K/ID.log        the bytes stored
 *   database/TABLE.jsonl     a row a line: an object by the columns' names
 *   traces.jsonl             what is to be known of each trace (claim, bytes received, CRC, tail)
 *   SHA256SUMS
 *
 * The rows are those of one moment after the backup began, read and put aside before a file is
 * looked at, so that no snapshot of the database waits for a slow target. Then the files:
 *
 * - An artifact that was replaced since has its new row and its new file. One that was removed
 * since (erased, expired) is left out with its row; one whose file is missing anyway, too, and a
 * warning is logged. A file that is shorter or longer than its row says, or cannot be read to its
 * end, is taken as it is (zeros for what cannot be read) with a warning.
 * - A trace is taken as its writers last left it, and may have grown since. That of a claim that
 * was made since is left out, and what the claim before it had written was gone by then.
 *
 * What is running is restored as running: its runner's token is derived from the secret, so it goes
 * on where it was, or is given up as any runner that fell silent. What waits is restored with
 * claims by new numbers, so that the tokens of claims that were made after the backup open nothing.
 */
#ifndef CIB_BACKUP_H
#define CIB_BACKUP_H

#include <apr_hash.h>
#include "core/cib_ctx.h"
#include "files/cib_archive.h"

/* Called now and then: bytes of files so far. Not 0: stop, and fail. */
typedef int (*cib_backup_progress_fn)(void *baton, apr_int64_t builds, apr_int64_t artifacts,
                                      apr_int64_t bytes);

typedef struct cib_backup_report_t {
    apr_int64_t builds;
    apr_int64_t artifacts;
    apr_int64_t bytes; /* of backup: what was written; of restore: of the files */
    int faults;        /* of backup: warnings that were logged */
} cib_backup_report_t;

typedef struct cib_backup_job_t {
    int fd;
    cib_pack_e pack;
    cib_spool_t *spools[4]; /* CIB_BACKUP_SPOOLS empty ones; the rows take most of the space */
    cib_backup_progress_fn progress; /* or NULL */
    void *baton;
} cib_backup_job_t;
#define CIB_BACKUP_SPOOLS 4

/* Write a backup. */
cib_error_t *cib_backup(const cib_ctx_t *ctx, const cib_backup_job_t *job,
                        cib_backup_report_t *report);

/* What a backup says of itself. */
typedef struct cib_manifest_t {
    int schema;
    const char *program; /* the version that wrote it */
    const char *driver;  /* that it was written on */
    const char *id;
    unsigned char secret[CIB_SECRET_LEN];
    apr_time_t created_at;
    apr_int64_t builds;
    apr_hash_t *last_ids; /* by table: apr_int64_t * */
} cib_manifest_t;

/* Reading one:
 *
 *   cib_restore_begin    the manifest
 *   cib_restore_files    everything is unpacked and verified
 *   cib_restore_rows     the database is filled, in one transaction
 *   cib_storage_finish
 *
 * CONFLICT: it is no backup, is damaged, or was made by a newer program. */
typedef struct cib_restore_t cib_restore_t;

/* `dir` is where spools may be. Everything lives in `pool`. */
cib_error_t *cib_restore_begin(cib_restore_t **restore, int fd, const char *dir,
                               cib_backup_progress_fn progress, void *baton,
                               const cib_manifest_t **manifest, apr_pool_t *pool);

/* Into a storage that was begun (cib_storage_begin). */
cib_error_t *cib_restore_files(cib_restore_t *restore, const cib_storage_t *storage);

/* Into the context's database, for which cib_dump_begin was called. */
cib_error_t *cib_restore_rows(cib_restore_t *restore, const cib_ctx_t *ctx,
                              cib_backup_report_t *report);

#endif

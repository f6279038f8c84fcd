/* The storage directory. It describes itself, as a git repository does:
 *
 *   config            driver and its parameters, instance id, secret (JSON, mode 0600)
 *   lock              flock: whoever writes to a SQLite database of this instance holds it
 *   ci-builds.db      the SQLite database, where that is the driver (and its -wal, -shm)
 *   artifacts/M/K/    blobs, one file each, named <build id>-<type>-<random> (M = id / 1,000,000,
 *                     K = id / 1,000 % 1,000: at most a thousand builds in a folder)
 *   traces/M/K/       <build id>.log or <build id>.log2, and <build id>.state
 *   hosts/<name>      the generations of one host's instance (mapped, see cib_generation.h)
 *
 * Directories are 0750, files 0640 less the umask, the config 0600. Everything is on one
 * filesystem, so that link and rename are atomic. All functions return apr_status_t; errno's values
 * come through as they are.
 */
#ifndef CIB_STORAGE_H
#define CIB_STORAGE_H

#include <apr_file_io.h>
#include <apr_pools.h>
#include <apr_tables.h>

#define CIB_SECRET_LEN 32

typedef struct cib_storage_t {
    const char *dir;    /* absolute, no trailing slash, no link in it */
    const char *driver; /* "sqlite3" or "pgsql" */
    const char *params; /* DBDParams: the SQLite file's path, or a conninfo */
    const char *id;     /* the instance's id: 32 hex digits; the database holds the same */
    unsigned char secret[CIB_SECRET_LEN];
    /* Threads may be begun for large files. 0 when opened, and to be left so where a signal may end
     * the process in the midst of anything, as prefork's does: its clean-up could wait for a lock
     * that it interrupted itself. */
    int threads;
} cib_storage_t;

/* Where a file belongs. */
typedef enum { CIB_AREA_ARTIFACTS, CIB_AREA_TRACES } cib_area_e;

/* Make the tree below `dir` (which may exist, empty or not; folders above it are made too) with a
 * new id and secret, durably, the config last: a directory with a config is whole. `params` NULL:
 * DIR/ci-builds.db for sqlite3, wherever DIR may be moved to, or nothing for pgsql. Who owns it is
 * the caller's business. APR_EEXIST: it is a storage directory already; APR_EINVAL: an unknown
 * driver. */
apr_status_t cib_storage_create(const char *dir, const char *driver, const char *params,
                                apr_pool_t *pool);

/* The same in parts, for who fills the tree before it is to be used. Begin: everything but the
 * config; APR_EEXIST, as soon as somebody else has begun there. `id` and `secret` of the result are
 * the caller's to set. Put: make the file `name` (a blob's name, or a trace's "<id>.log") to be
 * written; APR_EINVAL for every other name. Finish: all that was put is on disk, then the config.
 * Undo: what begin and put have made goes, and a SQLite database in the directory; the directory
 * itself stays. */
apr_status_t cib_storage_begin(cib_storage_t **storage, const char *dir, const char *driver,
                               const char *params, apr_pool_t *pool);
apr_status_t cib_storage_put(apr_file_t **file, const cib_storage_t *storage, cib_area_e area,
                             const char *name, apr_pool_t *pool);
apr_status_t cib_storage_finish(const cib_storage_t *storage, apr_pool_t *pool);
void cib_storage_undo(const cib_storage_t *storage, apr_pool_t *pool);

/* A file's name within the storage directory, as "artifacts/0/1/1234-archive-...", and back:
 * APR_EINVAL where it is not one that would be made. In `pool`. */
const char *cib_storage_member(cib_area_e area, apr_int64_t build_id, const char *name,
                               apr_pool_t *pool);
apr_status_t cib_storage_member_parse(const char *member, cib_area_e *area, apr_int64_t *build_id,
                                      const char **name, apr_pool_t *pool);

/* Read the config. APR_ENOENT: no such directory, or not a storage directory; APR_EINVAL: a config
 * that cannot be understood. The result lives in `pool`. */
apr_status_t cib_storage_open(cib_storage_t **storage, const char *dir, apr_pool_t *pool);

/* The path of a file of the storage directory, e.g. "lock". In `pool`. */
const char *cib_storage_path(const cib_storage_t *storage, const char *name, apr_pool_t *pool);

/* Bytes that an unprivileged writer can still store. */
apr_status_t cib_storage_free_bytes(const cib_storage_t *storage, apr_int64_t *bytes,
                                    apr_pool_t *pool);

/* Is the folder there that this build's files are in? Nobody of ours removes one: where it is not,
 * something else is the matter than with a file. */
int cib_storage_has_folder(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                           apr_pool_t *pool);

/* Remove one file of an area durably; APR_SUCCESS where it was not there. `name` is a blob's name,
 * a trace's "<id>.log" or "<id>.state", or that of an unfinished file (one leading dot, see the
 * walk); APR_EINVAL for every other. `freed` (or NULL) takes the bytes. */
apr_status_t cib_storage_remove(const cib_storage_t *storage, cib_area_e area, const char *name,
                                apr_int64_t *freed, apr_pool_t *pool);

/* Visit each file of an area, in no order. A callback's error ends the walk and is returned; it may
 * remove the file. `pool` given to the callback is cleared after each file. Of a trace both files
 * are visited. A name with a leading dot is an unfinished file of a process that was killed (or is
 * at work: it is locked), on a filesystem without O_TMPFILE. */
typedef struct cib_stored_file_t {
    const char *name;
    apr_int64_t build_id; /* the number its name begins with, 0 where there is none */
    apr_int64_t size;
    const char *lock; /* the file whose lock it is under */
    int unfinished;   /* a leading dot, and for the rest a name of our making */
} cib_stored_file_t;
typedef apr_status_t (*cib_storage_visit_fn)(void *baton, const cib_stored_file_t *file,
                                             apr_pool_t *pool);
apr_status_t cib_storage_walk(const cib_storage_t *storage, cib_area_e area,
                              cib_storage_visit_fn visit, void *baton, apr_pool_t *pool);

/* Is somebody still making it, or can it not be opened to find out? To be asked during the visit. A
 * file that is not locked will never be again, but its row may have been committed since the caller
 * last looked: only a look at the database *after* this tells an orphan. */
int cib_stored_file_locked(const cib_stored_file_t *file);

/* The same in parts: the folders that there are, each as the lowest build id that belongs into it
 * (apr_int64_t, a multiple of CIB_FOLDER_BUILDS, in no order), and a walk of one of them. */
#define CIB_FOLDER_BUILDS 1000
apr_status_t cib_storage_folders(const cib_storage_t *storage, cib_area_e area,
                                 apr_array_header_t **first_ids, apr_pool_t *pool);
/* One of them, by a number that was drawn, below 0 where there is none: one of the millions, and
 * then one in it, for to read the names of all may take longer than a turn of upkeep. */
apr_status_t cib_storage_folder_drawn(const cib_storage_t *storage, cib_area_e area,
                                      apr_uint32_t lot, apr_int64_t *first_id, apr_pool_t *pool);

apr_status_t cib_storage_walk_folder(const cib_storage_t *storage, cib_area_e area,
                                     apr_int64_t first_id, cib_storage_visit_fn visit, void *baton,
                                     apr_pool_t *pool);

#endif

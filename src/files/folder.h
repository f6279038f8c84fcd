/* Folders of the storage directory: AREA/M/K, and what may be the name of a file in them. */
#ifndef CIB_FILES_FOLDER_H
#define CIB_FILES_FOLDER_H

#include "files/cib_storage.h"

/* "artifacts" or "traces". */
const char *cib_area_name(cib_area_e area);

/* The path of the folder a build's files belong into; in `pool`. */
const char *cib_folder_path(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                            apr_pool_t *pool);

/* Make it where it is not. Not durable before cib_folder_sync. */
apr_status_t cib_folder_make(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                             apr_pool_t *pool);

/* What was linked into it is on disk afterwards, and so are the folders above: another process may
 * have made them a moment ago and not be as far yet. */
apr_status_t cib_folder_sync(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                             apr_pool_t *pool);

/* The build a file's name begins with. Names come out of the database and off the disk: APR_EINVAL
 * for one that is not of our making, so that no name can lead out of its folder. `hidden_ok` takes
 * one leading dot, that of unfinished files. */
apr_status_t cib_name_check(const char *name, int hidden_ok, apr_int64_t *build_id);

/* Absolute and without links, so that every process calls one directory by one name. */
apr_status_t cib_directory_resolve(const char **dir, const char *given, apr_pool_t *pool);

/* mkdir that is content with a directory that is there, and fsync of one. */
apr_status_t cib_directory_make(const char *path);
apr_status_t cib_directory_sync(const char *path);

/* Open a finished regular file for reading: no link, no directory, nothing that would block. */
apr_status_t cib_file_open(apr_file_t **file, const char *path, apr_int32_t flags,
                           apr_int64_t *size, apr_pool_t *pool);

#endif

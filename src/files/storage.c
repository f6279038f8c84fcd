#include "files/cib_storage.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <apr_strings.h>

#include "config.h"
#include "folder.h"

const char *cib_storage_path(const cib_storage_t *storage, const char *name, apr_pool_t *pool)
{
    return apr_pstrcat(pool, storage->dir, "/", name, NULL);
}

apr_status_t cib_storage_open(cib_storage_t **storage, const char *dir, apr_pool_t *pool)
{
    cib_storage_t *opened = apr_pcalloc(pool, sizeof(*opened));
    apr_status_t rv = cib_directory_resolve(&opened->dir, dir, pool);

    if (rv == APR_SUCCESS)
        rv = cib_config_read(opened, pool);
    if (rv == APR_SUCCESS)
        *storage = opened;
    return rv == ENOTDIR ? APR_ENOENT : rv;
}

apr_status_t cib_storage_free_bytes(const cib_storage_t *storage, apr_int64_t *bytes,
                                    apr_pool_t *pool)
{
    struct statvfs fs;
    apr_int64_t size;

    while (statvfs(storage->dir, &fs) != 0) {
        if (errno != EINTR)
            return errno;
    }
    if (__builtin_mul_overflow(fs.f_bavail, fs.f_frsize, &size))
        size = APR_INT64_MAX;
    *bytes = size;
    return APR_SUCCESS;
}

int cib_storage_has_folder(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                           apr_pool_t *pool)
{
    struct stat st;

    return stat(cib_folder_path(storage, area, build_id, pool), &st) == 0 && S_ISDIR(st.st_mode);
}

apr_status_t cib_storage_remove(const cib_storage_t *storage, cib_area_e area, const char *name,
                                apr_int64_t *freed, apr_pool_t *pool)
{
    const char *folder, *path;
    apr_int64_t build_id;
    struct stat st;
    apr_status_t rv;

    if (freed)
        *freed = 0;
    if (cib_name_check(name, 1, &build_id) != APR_SUCCESS)
        return APR_EINVAL;
    folder = cib_folder_path(storage, area, build_id, pool);
    path = apr_pstrcat(pool, folder, "/", name, NULL);
    if (lstat(path, &st) == 0 && unlink(path) == 0) {
        if (freed)
            *freed = st.st_size;
    } else if (errno != ENOENT) {
        return errno;
    }
    /* also where it was not there: whoever removed it may not have come as far as this */
    rv = cib_directory_sync(folder);
    return rv == ENOENT ? APR_SUCCESS : rv;
}

#include "files/cib_storage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <apr_strings.h>

#include "config.h"
#include "descriptor.h"
#include "folder.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

const char *cib_storage_path(const cib_storage_t *storage, const char *name, apr_pool_t *pool)
{
    return apr_pstrcat(pool, storage->dir, "/", name, NULL);
}

/* Absolute and without links, so that every process calls one directory by one name. */
static apr_status_t resolve(const char **dir, const char *given, apr_pool_t *pool)
{
    char path[PATH_MAX];

    if (!realpath(given, path))
        return errno;
    *dir = apr_pstrdup(pool, path);
    return APR_SUCCESS;
}

/* DIR itself is 0750; folders above it that are missing are anybody's. */
static apr_status_t make_dir(const char *dir, apr_pool_t *pool)
{
    apr_size_t len = strlen(dir);
    const char *slash;
    apr_status_t rv;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    dir = apr_pstrmemdup(pool, dir, len);
    rv = cib_directory_make(dir);
    slash = strrchr(dir, '/');
    if (rv != ENOENT || !slash || slash == dir)
        return rv;
    rv = apr_dir_make_recursive(apr_pstrmemdup(pool, dir, (apr_size_t)(slash - dir)),
                                APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_UEXECUTE |
                                    APR_FPROT_GREAD | APR_FPROT_GEXECUTE | APR_FPROT_WREAD |
                                    APR_FPROT_WEXECUTE,
                                pool);
    return rv == APR_SUCCESS ? cib_directory_make(dir) : rv;
}

static apr_status_t make_tree(const cib_storage_t *storage, apr_pool_t *pool)
{
    static const char *const folders[] = {"artifacts", "traces", "hosts"};
    apr_status_t rv = APR_SUCCESS;
    int fd;

    for (int i = 0; i < 3 && rv == APR_SUCCESS; i++)
        rv = cib_directory_make(cib_storage_path(storage, folders[i], pool));
    if (rv == APR_SUCCESS)
        rv = cib_fd_open(&fd, cib_storage_path(storage, "lock", pool), O_RDWR | O_CREAT, 0640);
    if (rv == APR_SUCCESS)
        cib_fd_close(&fd);
    return rv;
}

/* What the directory is to be called in the folder above it, on disk. That folder may be one that
 * we can search but not read: then its owner has made DIR for us, and minds it. */
static apr_status_t sync_parent(const char *dir, apr_pool_t *pool)
{
    apr_status_t rv = cib_directory_sync(apr_pstrcat(pool, dir, "/..", NULL));

    return rv == EACCES || rv == EPERM ? APR_SUCCESS : rv;
}

apr_status_t cib_storage_create(const char *dir, const char *driver, const char *params,
                                apr_pool_t *pool)
{
    cib_storage_t storage = {0};
    unsigned char id[16];
    struct stat st;
    apr_status_t rv;

    if ((rv = make_dir(dir, pool)) != APR_SUCCESS)
        return rv;
    if ((rv = resolve(&storage.dir, dir, pool)) != APR_SUCCESS)
        return rv;
    storage.driver = driver;
    storage.params = params ? params : cib_config_default_params(storage.dir, driver, pool);
    if (!storage.params || !cib_config_default_params(storage.dir, driver, pool))
        return APR_EINVAL;
    if (lstat(cib_storage_path(&storage, "config", pool), &st) == 0)
        return APR_EEXIST;
    rv = make_tree(&storage, pool);
    if (rv == APR_SUCCESS)
        rv = cib_random(id, sizeof(id));
    if (rv == APR_SUCCESS)
        rv = cib_random(storage.secret, sizeof(storage.secret));
    if (rv != APR_SUCCESS)
        return rv;
    storage.id = cib_hex(id, sizeof(id), pool);
    /* the tree before the config that says it is whole */
    rv = cib_directory_sync(storage.dir);
    if (rv == APR_SUCCESS)
        rv = cib_config_write(&storage, pool);
    return rv == APR_SUCCESS ? sync_parent(storage.dir, pool) : rv;
}

apr_status_t cib_storage_open(cib_storage_t **storage, const char *dir, apr_pool_t *pool)
{
    cib_storage_t *opened = apr_pcalloc(pool, sizeof(*opened));
    apr_status_t rv = resolve(&opened->dir, dir, pool);

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

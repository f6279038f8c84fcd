/* Making a storage directory, whole or step by step. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "config.h"
#include "descriptor.h"
#include "folder.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

static const char *const folders[] = {"artifacts", "traces", "hosts"};
#define FOLDERS (int)(sizeof(folders) / sizeof(*folders))

apr_status_t cib_directory_resolve(const char **dir, const char *given, apr_pool_t *pool)
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

/* `flags`: what else the lock is opened with. */
static apr_status_t make_tree(const cib_storage_t *storage, int flags, apr_pool_t *pool)
{
    int fd;
    apr_status_t rv =
        cib_fd_open(&fd, cib_storage_path(storage, "lock", pool), O_RDWR | O_CREAT | flags, 0640);

    if (rv == APR_SUCCESS)
        cib_fd_close(&fd);
    for (int i = 0; i < FOLDERS && rv == APR_SUCCESS; i++)
        rv = cib_directory_make(cib_storage_path(storage, folders[i], pool));
    return rv;
}

/* What the directory is to be called in the folder above it, on disk. That folder may be one that
 * we can search but not read: then its owner has made DIR for us, and minds it. */
static apr_status_t sync_parent(const char *dir, apr_pool_t *pool)
{
    apr_status_t rv = cib_directory_sync(apr_pstrcat(pool, dir, "/..", NULL));

    return rv == EACCES || rv == EPERM ? APR_SUCCESS : rv;
}

/* The directory, and what the storage object says of it. */
static apr_status_t begin(cib_storage_t *storage, const char *dir, const char *driver,
                          const char *params, apr_pool_t *pool)
{
    struct stat st;
    apr_status_t rv = make_dir(dir, pool);

    if (rv == APR_SUCCESS)
        rv = cib_directory_resolve(&storage->dir, dir, pool);
    if (rv != APR_SUCCESS)
        return rv;
    storage->driver = apr_pstrdup(pool, driver);
    storage->params =
        params ? apr_pstrdup(pool, params) : cib_config_default_params(storage->dir, driver, pool);
    if (!storage->params || !cib_config_default_params(storage->dir, driver, pool))
        return APR_EINVAL;
    return lstat(cib_storage_path(storage, "config", pool), &st) == 0 ? APR_EEXIST : APR_SUCCESS;
}

/* The tree before the config that says it is whole. */
static apr_status_t finish(const cib_storage_t *storage, apr_pool_t *pool)
{
    apr_status_t rv = cib_directory_sync(storage->dir);

    if (rv == APR_SUCCESS)
        rv = cib_config_write(storage, pool);
    return rv == APR_SUCCESS ? sync_parent(storage->dir, pool) : rv;
}

apr_status_t cib_storage_create(const char *dir, const char *driver, const char *params,
                                apr_pool_t *pool)
{
    cib_storage_t storage = {0};
    unsigned char id[16];
    apr_status_t rv = begin(&storage, dir, driver, params, pool);

    if (rv == APR_SUCCESS)
        rv = make_tree(&storage, 0, pool);
    if (rv == APR_SUCCESS)
        rv = cib_random(id, sizeof(id));
    if (rv == APR_SUCCESS)
        rv = cib_random(storage.secret, sizeof(storage.secret));
    if (rv != APR_SUCCESS)
        return rv;
    storage.id = cib_hex(id, sizeof(id), pool);
    return finish(&storage, pool);
}

/* --- step by step */

apr_status_t cib_storage_begin(cib_storage_t **storage, const char *dir, const char *driver,
                               const char *params, apr_pool_t *pool)
{
    cib_storage_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = begin(made, dir, driver, params, pool);

    if (rv == APR_SUCCESS)
        rv = make_tree(made, O_EXCL, pool);
    if (rv == APR_SUCCESS)
        *storage = made;
    else if (made->params && rv != EEXIST)
        cib_storage_undo(made, pool);
    return rv;
}

apr_status_t cib_storage_put(apr_file_t **file, const cib_storage_t *storage, cib_area_e area,
                             const char *name, apr_pool_t *pool)
{
    apr_int64_t build_id;
    const char *path;
    apr_status_t rv = cib_name_check(name, 0, &build_id);

    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_folder_make(storage, area, build_id, pool);
    if (rv != APR_SUCCESS)
        return rv;
    path = apr_pstrcat(pool, cib_folder_path(storage, area, build_id, pool), "/", name, NULL);
    return apr_file_open(file, path,
                         APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_EXCL | APR_FOPEN_BINARY,
                         APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_GREAD, pool);
}

/* One sync of the filesystem instead of one for each of what may be a million files. */
static apr_status_t sync_all(const cib_storage_t *storage)
{
    int fd;
    apr_status_t rv = cib_fd_open(&fd, storage->dir, O_RDONLY | O_DIRECTORY, 0);

    if (rv != APR_SUCCESS)
        return rv;
    if (syncfs(fd) != 0)
        rv = errno;
    cib_fd_close(&fd);
    return rv;
}

apr_status_t cib_storage_finish(const cib_storage_t *storage, apr_pool_t *pool)
{
    apr_status_t rv = sync_all(storage);

    return rv == APR_SUCCESS ? finish(storage, pool) : rv;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

void cib_storage_undo(const cib_storage_t *storage, apr_pool_t *pool)
{
    static const char *const files[] = {"config", "ci-builds.db", "ci-builds.db-wal",
                                        "ci-builds.db-shm", "lock"};

    for (int i = 0; i < FOLDERS; i++)
        nftw(cib_storage_path(storage, folders[i], pool), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    for (apr_size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        unlink(cib_storage_path(storage, files[i], pool));
}

/* --- names */

const char *cib_storage_member(cib_area_e area, apr_int64_t build_id, const char *name,
                               apr_pool_t *pool)
{
    cib_storage_t here = {.dir = ""};

    /* without the slash it begins with */
    return apr_pstrcat(pool, cib_folder_path(&here, area, build_id, pool) + 1, "/", name, NULL);
}

static int is_log(const char *name, apr_int64_t build_id, apr_pool_t *pool)
{
    return strcmp(name, apr_psprintf(pool, "%" APR_INT64_T_FMT ".log", build_id)) == 0;
}

apr_status_t cib_storage_member_parse(const char *member, cib_area_e *area, apr_int64_t *build_id,
                                      const char **name, apr_pool_t *pool)
{
    const char *slash = strrchr(member, '/');

    if (!slash || cib_name_check(slash + 1, 0, build_id) != APR_SUCCESS)
        return APR_EINVAL;
    *name = apr_pstrdup(pool, slash + 1);
    *area = strncmp(member, "traces/", 7) == 0 ? CIB_AREA_TRACES : CIB_AREA_ARTIFACTS;
    if (strcmp(member, cib_storage_member(*area, *build_id, *name, pool)) != 0)
        return APR_EINVAL;
    if (*area == CIB_AREA_TRACES && !is_log(*name, *build_id, pool))
        return APR_EINVAL;
    return APR_SUCCESS;
}

#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "util/cib_text.h"

#define NAME_MAX_LEN 200

const char *cib_area_name(cib_area_e area)
{
    return area == CIB_AREA_ARTIFACTS ? "artifacts" : "traces";
}

const char *cib_folder_path(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                            apr_pool_t *pool)
{
    return apr_psprintf(pool, "%s/%s/%" APR_INT64_T_FMT "/%d", storage->dir, cib_area_name(area),
                        build_id / (1000 * CIB_FOLDER_BUILDS),
                        (int)(build_id / CIB_FOLDER_BUILDS % 1000));
}

static const char *parent_of(const char *path, apr_pool_t *pool)
{
    return apr_pstrmemdup(pool, path, (apr_size_t)(strrchr(path, '/') - path));
}

apr_status_t cib_directory_make(const char *path)
{
    struct stat st;

    if (mkdir(path, 0750) == 0)
        return APR_SUCCESS;
    if (errno != EEXIST)
        return errno;
    if (stat(path, &st) != 0)
        return errno;
    return S_ISDIR(st.st_mode) ? APR_SUCCESS : ENOTDIR;
}

apr_status_t cib_directory_sync(const char *path)
{
    int fd;
    apr_status_t rv = cib_fd_open(&fd, path, O_RDONLY | O_DIRECTORY, 0);

    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_fd_sync(fd);
    cib_fd_close(&fd);
    /* a filesystem that has no such thing for directories says so, and does without */
    return rv == EINVAL || rv == ENOTSUP ? APR_SUCCESS : rv;
}

apr_status_t cib_folder_make(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                             apr_pool_t *pool)
{
    const char *folder = cib_folder_path(storage, area, build_id, pool);
    apr_status_t rv = cib_directory_make(folder);

    if (rv != ENOENT)
        return rv;
    rv = cib_directory_make(parent_of(folder, pool));
    return rv == APR_SUCCESS ? cib_directory_make(folder) : rv;
}

apr_status_t cib_folder_sync(const cib_storage_t *storage, cib_area_e area, apr_int64_t build_id,
                             apr_pool_t *pool)
{
    const char *path = cib_folder_path(storage, area, build_id, pool);
    apr_status_t rv = APR_SUCCESS;

    for (int level = 0; level < 3 && rv == APR_SUCCESS; level++) {
        rv = cib_directory_sync(path);
        path = parent_of(path, pool);
    }
    return rv;
}

apr_status_t cib_name_check(const char *name, int hidden_ok, apr_int64_t *build_id)
{
    static const char allowed[] =
        "0123456789-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char number[32];
    apr_size_t digits;

    if (!name)
        return APR_EINVAL;
    if (hidden_ok && *name == '.')
        name++;
    digits = strspn(name, "0123456789");
    if (digits == 0 || digits >= sizeof(number) || strlen(name) > NAME_MAX_LEN ||
        name[strspn(name, allowed)])
        return APR_EINVAL;
    apr_cpystrn(number, name, digits + 1);
    return cib_int_parse(number, 1, APR_INT64_MAX, build_id) == APR_SUCCESS ? APR_SUCCESS
                                                                            : APR_EINVAL;
}

/* APR_FOPEN_READ follows links and waits for the writer of a FIFO; neither is ever ours. */
apr_status_t cib_file_open(apr_file_t **file, const char *path, apr_int32_t flags,
                           apr_int64_t *size, apr_pool_t *pool)
{
    struct stat st;
    apr_finfo_t info;
    apr_status_t rv;

    if (lstat(path, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return APR_EINVAL;
    rv = apr_file_open(file, path, APR_FOPEN_READ | APR_FOPEN_BINARY | flags, APR_FPROT_OS_DEFAULT,
                       pool);
    if (rv != APR_SUCCESS)
        return rv;
    rv = apr_file_info_get(&info, APR_FINFO_SIZE, *file);
    if (rv != APR_SUCCESS) {
        apr_file_close(*file);
        *file = NULL;
        return rv;
    }
    if (size)
        *size = info.size;
    return APR_SUCCESS;
}

/* What lies in the storage directory, whoever put it there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "folder.h"
#include "util/cib_text.h"

/* Names of digits only, as the folders' are; else -1. */
static apr_int64_t folder_number(const char *name)
{
    apr_int64_t number;

    return cib_int_parse(name, 0, APR_INT64_MAX, &number) == APR_SUCCESS ? number : -1;
}

/* Gives `each` every entry of a directory that is there. */
typedef apr_status_t (*entry_fn)(void *baton, const char *path, const char *name, apr_pool_t *pool);

static apr_status_t for_each_entry(const char *path, entry_fn each, void *baton, apr_pool_t *pool)
{
    DIR *dir = opendir(path);
    apr_status_t rv = APR_SUCCESS;
    struct dirent *entry;

    if (!dir)
        return errno == ENOENT || errno == ENOTDIR ? APR_SUCCESS : errno;
    while (rv == APR_SUCCESS) {
        errno = 0;
        /* each thread reads a stream of its own, and for that readdir is safe */
        // cppcheck-suppress readdirCalled
        entry = readdir(dir);
        if (!entry) {
            rv = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            rv = each(baton, path, entry->d_name, pool);
    }
    closedir(dir);
    return rv;
}

typedef struct folder_list_t {
    apr_array_header_t *first_ids;
    apr_int64_t million; /* the M we are in */
} folder_list_t;

static apr_status_t add_folder(void *baton, const char *path, const char *name, apr_pool_t *pool)
{
    folder_list_t *list = baton;
    apr_int64_t number = folder_number(name);

    if (number >= 0 && number < 1000)
        APR_ARRAY_PUSH(list->first_ids, apr_int64_t) =
            (list->million * 1000 + number) * CIB_FOLDER_BUILDS;
    return APR_SUCCESS;
}

static int is_million(apr_int64_t number)
{
    return number >= 0 && number < APR_INT64_MAX / 1000 / CIB_FOLDER_BUILDS;
}

static apr_status_t add_million(void *baton, const char *path, const char *name, apr_pool_t *pool)
{
    folder_list_t *list = baton;

    list->million = folder_number(name);
    if (!is_million(list->million))
        return APR_SUCCESS;
    return for_each_entry(apr_pstrcat(pool, path, "/", name, NULL), add_folder, list, pool);
}

apr_status_t cib_storage_folders(const cib_storage_t *storage, cib_area_e area,
                                 apr_array_header_t **first_ids, apr_pool_t *pool)
{
    folder_list_t list = {apr_array_make(pool, 16, sizeof(apr_int64_t)), 0};

    *first_ids = list.first_ids;
    return for_each_entry(cib_storage_path(storage, cib_area_name(area), pool), add_million, &list,
                          pool);
}

static apr_status_t note_million(void *baton, const char *path, const char *name, apr_pool_t *pool)
{
    apr_array_header_t *millions = baton;

    if (is_million(folder_number(name)))
        APR_ARRAY_PUSH(millions, const char *) = apr_pstrcat(pool, path, "/", name, NULL);
    return APR_SUCCESS;
}

apr_status_t cib_storage_folder_drawn(const cib_storage_t *storage, cib_area_e area,
                                      apr_uint32_t lot, apr_int64_t *first_id, apr_pool_t *pool)
{
    apr_array_header_t *millions = apr_array_make(pool, 16, sizeof(const char *));
    folder_list_t list = {apr_array_make(pool, 16, sizeof(apr_int64_t)), 0};
    apr_uint32_t n;
    const char *path;
    apr_status_t rv = for_each_entry(cib_storage_path(storage, cib_area_name(area), pool),
                                     note_million, millions, pool);

    *first_id = -1;
    n = (apr_uint32_t)millions->nelts;
    if (rv != APR_SUCCESS || !n)
        return rv;
    path = APR_ARRAY_IDX(millions, lot % n, const char *);
    list.million = folder_number(strrchr(path, '/') + 1);
    rv = for_each_entry(path, add_folder, &list, pool);
    lot /= n;
    if (list.first_ids->nelts)
        *first_id =
            APR_ARRAY_IDX(list.first_ids, lot % (apr_uint32_t)list.first_ids->nelts, apr_int64_t);
    return rv;
}

typedef struct folder_walk_t {
    cib_area_e area;
    cib_storage_visit_fn visit;
    void *baton;
    apr_pool_t *turn; /* cleared after each file */
} folder_walk_t;

/* A trace is locked by its state, whichever of its files is looked at. */
static const char *lock_path(const folder_walk_t *walk, const char *path)
{
    const char *dot = strrchr(path, '.');

    if (walk->area != CIB_AREA_TRACES || !dot || strncmp(dot, ".log", 4) != 0)
        return path;
    return apr_pstrcat(walk->turn, apr_pstrmemdup(walk->turn, path, (apr_size_t)(dot - path)),
                       ".state", NULL);
}

/* What cannot be opened to find out is left alone like what is being made. */
int cib_stored_file_locked(const cib_stored_file_t *file)
{
    int fd;
    apr_status_t rv = cib_fd_open(&fd, file->lock, O_RDONLY | O_NONBLOCK, 0);

    if (rv != APR_SUCCESS)
        return rv != ENOENT;
    rv = cib_fd_lock(fd, LOCK_SH | LOCK_NB);
    cib_fd_close(&fd);
    return rv != APR_SUCCESS;
}

static apr_status_t visit_file(void *baton, const char *folder, const char *name, apr_pool_t *pool)
{
    folder_walk_t *walk = baton;
    cib_stored_file_t file = {.name = name};
    apr_int64_t build_id;
    const char *path;
    struct stat st;
    apr_status_t rv = APR_SUCCESS;

    apr_pool_clear(walk->turn);
    path = apr_pstrcat(walk->turn, folder, "/", name, NULL);
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        if (cib_name_check(name, 0, &file.build_id) != APR_SUCCESS)
            file.build_id = 0;
        file.unfinished = *name == '.' && cib_name_check(name, 1, &build_id) == APR_SUCCESS;
        file.size = st.st_size;
        file.lock = lock_path(walk, path);
        rv = walk->visit(walk->baton, &file, walk->turn);
    }
    return rv;
}

apr_status_t cib_storage_walk_folder(const cib_storage_t *storage, cib_area_e area,
                                     apr_int64_t first_id, cib_storage_visit_fn visit, void *baton,
                                     apr_pool_t *pool)
{
    folder_walk_t walk = {area, visit, baton, NULL};
    apr_status_t rv = apr_pool_create(&walk.turn, pool);

    if (rv != APR_SUCCESS)
        return rv;
    rv = for_each_entry(cib_folder_path(storage, area, first_id, pool), visit_file, &walk, pool);
    apr_pool_destroy(walk.turn);
    return rv;
}

apr_status_t cib_storage_walk(const cib_storage_t *storage, cib_area_e area,
                              cib_storage_visit_fn visit, void *baton, apr_pool_t *pool)
{
    apr_array_header_t *first_ids;
    apr_status_t rv = cib_storage_folders(storage, area, &first_ids, pool);

    for (int i = 0; i < first_ids->nelts && rv == APR_SUCCESS; i++)
        rv = cib_storage_walk_folder(storage, area, APR_ARRAY_IDX(first_ids, i, apr_int64_t), visit,
                                     baton, pool);
    return rv;
}

#include "files/cib_blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "folder.h"
#include "hasher.h"
#include "tempfile.h"
#include "util/cib_crypto.h"

#define GATHER_LEN (1024 * 1024)
/* Ask the kernel to begin writing every so many bytes, so that the fsync at the end finds little.
 */
#define WRITE_OUT_LEN (8 * 1024 * 1024)

struct cib_blob_t {
    const cib_storage_t *storage;
    apr_pool_t *pool;
    cib_area_e area;
    apr_int64_t build_id;
    const char *name;
    const char *path;
    cib_tempfile_t temp;
    /* malloc: megabytes that are given back at seal, not at the request's end. There are two only
     * where the bytes of the other may still be hashed. */
    char *gathered;
    char *other;
    apr_size_t gathered_len;
    cib_hasher_t *hasher;
    apr_off_t written;
    apr_off_t asked_out;
    apr_status_t broken; /* the first failure; there is no way on from it */
    int whole;           /* nothing more comes */
    int sealed;
    int published;
};

static void give_back(cib_blob_t *blob)
{
    cib_hasher_drop(blob->hasher);
    free(blob->gathered);
    free(blob->other);
    blob->gathered = blob->other = NULL;
}

static apr_status_t blob_cleanup(void *data)
{
    cib_blob_t *blob = data;

    give_back(blob);
    /* the name goes before the lock: nobody may see the file unlocked */
    if (blob->published)
        unlink(blob->path);
    blob->published = 0;
    blob->sealed = 0;
    if (!blob->broken)
        blob->broken = APR_EINVAL;
    cib_tempfile_drop(&blob->temp);
    return APR_SUCCESS;
}

static int is_type(const char *type)
{
    return *type && strlen(type) <= 64 &&
           strspn(type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(type);
}

/* The folder is there but for the first of a thousand builds: make it only when missed. */
static apr_status_t open_temp(cib_blob_t *blob, const char *folder)
{
    apr_status_t rv = cib_tempfile_open(&blob->temp, folder, blob->name, 0640, blob->pool);

    if (rv != ENOENT)
        return rv;
    rv = cib_folder_make(blob->storage, blob->area, blob->build_id, blob->pool);
    if (rv != APR_SUCCESS)
        return rv;
    return cib_tempfile_open(&blob->temp, folder, blob->name, 0640, blob->pool);
}

apr_status_t cib_blob_begin(cib_blob_t **blob, const cib_storage_t *storage, cib_area_e area,
                            apr_int64_t build_id, const char *type, apr_pool_t *pool)
{
    cib_blob_t *made;
    const char *folder, *random;
    apr_status_t rv;

    if (build_id < 1 || !is_type(type))
        return APR_EINVAL;
    rv = cib_tempfile_random(&random, pool);
    if (rv != APR_SUCCESS)
        return rv;
    made = apr_pcalloc(pool, sizeof(*made));
    made->storage = storage;
    made->pool = pool;
    made->area = area;
    made->build_id = build_id;
    made->name = apr_psprintf(pool, "%" APR_INT64_T_FMT "-%s-%s", build_id, type, random);
    folder = cib_folder_path(storage, area, build_id, pool);
    made->path = apr_pstrcat(pool, folder, "/", made->name, NULL);
    rv = cib_hasher_begin(&made->hasher, storage->threads, pool);
    if (rv != APR_SUCCESS)
        return rv;
    made->gathered = malloc(GATHER_LEN);
    if (!made->gathered)
        return APR_ENOMEM;
    rv = open_temp(made, folder);
    if (rv != APR_SUCCESS) {
        free(made->gathered);
        return rv;
    }
    apr_pool_cleanup_register(pool, made, blob_cleanup, apr_pool_cleanup_null);
    *blob = made;
    return APR_SUCCESS;
}

static void begin_write_out(cib_blob_t *blob)
{
    if (blob->written - blob->asked_out < WRITE_OUT_LEN)
        return;
    /* a hint: errors show at the fsync */
    (void)sync_file_range(blob->temp.fd, blob->asked_out, blob->written - blob->asked_out,
                          SYNC_FILE_RANGE_WRITE);
    blob->asked_out = blob->written;
}

/* The next bytes are gathered where none are still being hashed. */
static apr_status_t turn_over(cib_blob_t *blob)
{
    char *next = blob->other ? blob->other : malloc(GATHER_LEN);

    if (!next)
        return cib_hasher_wait(blob->hasher);
    blob->other = blob->gathered;
    blob->gathered = next;
    return APR_SUCCESS;
}

/* Hashed and written at the same time, where there is much of it. */
static apr_status_t flush(cib_blob_t *blob)
{
    apr_size_t len = blob->gathered_len;
    apr_status_t rv = cib_hasher_take(blob->hasher, blob->gathered, len);

    if (rv == APR_SUCCESS)
        rv = cib_fd_write(blob->temp.fd, blob->gathered, len, blob->written);
    if (rv == APR_SUCCESS && len == GATHER_LEN)
        rv = turn_over(blob);
    blob->broken = rv;
    if (rv != APR_SUCCESS)
        return rv;
    blob->gathered_len = 0;
    blob->written += (apr_off_t)len;
    begin_write_out(blob);
    return APR_SUCCESS;
}

apr_status_t cib_blob_write(cib_blob_t *blob, const char *data, apr_size_t len)
{
    if (blob->broken)
        return blob->broken;
    if (blob->whole)
        return APR_EINVAL;
    while (len) {
        apr_size_t room = GATHER_LEN - blob->gathered_len;
        apr_size_t take = len < room ? len : room;
        apr_status_t rv = APR_SUCCESS;

        memcpy(blob->gathered + blob->gathered_len, data, take);
        blob->gathered_len += take;
        if (take == room)
            rv = flush(blob);
        if (rv != APR_SUCCESS)
            return rv;
        data += take;
        len -= take;
    }
    return APR_SUCCESS;
}

apr_status_t cib_blob_sha256(cib_blob_t *blob, unsigned char *digest)
{
    apr_status_t rv;

    if (blob->broken)
        return blob->broken;
    if (blob->whole)
        return APR_EINVAL;
    blob->whole = 1;
    rv = flush(blob);
    if (rv == APR_SUCCESS)
        rv = cib_hasher_end(blob->hasher, digest);
    give_back(blob);
    blob->broken = rv;
    return rv;
}

apr_status_t cib_blob_seal(cib_blob_t *blob)
{
    unsigned char ignored[CIB_SHA256_LEN];
    apr_status_t rv = blob->broken;

    if (rv == APR_SUCCESS && blob->sealed)
        return APR_EINVAL;
    if (rv == APR_SUCCESS && !blob->whole)
        rv = cib_blob_sha256(blob, ignored);
    if (rv == APR_SUCCESS)
        rv = cib_fd_sync(blob->temp.fd);
    blob->broken = rv;
    blob->sealed = rv == APR_SUCCESS;
    return rv;
}

apr_status_t cib_blob_publish(cib_blob_t *blob)
{
    apr_status_t rv;

    if (blob->broken)
        return blob->broken;
    if (!blob->sealed || blob->published)
        return APR_EINVAL;
    rv = cib_tempfile_link(&blob->temp, blob->path);
    if (rv == APR_SUCCESS) {
        blob->published = 1;
        rv = cib_folder_sync(blob->storage, blob->area, blob->build_id, blob->pool);
    }
    blob->broken = rv;
    return rv;
}

void cib_blob_keep(cib_blob_t *blob)
{
    if (blob->broken || !blob->published)
        return;
    blob->published = 0;
    apr_pool_cleanup_run(blob->pool, blob, blob_cleanup);
}

void cib_blob_abandon(cib_blob_t *blob)
{
    apr_pool_cleanup_run(blob->pool, blob, blob_cleanup);
}

const char *cib_blob_name(const cib_blob_t *blob)
{
    return blob->name;
}

apr_int64_t cib_blob_size(const cib_blob_t *blob)
{
    return blob->written + (apr_int64_t)blob->gathered_len;
}

apr_status_t cib_blob_open(apr_file_t **file, apr_int64_t *size, const cib_storage_t *storage,
                           cib_area_e area, const char *name, int sendfile, apr_pool_t *pool)
{
    apr_int64_t build_id;
    const char *path;

    if (cib_name_check(name, 0, &build_id) != APR_SUCCESS)
        return APR_EINVAL;
    path = apr_pstrcat(pool, cib_folder_path(storage, area, build_id, pool), "/", name, NULL);
    return cib_file_open(file, path, sendfile ? APR_FOPEN_SENDFILE_ENABLED : 0, size, pool);
}

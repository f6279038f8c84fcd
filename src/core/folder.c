/* Orphans: files without a row. */
#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "files/cib_tracefile.h"
#include "folder.h"
#include "internal.h"
#include "util/cib_crypto.h"

typedef struct looking_t {
    cib_area_e area;
    apr_int64_t first_id;
    apr_array_header_t *files; /* cib_orphan_t: all, or those of the suspects that are not locked */
    apr_hash_t *suspects;      /* names that no row knew; NULL: all are */
    apr_hash_t *blobs;         /* names that rows know */
    apr_hash_t *builds;        /* ids of those that may have a trace */
    apr_pool_t *pool;
} looking_t;

static apr_status_t note(void *baton, const cib_stored_file_t *file, apr_pool_t *pool)
{
    looking_t *looking = baton;
    cib_orphan_t *noted;

    /* what is not of our making (an NFS client's .nfs..., say) is not ours to judge */
    if (!file->build_id && !file->unfinished)
        return APR_SUCCESS;
    if (looking->suspects && (!apr_hash_get(looking->suspects, file->name, APR_HASH_KEY_STRING) ||
                              cib_stored_file_locked(file)))
        return APR_SUCCESS;
    noted = &APR_ARRAY_PUSH(looking->files, cib_orphan_t);
    noted->name = apr_pstrdup(looking->pool, file->name);
    noted->build_id = file->build_id;
    noted->size = file->size;
    return APR_SUCCESS;
}

static cib_error_t *ask_blobs(cib_db_t *db, looking_t *looking, apr_int64_t to, apr_pool_t *pool)
{
    apr_array_header_t *blobs;

    looking->blobs = apr_hash_make(pool);
    CIB_TRY(cib_q_blob_names(db, looking->first_id, to, &blobs, pool));
    for (int i = 0; i < blobs->nelts; i++)
        apr_hash_set(looking->blobs, APR_ARRAY_IDX(blobs, i, const char *), APR_HASH_KEY_STRING,
                     "");
    return CIB_OK;
}

static cib_error_t *ask_builds(cib_db_t *db, looking_t *looking, apr_int64_t to, apr_pool_t *pool)
{
    apr_array_header_t *ids;

    looking->builds = apr_hash_make(pool);
    CIB_TRY(cib_q_build_ids(db, looking->first_id, to, &ids, pool));
    for (int i = 0; i < ids->nelts; i++)
        apr_hash_set(looking->builds, &APR_ARRAY_IDX(ids, i, apr_int64_t), sizeof(apr_int64_t), "");
    return CIB_OK;
}

static cib_error_t *ask(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    looking_t *looking = baton;
    apr_int64_t to = looking->first_id + CIB_FOLDER_BUILDS;

    if (looking->area == CIB_AREA_ARTIFACTS)
        return ask_blobs(db, looking, to, pool);
    return ask_builds(db, looking, to, pool);
}

static int is_known(const looking_t *looking, const cib_orphan_t *file)
{
    if (!file->build_id)
        return 0;
    if (looking->area == CIB_AREA_ARTIFACTS)
        return apr_hash_get(looking->blobs, file->name, APR_HASH_KEY_STRING) != NULL;
    return apr_hash_get(looking->builds, &file->build_id, sizeof(file->build_id)) != NULL;
}

/* The files that there are, and the rows after the files: one that was unlocked when it was seen
 * had its row by then. */
static cib_error_t *look(const cib_ctx_t *ctx, looking_t *looking)
{
    apr_status_t rv;

    looking->files = apr_array_make(ctx->pool, 64, sizeof(cib_orphan_t));
    rv = cib_storage_walk_folder(ctx->storage, looking->area, looking->first_id, note, looking,
                                 ctx->pool);
    if (APR_STATUS_IS_ENOENT(rv))
        apr_array_clear(looking->files);
    else if (rv != APR_SUCCESS)
        return cib_error_system(ctx->pool, rv, "cannot read a folder of %s", ctx->storage->dir);
    return looking->files->nelts ? cib_read(ctx, ask, looking) : CIB_OK;
}

/* Those of the files that no row knows. */
static void find_unknown(const looking_t *looking, apr_array_header_t *unknown)
{
    for (int i = 0; i < looking->files->nelts; i++) {
        const cib_orphan_t *file = &APR_ARRAY_IDX(looking->files, i, cib_orphan_t);

        if (!is_known(looking, file))
            APR_ARRAY_PUSH(unknown, cib_orphan_t) = *file;
    }
}

/* Looked at twice: mostly no file is unknown, and then none need be opened for its lock, which over
 * a network is slow. */
cib_error_t *cib_folder_orphans(const cib_ctx_t *ctx, cib_area_e area, apr_int64_t first_id,
                                apr_array_header_t **orphans)
{
    looking_t looking = {.area = area, .first_id = first_id, .pool = ctx->pool};
    apr_array_header_t *suspects = apr_array_make(ctx->pool, 4, sizeof(cib_orphan_t));

    *orphans = apr_array_make(ctx->pool, 4, sizeof(cib_orphan_t));
    CIB_TRY(look(ctx, &looking));
    find_unknown(&looking, suspects);
    if (!suspects->nelts)
        return CIB_OK;
    looking.suspects = apr_hash_make(ctx->pool);
    for (int i = 0; i < suspects->nelts; i++)
        apr_hash_set(looking.suspects, APR_ARRAY_IDX(suspects, i, cib_orphan_t).name,
                     APR_HASH_KEY_STRING, "");
    CIB_TRY(look(ctx, &looking));
    find_unknown(&looking, *orphans);
    return CIB_OK;
}

void cib_folder_remove(const cib_ctx_t *ctx, cib_area_e area, const cib_orphan_t *orphan,
                       apr_int64_t *freed)
{
    apr_int64_t bytes = 0;
    apr_status_t rv;

    /* both files of a trace under its lock */
    if (area == CIB_AREA_TRACES && orphan->build_id)
        rv = cib_tracefile_remove(ctx->storage, orphan->build_id, &bytes, ctx->pool);
    else
        rv = cib_storage_remove(ctx->storage, area, orphan->name, &bytes, ctx->pool);
    if (rv != APR_SUCCESS)
        cib_log(ctx, CIB_LOG_WARNING, rv, "CIB0330: cannot remove the orphaned file %s",
                orphan->name);
    else
        *freed += bytes;
}

cib_error_t *cib_folder_list(const cib_ctx_t *ctx, cib_area_e area, apr_array_header_t **first_ids)
{
    apr_status_t rv = cib_storage_folders(ctx->storage, area, first_ids, ctx->pool);

    if (rv != APR_SUCCESS)
        return cib_error_system(ctx->pool, rv, "cannot read %s", ctx->storage->dir);
    return CIB_OK;
}

cib_error_t *cib_folder_draw(const cib_ctx_t *ctx, cib_area_e area, apr_int64_t *first_id)
{
    apr_uint32_t lot;
    apr_status_t rv = cib_random(&lot, sizeof(lot));

    if (rv != APR_SUCCESS)
        return cib_error(ctx->pool, CIB_REASON_INTERNAL, rv, NULL);
    rv = cib_storage_folder_drawn(ctx->storage, area, lot, first_id, ctx->pool);
    if (rv != APR_SUCCESS)
        return cib_error_system(ctx->pool, rv, "cannot read %s", ctx->storage->dir);
    return CIB_OK;
}

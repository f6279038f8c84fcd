/* Artifacts that come: taken whole or not at all. */
#include <ctype.h>
#include <string.h>

#include <apr_strings.h>

#include "core/cib_artifact.h"
#include "files/cib_blob.h"
#include "internal.h"
#include "space.h"
#include "transition.h"
#include "util/cib_crypto.h"

#define ARCHIVE "archive"
#define METADATA "metadata"
/* How often a long upload looks at what is left of the disk. */
#define LOOK_EVERY (16 * 1024 * 1024)

typedef struct part_t {
    cib_upload_t *upload;
    cib_sink_t sink;
    cib_blob_t *blob;
    cib_artifact_t row;
    apr_int64_t looked_at; /* size at the last look */
} part_t;

struct cib_upload_t {
    const cib_ctx_t *ctx;
    const cib_build_t *build;
    part_t *file;     /* what it is about, NULL: not there yet */
    part_t *metadata; /* beside it, or NULL */
    part_t *open;     /* the one that takes bytes, or NULL */
    int replace;
    int is_put;                   /* rows name its files */
    apr_array_header_t *replaced; /* const char *: blobs that nobody names after the commit */
};

static cib_error_t *trouble(const cib_upload_t *upload, apr_status_t rv)
{
    return cib_error_system(upload->ctx->pool, rv,
                            "cannot store an artifact of build %" APR_INT64_T_FMT,
                            upload->build->id);
}

cib_error_t *cib_upload_begin(const cib_ctx_t *ctx, const cib_build_t *build, cib_upload_t **upload)
{
    cib_upload_t *made = apr_pcalloc(ctx->pool, sizeof(*made));

    made->ctx = ctx;
    made->build = build;
    *upload = made;
    return cib_space_check(ctx);
}

/* --- bytes ----------------------------------------------------------------------------------- */

static cib_error_t *look_around(part_t *part)
{
    cib_ctx_t below = cib_ctx_below(part->upload->ctx);

    /* for as long as the upload takes, so in a pool that does not grow with it */
    part->looked_at = part->row.size;
    CIB_TRY(cib_space_check(&below));
    apr_pool_destroy(below.pool);
    return CIB_OK;
}

static cib_error_t *take(void *baton, const char *data, apr_size_t len)
{
    part_t *part = baton;
    const cib_ctx_t *ctx = part->upload->ctx;
    apr_int64_t most = ctx->limits->max_artifact_size;
    apr_status_t rv;

    if (most != CIB_UNLIMITED && (apr_int64_t)len > most - part->row.size)
        return cib_space_too_large(ctx);
    rv = cib_blob_write(part->blob, data, len);
    if (rv != APR_SUCCESS)
        return trouble(part->upload, rv);
    part->row.size += (apr_int64_t)len;
    return part->row.size - part->looked_at >= LOOK_EVERY ? look_around(part) : CIB_OK;
}

/* --- files ----------------------------------------------------------------------------------- */

/* A type as part of a blob's name: its letters. */
static const char *letters_of(const char *type, apr_pool_t *pool)
{
    char *letters = apr_palloc(pool, strlen(type) + 1), *to = letters;

    for (; *type; type++) {
        if (isalpha((unsigned char)*type))
            *to++ = *type;
    }
    *to = '\0';
    return *letters ? letters : "file";
}

/* What the client calls it, without a path, fit to be shown and sent. */
static const char *base_name(const char *filename, apr_pool_t *pool)
{
    const char *name = cib_text_tame(filename, APR_SIZE_MAX, pool);
    apr_size_t len;

    if (!name)
        return "file";
    for (const char *at = name; *at; at++) {
        if (*at == '/' || *at == '\\')
            name = at + 1;
    }
    len = strlen(name);
    /* of a long name its end says what kind of file it is */
    if (len > CIB_SHORT_MAX) {
        name += len - CIB_SHORT_MAX;
        while (((unsigned char)*name & 0xc0) == 0x80)
            name++;
    }
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 ? name : "file";
}

/* Where a file of `type` belongs. */
static part_t **place_of(cib_upload_t *upload, const char *type)
{
    return strcmp(type, METADATA) == 0 ? &upload->metadata : &upload->file;
}

static cib_error_t *begin_part(cib_upload_t *upload, part_t *part)
{
    apr_pool_t *pool = upload->ctx->pool;
    apr_status_t rv = cib_blob_begin(&part->blob, upload->ctx->storage, CIB_AREA_ARTIFACTS,
                                     part->row.build_id, letters_of(part->row.type, pool), pool);

    return rv == APR_SUCCESS ? CIB_OK : trouble(upload, rv);
}

cib_error_t *cib_upload_file(cib_upload_t *upload, const char *type, const char *format,
                             const char *filename, const cib_sink_t **sink)
{
    apr_pool_t *pool = upload->ctx->pool;
    part_t *part = apr_pcalloc(pool, sizeof(*part));

    if (!cib_artifact_type(type))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "artifact_type is not a type");
    if (!cib_artifact_is_format(format))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "artifact_format must be zip, gzip or raw");
    if (*place_of(upload, type))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the file %s comes twice", type);
    part->upload = upload;
    part->sink.write = take;
    part->sink.baton = part;
    part->row.build_id = upload->build->id;
    part->row.type = apr_pstrdup(pool, type);
    part->row.format = apr_pstrdup(pool, format);
    part->row.filename = base_name(filename, pool);
    CIB_TRY(begin_part(upload, part));
    *place_of(upload, type) = part;
    upload->open = part;
    *sink = &part->sink;
    return CIB_OK;
}

cib_error_t *cib_upload_file_end(cib_upload_t *upload)
{
    unsigned char digest[CIB_SHA256_LEN];
    part_t *part = upload->open;
    apr_status_t rv;

    if (!part)
        return CIB_OK;
    upload->open = NULL;
    rv = cib_blob_sha256(part->blob, digest);
    if (rv != APR_SUCCESS)
        return trouble(upload, rv);
    part->row.sha256 = cib_hex(digest, sizeof(digest), upload->ctx->pool);
    part->row.blob = cib_blob_name(part->blob);
    return CIB_OK;
}

/* --- commit ---------------------------------------------------------------------------------- */

/* On disk under its name, though nobody knows that yet. */
static cib_error_t *publish(const cib_upload_t *upload, part_t *part, apr_time_t expire_at)
{
    apr_status_t rv = cib_blob_seal(part->blob);

    if (rv == APR_SUCCESS)
        rv = cib_blob_publish(part->blob);
    if (rv != APR_SUCCESS)
        return trouble(upload, rv);
    part->row.created_at = apr_time_now();
    part->row.expire_at = expire_at;
    return CIB_OK;
}

static int is_archive(const cib_upload_t *upload)
{
    return strcmp(upload->file->row.type, ARCHIVE) == 0;
}

/* Has the row its file? To acknowledge the same bytes once more would be a lie where it has not. */
static int has_file(const part_t *part, const cib_artifact_t *row)
{
    const cib_ctx_t *ctx = part->upload->ctx;
    apr_file_t *file;
    apr_int64_t size;

    if (cib_blob_open(&file, &size, ctx->storage, CIB_AREA_ARTIFACTS, row->blob, 0, ctx->pool) !=
        APR_SUCCESS)
        return 0;
    apr_file_close(file);
    return size == row->size;
}

/* Is it there already? Only what this claim has brought and is still of use stands against it. */
static cib_error_t *is_repeated(cib_db_t *db, const part_t *part, const cib_build_t *build,
                                int *yes, apr_pool_t *pool)
{
    cib_artifact_t *there;

    *yes = 0;
    CIB_TRY(cib_q_artifact(db, build->id, part->row.type, &there, pool));
    if (!there || there->created_at < build->started_at ||
        cib_artifact_expired(there, part->row.created_at) || !has_file(part, there))
        return CIB_OK;
    *yes = strcmp(there->sha256, part->row.sha256) == 0;
    if (*yes)
        return CIB_OK;
    return cib_error(pool, CIB_REASON_DUPLICATE, APR_SUCCESS,
                     "another artifact of the same type already exists");
}

static cib_error_t *put_row(cib_db_t *db, cib_upload_t *upload, part_t *part, apr_pool_t *pool)
{
    const char *old = NULL;

    CIB_TRY(cib_q_artifact_put(db, &part->row, &old, pool));
    if (old)
        APR_ARRAY_PUSH(upload->replaced, const char *) = old;
    return CIB_OK;
}

/* What was said of the former archive does not hold for the new one. */
static cib_error_t *drop_metadata(cib_db_t *db, cib_upload_t *upload, apr_pool_t *pool)
{
    cib_artifact_t *old;

    CIB_TRY(cib_q_artifact(db, upload->build->id, METADATA, &old, pool));
    if (!old)
        return CIB_OK;
    APR_ARRAY_PUSH(upload->replaced, const char *) = old->blob;
    return cib_q_artifact_remove(db, old->build_id, METADATA, pool);
}

static cib_error_t *put_parts(cib_db_t *db, cib_upload_t *upload, const cib_build_t *build,
                              apr_pool_t *pool)
{
    int repeated = 0;

    upload->replaced = apr_array_make(pool, 2, sizeof(const char *));
    upload->is_put = 0;
    if (!upload->replace)
        CIB_TRY(is_repeated(db, upload->file, build, &repeated, pool));
    if (repeated)
        return CIB_OK;
    upload->is_put = 1;
    CIB_TRY(put_row(db, upload, upload->file, pool));
    if (!is_archive(upload))
        return CIB_OK;
    return upload->metadata ? put_row(db, upload, upload->metadata, pool)
                            : drop_metadata(db, upload, pool);
}

static cib_error_t *put_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_upload_t *upload = baton;
    cib_build_t *build;

    CIB_TRY(cib_transition_lock(db, upload->build->id, &build, pool));
    if (!build || build->status != CIB_RUNNING || build->claim != upload->build->claim)
        return cib_error(pool, CIB_REASON_NOT_RUNNING, APR_SUCCESS, "Build is not running!");
    return put_parts(db, upload, build, pool);
}

typedef struct named_t {
    apr_int64_t build_id;
    const char *blob;
    int known; /* 1, 0, or -1: nobody can say now */
} named_t;

static cib_error_t *is_named(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    named_t *named = baton;
    cib_build_t *build;

    CIB_TRY(cib_transition_lock(db, named->build_id, &build, pool));
    return cib_q_blob_known(db, named->blob, &named->known, pool);
}

/* The commit failed, or so it seems: a connection that broke after COMMIT was sent leaves it open.
 * Rows that are there after all must not lose their files; files that nobody names are found as
 * orphans, so in doubt they stay. Asked under the lock that a commit still at work holds. */
static int went_well(const cib_upload_t *upload, const cib_error_t *err)
{
    named_t named = {.build_id = upload->build->id, .blob = upload->file->row.blob};

    if (err->reason == CIB_REASON_NOT_RUNNING || err->reason == CIB_REASON_DUPLICATE)
        return 0;
    if (cib_write(upload->ctx, is_named, &named))
        named.known = -1;
    return named.known;
}

/* Keep what rows name now, and drop the rest before anybody is answered. */
static void settle(const cib_upload_t *upload, int well)
{
    int keeps_file = well && upload->is_put;

    if (keeps_file)
        cib_blob_keep(upload->file->blob);
    else
        cib_blob_abandon(upload->file->blob);
    if (upload->metadata && keeps_file && is_archive(upload))
        cib_blob_keep(upload->metadata->blob);
    else if (upload->metadata)
        cib_blob_abandon(upload->metadata->blob);
}

static cib_error_t *commit(cib_upload_t *upload)
{
    cib_error_t *err = cib_write(upload->ctx, put_rows, upload);
    int well = err ? went_well(upload, err) : 1;

    settle(upload, well);
    if (well != 1)
        return err;
    cib_blobs_remove(upload->ctx, upload->replaced, NULL);
    return CIB_OK;
}

cib_error_t *cib_upload_commit(cib_upload_t *upload, const char *sha256, apr_time_t expire_at,
                               int replace)
{
    apr_pool_t *pool = upload->ctx->pool;

    if (!upload->file)
        return cib_error(pool, CIB_REASON_MISSING, APR_SUCCESS, "Missing artifacts file!");
    CIB_TRY(cib_upload_file_end(upload));
    if (sha256 && strcasecmp(sha256, upload->file->row.sha256) != 0)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the file's SHA-256 is not the one announced");
    upload->replace = replace;
    CIB_TRY(publish(upload, upload->file, expire_at));
    if (upload->metadata)
        CIB_TRY(publish(upload, upload->metadata, expire_at));
    return commit(upload);
}

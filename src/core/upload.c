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

#define METADATA "metadata"
#define TYPE_MAX 64
/* How often a long upload looks at what is left of the disk. */
#define LOOK_EVERY (16 * 1024 * 1024)

typedef struct part_t {
    cib_upload_t *upload;
    cib_sink_t sink;
    cib_blob_t *blob;
    cib_sha256_t *sha;
    cib_artifact_t row;
    apr_int64_t looked_at; /* size at the last look */
} part_t;

struct cib_upload_t {
    const cib_ctx_t *ctx;
    const cib_build_t *build;
    apr_array_header_t *parts;    /* part_t * */
    part_t *open;                 /* the one that takes bytes, or NULL */
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
    made->parts = apr_array_make(ctx->pool, 2, sizeof(part_t *));
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
    if (rv == APR_SUCCESS)
        rv = cib_sha256_update(part->sha, data, len);
    if (rv != APR_SUCCESS)
        return trouble(part->upload, rv);
    part->row.size += (apr_int64_t)len;
    return part->row.size - part->looked_at >= LOOK_EVERY ? look_around(part) : CIB_OK;
}

/* --- files ----------------------------------------------------------------------------------- */

static int is_type(const char *type)
{
    apr_size_t len = strlen(type);

    return len >= 1 && len <= TYPE_MAX &&
           strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static int is_format(const char *format)
{
    return strcmp(format, "zip") == 0 || strcmp(format, "gzip") == 0 || strcmp(format, "raw") == 0;
}

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

static int is_there(const cib_upload_t *upload, const char *type)
{
    for (int i = 0; i < upload->parts->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(upload->parts, i, part_t *)->row.type, type) == 0)
            return 1;
    }
    return 0;
}

cib_error_t *cib_upload_file(cib_upload_t *upload, const char *type, const char *format,
                             const char *filename, const cib_sink_t **sink)
{
    apr_pool_t *pool = upload->ctx->pool;
    part_t *part = apr_pcalloc(pool, sizeof(*part));
    apr_status_t rv;

    if (!is_type(type))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "artifact_type is not a type");
    if (!is_format(format))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "artifact_format must be zip, gzip or raw");
    if (is_there(upload, type))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the file %s comes twice", type);
    part->upload = upload;
    part->sink.write = take;
    part->sink.baton = part;
    part->row.build_id = upload->build->id;
    part->row.type = apr_pstrdup(pool, type);
    part->row.format = apr_pstrdup(pool, format);
    part->row.filename = base_name(filename, pool);
    rv = cib_blob_begin(&part->blob, upload->ctx->storage, CIB_AREA_ARTIFACTS, upload->build->id,
                        letters_of(type, pool), pool);
    if (rv == APR_SUCCESS)
        rv = cib_sha256_begin(&part->sha, pool);
    if (rv != APR_SUCCESS)
        return trouble(upload, rv);
    APR_ARRAY_PUSH(upload->parts, part_t *) = part;
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
    rv = cib_sha256_end(part->sha, digest);
    if (rv != APR_SUCCESS)
        return trouble(upload, rv);
    part->row.sha256 = cib_hex(digest, sizeof(digest), upload->ctx->pool);
    part->row.blob = cib_blob_name(part->blob);
    return CIB_OK;
}

/* --- commit ---------------------------------------------------------------------------------- */

/* The file that the upload is about: any but the metadata. */
static const part_t *main_part(const cib_upload_t *upload)
{
    for (int i = 0; i < upload->parts->nelts; i++) {
        const part_t *part = APR_ARRAY_IDX(upload->parts, i, part_t *);

        if (strcmp(part->row.type, METADATA) != 0)
            return part;
    }
    return NULL;
}

/* All on disk under their names, though nobody knows these yet. */
static cib_error_t *publish(cib_upload_t *upload, apr_time_t expire_at)
{
    apr_time_t now = apr_time_now();

    for (int i = 0; i < upload->parts->nelts; i++) {
        part_t *part = APR_ARRAY_IDX(upload->parts, i, part_t *);
        apr_status_t rv = cib_blob_seal(part->blob);

        if (rv == APR_SUCCESS)
            rv = cib_blob_publish(part->blob);
        if (rv != APR_SUCCESS)
            return trouble(upload, rv);
        part->row.created_at = now;
        part->row.expire_at = expire_at;
    }
    return CIB_OK;
}

static cib_error_t *put_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_upload_t *upload = baton;
    cib_build_t *build;

    upload->replaced = apr_array_make(pool, 2, sizeof(const char *));
    CIB_TRY(cib_transition_lock(db, upload->build->id, &build, pool));
    if (!build || build->status != CIB_RUNNING || build->claim != upload->build->claim)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Build is not running!");
    for (int i = 0; i < upload->parts->nelts; i++) {
        const part_t *part = APR_ARRAY_IDX(upload->parts, i, part_t *);
        const char *old = NULL;

        CIB_TRY(cib_q_artifact_put(db, &part->row, &old, pool));
        if (old)
            APR_ARRAY_PUSH(upload->replaced, const char *) = old;
    }
    return CIB_OK;
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
    named_t named = {.build_id = upload->build->id,
                     .blob = APR_ARRAY_IDX(upload->parts, 0, part_t *)->row.blob};

    if (err->reason == CIB_REASON_FORBIDDEN)
        return 0;
    if (cib_write(upload->ctx, is_named, &named))
        named.known = -1;
    return named.known;
}

static void keep(const cib_upload_t *upload)
{
    for (int i = 0; i < upload->parts->nelts; i++)
        cib_blob_keep(APR_ARRAY_IDX(upload->parts, i, part_t *)->blob);
}

cib_error_t *cib_upload_commit(cib_upload_t *upload, const char *sha256, apr_time_t expire_at)
{
    apr_pool_t *pool = upload->ctx->pool;
    const part_t *part = main_part(upload);
    cib_error_t *err;
    int well;

    if (!part)
        return cib_error(pool, CIB_REASON_MISSING, APR_SUCCESS, "Missing artifacts file!");
    CIB_TRY(cib_upload_file_end(upload));
    if (sha256 && strcasecmp(sha256, part->row.sha256) != 0)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the file's SHA-256 is not the one announced");
    CIB_TRY(publish(upload, expire_at));
    err = cib_write(upload->ctx, put_rows, upload);
    well = err ? went_well(upload, err) : 1;
    if (well)
        keep(upload);
    if (well != 1)
        return err;
    cib_blobs_remove(upload->ctx, upload->replaced, NULL);
    return CIB_OK;
}

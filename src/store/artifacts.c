/* Artifacts: which files a build has. */
#include "internal.h"
#include "store/cib_questions.h"

#define COLUMNS "build_id, type, format, filename, size, sha256, blob, created_at, expire_at"
#define COLUMN_COUNT 9

static const cib_sql_t one = {
    "SELECT " COLUMNS " FROM artifacts WHERE build_id = %lld AND type = %s",
    NULL,
};

static const cib_sql_t all_of = {
    "SELECT " COLUMNS " FROM artifacts WHERE build_id = %lld ORDER BY type",
    NULL,
};

/* Two uploads for one build come one after the other; and the build must be there. */
static const cib_sql_t lock_build = {
    "SELECT id FROM builds WHERE id = %lld",
    "SELECT id FROM builds WHERE id = %lld FOR NO KEY UPDATE",
};

static const cib_sql_t put = {
    "INSERT INTO artifacts (" COLUMNS ") "
    "VALUES (%lld, %s, %s, %s, %lld, %s, %s, %lld, %lld) "
    "ON CONFLICT (build_id, type) DO UPDATE SET format = excluded.format, "
    "filename = excluded.filename, size = excluded.size, sha256 = excluded.sha256, "
    "blob = excluded.blob, created_at = excluded.created_at, expire_at = excluded.expire_at",
    NULL,
};

static const cib_sql_t remove_all = {
    "DELETE FROM artifacts WHERE build_id = %lld RETURNING blob",
    NULL,
};

static const cib_sql_t remove_one = {
    "DELETE FROM artifacts WHERE build_id = %lld AND type = %s",
    NULL,
};

static const cib_sql_t known_blob = {
    "SELECT build_id FROM artifacts WHERE blob = %s",
    NULL,
};

static const cib_sql_t page = {
    "SELECT " COLUMNS " FROM artifacts WHERE (build_id, type) > (%lld, %s) "
    "ORDER BY build_id, type LIMIT %lld",
    NULL,
};

static cib_artifact_t *artifact_of(const cib_rows_t *rows, int row, apr_pool_t *pool)
{
    cib_artifact_t *artifact = apr_pcalloc(pool, sizeof(*artifact));

    artifact->build_id = cib_row_int(rows, row, 0);
    artifact->type = cib_row_text(rows, row, 1);
    artifact->format = cib_row_text(rows, row, 2);
    artifact->filename = cib_row_text(rows, row, 3);
    artifact->size = cib_row_int(rows, row, 4);
    artifact->sha256 = cib_row_text(rows, row, 5);
    artifact->blob = cib_row_text(rows, row, 6);
    artifact->created_at = cib_row_int(rows, row, 7);
    artifact->expire_at = cib_row_int(rows, row, 8);
    return artifact;
}

static cib_error_t *select_all(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                               apr_size_t nargs, apr_array_header_t **artifacts, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, args, nargs, COLUMN_COUNT, &rows, pool));
    *artifacts = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_artifact_t *));
    for (int i = 0; i < cib_rows_count(rows); i++)
        APR_ARRAY_PUSH(*artifacts, cib_artifact_t *) = artifact_of(rows, i, pool);
    return CIB_OK;
}

cib_error_t *cib_q_artifact(cib_db_t *db, apr_int64_t build_id, const char *type,
                            cib_artifact_t **artifact, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &one, CIB_ARGS(CIB_INT(build_id), CIB_TEXT(type)), COLUMN_COUNT,
                          &rows, pool));
    *artifact = cib_rows_count(rows) ? artifact_of(rows, 0, pool) : NULL;
    return CIB_OK;
}

cib_error_t *cib_q_artifacts(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **artifacts,
                             apr_pool_t *pool)
{
    return select_all(db, &all_of, CIB_ARGS(CIB_INT(build_id)), artifacts, pool);
}

cib_error_t *cib_q_artifact_put(cib_db_t *db, const cib_artifact_t *artifact, const char **old_blob,
                                apr_pool_t *pool)
{
    cib_artifact_t *old;
    apr_int64_t id;

    CIB_TRY(cib_db_number(db, &lock_build, CIB_ARGS(CIB_INT(artifact->build_id)), 0, &id, pool));
    if (!id)
        return cib_error(pool, CIB_REASON_NO_RECORD, APR_SUCCESS, NULL);
    CIB_TRY(cib_q_artifact(db, artifact->build_id, artifact->type, &old, pool));
    *old_blob = old ? old->blob : NULL;
    return cib_db_change(db, &put,
                         CIB_ARGS(CIB_INT(artifact->build_id), CIB_TEXT(artifact->type),
                                  CIB_TEXT(artifact->format), CIB_TEXT(artifact->filename),
                                  CIB_INT(artifact->size), CIB_TEXT(artifact->sha256),
                                  CIB_TEXT(artifact->blob), CIB_INT(artifact->created_at),
                                  cib_arg_nonzero(artifact->expire_at)),
                         NULL, pool);
}

cib_error_t *cib_q_artifacts_remove(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **blobs,
                                    apr_pool_t *pool)
{
    return cib_db_texts(db, &remove_all, CIB_ARGS(CIB_INT(build_id)), blobs, pool);
}

cib_error_t *cib_q_blob_known(cib_db_t *db, const char *blob, int *known, apr_pool_t *pool)
{
    apr_int64_t build_id;

    CIB_TRY(cib_db_number(db, &known_blob, CIB_ARGS(CIB_TEXT(blob)), 0, &build_id, pool));
    *known = build_id != 0;
    return CIB_OK;
}

cib_error_t *cib_q_artifacts_after(cib_db_t *db, apr_int64_t build_id, const char *type, int limit,
                                   apr_array_header_t **artifacts, apr_pool_t *pool)
{
    return select_all(db, &page,
                      CIB_ARGS(CIB_INT(build_id), CIB_TEXT(type ? type : ""), cib_arg_limit(limit)),
                      artifacts, pool);
}

cib_error_t *cib_q_artifact_remove(cib_db_t *db, apr_int64_t build_id, const char *type,
                                   apr_pool_t *pool)
{
    return cib_db_change(db, &remove_one, CIB_ARGS(CIB_INT(build_id), CIB_TEXT(type)), NULL, pool);
}

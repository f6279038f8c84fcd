/* Writing a backup: the rows of one moment, put aside; then the files, by these rows. */
#include "core/cib_backup.h"

#include <stdarg.h>
#include <string.h>

#include <apr_strings.h>

#include "core/cib_build.h"
#include "files/cib_blob.h"
#include "files/cib_tracefile.h"
#include "internal.h"
#include "line.h"
#include "manifest.h"
#include "store/cib_schema.h"

#define BUFFER (1024 * 1024)

/* Where the rows of a table are in the spool. */
typedef struct stretch_t {
    const cib_dump_table_t *table;
    apr_int64_t begin, end;
} stretch_t;

typedef struct backup_t {
    const cib_ctx_t *ctx; /* its pool is cleared for each row */
    const cib_backup_job_t *job;
    apr_pool_t *pool; /* of the whole backup */
    cib_archive_t *archive;
    char *buffer;
    cib_spool_t *rows;             /* as they were at the moment */
    cib_spool_t *kept;             /* rows that were made sure of: of artifacts, then of traces */
    cib_spool_t *copy;             /* of a trace that is being written to */
    apr_array_header_t *stretches; /* stretch_t */
    cib_manifest_t manifest;
    cib_backup_report_t *report;
    apr_int64_t bytes;
} backup_t;

/* --- rows ------------------------------------------------------------------------------------ */

typedef struct dumping_t {
    backup_t *backup;
    const cib_dump_table_t *table;
    apr_int64_t rows;
} dumping_t;

static cib_error_t *spool_row(void *baton, const char *const *cells, apr_pool_t *pool)
{
    dumping_t *dumping = baton;

    dumping->rows++;
    return cib_line_of_row(dumping->backup->rows, dumping->table, cells, pool);
}

static cib_error_t *dump_table(backup_t *backup, cib_db_t *db, const cib_dump_table_t *table,
                               apr_pool_t *pool)
{
    dumping_t dumping = {backup, table, 0};
    stretch_t *stretch = &APR_ARRAY_PUSH(backup->stretches, stretch_t);
    apr_int64_t last_id;

    stretch->table = table;
    stretch->begin = cib_spool_size(backup->rows);
    CIB_TRY(cib_dump_rows(db, table, spool_row, &dumping, pool));
    stretch->end = cib_spool_size(backup->rows);
    if (strcmp(table->name, "builds") == 0)
        backup->manifest.builds = dumping.rows;
    if (!table->numbered)
        return CIB_OK;
    CIB_TRY(cib_dump_last_id(db, table, &last_id, pool));
    apr_hash_set(backup->manifest.last_ids, table->name, APR_HASH_KEY_STRING,
                 apr_pmemdup(backup->pool, &last_id, sizeof(last_id)));
    return CIB_OK;
}

/* It may be run a second time: then from the start. */
static cib_error_t *dump(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    backup_t *backup = baton;
    apr_status_t rv = cib_spool_clear(backup->rows);

    if (rv != APR_SUCCESS)
        return cib_error_system(pool, rv, "cannot spool the rows");
    backup->stretches->nelts = 0;
    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++)
        CIB_TRY(dump_table(backup, db, table, pool));
    return CIB_OK;
}

static const stretch_t *stretch_of(const backup_t *backup, const char *table)
{
    for (int i = 0; i < backup->stretches->nelts; i++) {
        const stretch_t *stretch = &APR_ARRAY_IDX(backup->stretches, i, stretch_t);

        if (strcmp(stretch->table->name, table) == 0)
            return stretch;
    }
    return NULL;
}

/* A cell by its column's name; "" for SQL's NULL. */
static const char *text_of(const cib_dump_table_t *table, const char *const *cells,
                           const char *column)
{
    int i = 0;

    while (i < table->count && strcmp(table->columns[i].name, column) != 0)
        i++;
    return i < table->count && cells[i] ? cells[i] : "";
}

static apr_int64_t number_of(const cib_dump_table_t *table, const char *const *cells,
                             const char *column)
{
    return apr_atoi64(text_of(table, cells, column));
}

/* --- members --------------------------------------------------------------------------------- */

/* Something is not as it should be in what is backed up. */
static void fault(backup_t *backup, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void fault(backup_t *backup, apr_status_t rv, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    cib_log(backup->ctx, CIB_LOG_WARNING, rv, "%s", apr_pvsprintf(backup->ctx->pool, fmt, args));
    va_end(args);
    backup->report->faults++;
}

static cib_error_t *tell_progress(backup_t *backup, apr_size_t more)
{
    const cib_backup_job_t *job = backup->job;

    backup->bytes += (apr_int64_t)more;
    if (!job->progress || !job->progress(job->baton, backup->report->builds,
                                         backup->report->artifacts, backup->bytes))
        return CIB_OK;
    return cib_error(backup->pool, CIB_REASON_CONFLICT, APR_SUCCESS, "interrupted");
}

/* `*short_by`: bytes that could not be read, for which zeros stand. */
static cib_error_t *copy_file(backup_t *backup, apr_file_t *file, apr_int64_t size,
                              apr_int64_t *short_by, apr_status_t *why)
{
    *short_by = 0;
    *why = APR_SUCCESS;
    while (size > 0) {
        apr_size_t wanted = size < BUFFER ? (apr_size_t)size : BUFFER, got = 0;

        if (*why == APR_SUCCESS)
            *why = apr_file_read_full(file, backup->buffer, wanted, &got);
        if (got < wanted) {
            memset(backup->buffer + got, 0, wanted - got);
            *short_by += (apr_int64_t)(wanted - got);
        }
        CIB_TRY(cib_archive_write(backup->archive, backup->buffer, wanted));
        CIB_TRY(tell_progress(backup, wanted));
        size -= (apr_int64_t)wanted;
    }
    return CIB_OK;
}

static cib_error_t *copy_spool(backup_t *backup, cib_spool_t *spool, apr_int64_t begin,
                               apr_int64_t end)
{
    while (begin < end) {
        apr_int64_t left = end - begin;
        apr_size_t wanted = left < BUFFER ? (apr_size_t)left : BUFFER, got;
        apr_status_t rv = cib_spool_read(spool, begin, backup->buffer, wanted, &got);

        if (rv == APR_SUCCESS && got < wanted)
            rv = APR_EOF;
        if (rv != APR_SUCCESS)
            return cib_error_system(backup->pool, rv, "cannot read what was spooled");
        CIB_TRY(cib_archive_write(backup->archive, backup->buffer, wanted));
        begin += (apr_int64_t)wanted;
    }
    return CIB_OK;
}

static cib_error_t *put_stretch(backup_t *backup, const char *name, cib_spool_t *spool,
                                apr_int64_t begin, apr_int64_t end)
{
    CIB_TRY(
        cib_archive_member(backup->archive, name, end - begin, 0600, backup->manifest.created_at));
    CIB_TRY(copy_spool(backup, spool, begin, end));
    return cib_archive_member_end(backup->archive, NULL);
}

static cib_error_t *put_manifest(backup_t *backup)
{
    const char *text = cib_manifest_text(&backup->manifest, backup->ctx->pool);

    CIB_TRY(cib_archive_member(backup->archive, CIB_MANIFEST, (apr_int64_t)strlen(text), 0600,
                               backup->manifest.created_at));
    CIB_TRY(cib_archive_write(backup->archive, text, strlen(text)));
    return cib_archive_member_end(backup->archive, NULL);
}

/* --- artifacts ------------------------------------------------------------------------------- */

typedef struct artifact_t {
    const cib_dump_table_t *table;
    const char *cells[CIB_DUMP_COLUMNS_MAX];
    int there; /* in the database, when it was last asked */
    apr_int64_t build_id;
    const char *type;
    const char *blob;
} artifact_t;

static cib_error_t *take_cells(void *baton, const char *const *cells, apr_pool_t *pool)
{
    artifact_t *artifact = baton;

    artifact->there = 1;
    for (int i = 0; i < artifact->table->count; i++)
        artifact->cells[i] = cells[i];
    artifact->build_id = number_of(artifact->table, cells, "build_id");
    artifact->type = text_of(artifact->table, cells, "type");
    artifact->blob = text_of(artifact->table, cells, "blob");
    return CIB_OK;
}

static cib_error_t *ask_again(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    artifact_t *artifact = baton;

    artifact->there = 0;
    return cib_dump_artifact(db, artifact->build_id, artifact->type, take_cells, artifact, pool);
}

/* Open the file of the row, or of the one that has taken its place. `*file` NULL: there is none. */
static cib_error_t *open_artifact(backup_t *backup, artifact_t *artifact, apr_file_t **file,
                                  apr_int64_t *size)
{
    const cib_ctx_t *ctx = backup->ctx;

    for (;;) {
        const char *blob = artifact->blob;
        apr_status_t rv =
            cib_blob_open(file, size, ctx->storage, CIB_AREA_ARTIFACTS, blob, 0, ctx->pool);

        if (rv == APR_SUCCESS)
            return CIB_OK;
        *file = NULL;
        CIB_TRY(cib_read(ctx, ask_again, artifact));
        if (!artifact->there)
            return CIB_OK;
        if (strcmp(artifact->blob, blob) == 0) {
            fault(backup, rv,
                  "CIB0340: build %" APR_INT64_T_FMT
                  ": the %s file %s is left out, it cannot be opened",
                  artifact->build_id, artifact->type, blob);
            return CIB_OK;
        }
    }
}

static void judge_artifact(backup_t *backup, const artifact_t *artifact, apr_int64_t short_by,
                           apr_status_t why, const char *sha256)
{
    if (short_by)
        fault(backup, why,
              "CIB0341: build %" APR_INT64_T_FMT ": zeros stand for %" APR_INT64_T_FMT
              " bytes of the %s file %s that cannot be read",
              artifact->build_id, short_by, artifact->type, artifact->blob);
    else if (strcmp(sha256, text_of(artifact->table, artifact->cells, "sha256")) != 0)
        fault(backup, APR_SUCCESS,
              "CIB0342: build %" APR_INT64_T_FMT ": the %s file %s is damaged, and taken as it is",
              artifact->build_id, artifact->type, artifact->blob);
}

/* The row goes to those that are kept when its file is in the archive. */
static cib_error_t *put_artifact(backup_t *backup, const artifact_t *artifact, apr_file_t *file,
                                 apr_int64_t size)
{
    apr_pool_t *pool = backup->ctx->pool;
    const char *name =
        cib_storage_member(CIB_AREA_ARTIFACTS, artifact->build_id, artifact->blob, pool);
    apr_time_t created_at = number_of(artifact->table, artifact->cells, "created_at");
    apr_int64_t short_by;
    const char *sha256;
    apr_status_t why;

    CIB_TRY(cib_archive_member(backup->archive, name, size, 0640, created_at));
    CIB_TRY(copy_file(backup, file, size, &short_by, &why));
    CIB_TRY(cib_archive_member_end(backup->archive, &sha256));
    judge_artifact(backup, artifact, short_by, why, sha256);
    backup->report->artifacts++;
    return cib_line_of_row(backup->kept, artifact->table, artifact->cells, pool);
}

static cib_error_t *take_artifact(backup_t *backup, const cib_dump_table_t *table, const char *line,
                                  apr_size_t len)
{
    artifact_t artifact = {.table = table};
    apr_pool_t *pool = backup->ctx->pool;
    apr_file_t *file;
    apr_int64_t size;

    CIB_TRY(cib_line_to_row(table, line, len, artifact.cells, pool));
    CIB_TRY(take_cells(&artifact, artifact.cells, pool));
    CIB_TRY(open_artifact(backup, &artifact, &file, &size));
    return file ? put_artifact(backup, &artifact, file, size) : CIB_OK;
}

/* --- traces ---------------------------------------------------------------------------------- */

static void unreadable(backup_t *backup, apr_status_t rv, apr_int64_t id)
{
    fault(backup, rv,
          "CIB0344: build %" APR_INT64_T_FMT ": its trace is left out, it cannot be read", id);
}

static cib_error_t *keep_trace(backup_t *backup, apr_int64_t id, const cib_trace_state_t *state)
{
    return cib_line_of_trace(backup->kept, id, state, backup->ctx->pool);
}

static cib_error_t *begin_log(backup_t *backup, apr_int64_t id, const cib_trace_state_t *state)
{
    apr_pool_t *pool = backup->ctx->pool;
    const char *name = apr_psprintf(pool, "%" APR_INT64_T_FMT ".log", id);

    return cib_archive_member(backup->archive, cib_storage_member(CIB_AREA_TRACES, id, name, pool),
                              state->stored, 0640, backup->manifest.created_at);
}

/* Of a build that has ended: nobody begins its trace anew. */
static cib_error_t *put_trace(backup_t *backup, apr_int64_t id, apr_file_t *log,
                              const cib_trace_state_t *state)
{
    apr_int64_t short_by;
    apr_status_t why;

    CIB_TRY(begin_log(backup, id, state));
    CIB_TRY(copy_file(backup, log, state->stored, &short_by, &why));
    CIB_TRY(cib_archive_member_end(backup->archive, NULL));
    if (short_by)
        fault(backup, why,
              "CIB0343: build %" APR_INT64_T_FMT ": zeros stand for %" APR_INT64_T_FMT
              " bytes of its trace that cannot be read",
              id, short_by);
    return keep_trace(backup, id, state);
}

/* Put the bytes aside. `*rv` APR_EOF: there are not as many as there were a moment ago. */
static cib_error_t *spool_log(backup_t *backup, apr_file_t *log, apr_int64_t size, apr_status_t *rv)
{
    *rv = cib_spool_clear(backup->copy);
    while (size > 0 && *rv == APR_SUCCESS) {
        apr_size_t part = size < BUFFER ? (apr_size_t)size : BUFFER;

        *rv = apr_file_read_full(log, backup->buffer, part, NULL);
        if (*rv == APR_SUCCESS)
            *rv = cib_spool_write(backup->copy, backup->buffer, part);
        CIB_TRY(tell_progress(backup, part));
        size -= (apr_int64_t)part;
    }
    return CIB_OK;
}

/* Of a build that may be written to: the bytes count if the state is of the same claim after they
 * were read. If it is not, they have come to nothing, as what a claim leaves behind does. */
static cib_error_t *put_live_trace(backup_t *backup, apr_int64_t id, apr_file_t *log,
                                   const cib_trace_state_t *state)
{
    cib_trace_state_t after = {0};
    apr_status_t rv, looked;

    CIB_TRY(spool_log(backup, log, state->stored, &rv));
    looked = cib_tracefile_stat(backup->ctx->storage, id, &after, backup->ctx->pool);
    if (APR_STATUS_IS_ENOENT(looked) || (looked == APR_SUCCESS && after.claim != state->claim))
        return CIB_OK;
    if (rv == APR_SUCCESS)
        rv = looked;
    if (rv != APR_SUCCESS) {
        unreadable(backup, rv, id);
        return CIB_OK;
    }
    CIB_TRY(begin_log(backup, id, state));
    CIB_TRY(copy_spool(backup, backup->copy, 0, state->stored));
    CIB_TRY(cib_archive_member_end(backup->archive, NULL));
    return keep_trace(backup, id, state);
}

static cib_error_t *put_trace_of(backup_t *backup, apr_int64_t id, apr_int64_t claim, int ended)
{
    cib_trace_state_t state;
    apr_file_t *log;
    apr_status_t rv = cib_tracefile_take(&log, backup->ctx->storage, id, &state, backup->ctx->pool);

    if (APR_STATUS_IS_ENOENT(rv))
        return CIB_OK;
    if (rv != APR_SUCCESS) {
        unreadable(backup, rv, id);
        return CIB_OK;
    }
    /* what a claim after the row's has begun is no part of what the rows tell */
    if (state.claim > claim)
        return CIB_OK;
    if (state.stored == 0)
        return state.received ? keep_trace(backup, id, &state) : CIB_OK;
    return ended ? put_trace(backup, id, log, &state) : put_live_trace(backup, id, log, &state);
}

static cib_error_t *take_trace(backup_t *backup, const cib_dump_table_t *table, const char *line,
                               apr_size_t len)
{
    const char *cells[CIB_DUMP_COLUMNS_MAX];
    apr_int64_t claim;

    CIB_TRY(cib_line_to_row(table, line, len, cells, backup->ctx->pool));
    backup->report->builds++;
    CIB_TRY(tell_progress(backup, 0));
    claim = number_of(table, cells, "claim");
    if (number_of(table, cells, "erased_at") || !claim)
        return CIB_OK;
    return put_trace_of(backup, number_of(table, cells, "id"), claim,
                        cib_status_ended(cib_status_parse(text_of(table, cells, "status"))));
}

/* --- all ------------------------------------------------------------------------------------- */

typedef cib_error_t *(*row_fn)(backup_t *backup, const cib_dump_table_t *table, const char *line,
                               apr_size_t len);

static cib_error_t *for_each_row(backup_t *backup, const char *table, row_fn each)
{
    const stretch_t *stretch = stretch_of(backup, table);
    apr_int64_t at = stretch ? stretch->begin : 0;

    while (stretch && at < stretch->end) {
        const char *line;
        apr_size_t len;
        apr_status_t rv = cib_spool_line(backup->rows, &at, &line, &len);

        if (rv != APR_SUCCESS)
            return cib_error_system(backup->pool, rv, "cannot read what was spooled");
        CIB_TRY(each(backup, stretch->table, line, len));
        apr_pool_clear(backup->ctx->pool);
    }
    return CIB_OK;
}

/* The rows of artifacts are those that were kept. */
static cib_error_t *put_tables(backup_t *backup, apr_int64_t artifacts_end)
{
    for (int i = 0; i < backup->stretches->nelts; i++) {
        const stretch_t *stretch = &APR_ARRAY_IDX(backup->stretches, i, stretch_t);
        const char *name =
            apr_pstrcat(backup->ctx->pool, "database/", stretch->table->name, ".jsonl", NULL);

        if (strcmp(stretch->table->name, "artifacts") == 0)
            CIB_TRY(put_stretch(backup, name, backup->kept, 0, artifacts_end));
        else
            CIB_TRY(put_stretch(backup, name, backup->rows, stretch->begin, stretch->end));
    }
    return put_stretch(backup, CIB_TRACE_ROWS, backup->kept, artifacts_end,
                       cib_spool_size(backup->kept));
}

static cib_error_t *run(backup_t *backup)
{
    const cib_ctx_t *ctx = backup->ctx;
    apr_int64_t artifacts_end;

    CIB_TRY(cib_store_snapshot(ctx->store, ctx->source, dump, backup, ctx->pool));
    CIB_TRY(cib_archive_begin(&backup->archive, backup->job->fd, backup->job->pack,
                              backup->job->spools[3], backup->pool));
    CIB_TRY(put_manifest(backup));
    CIB_TRY(for_each_row(backup, "artifacts", take_artifact));
    artifacts_end = cib_spool_size(backup->kept);
    CIB_TRY(for_each_row(backup, "builds", take_trace));
    CIB_TRY(put_tables(backup, artifacts_end));
    CIB_TRY(cib_archive_finish(backup->archive));
    backup->report->bytes = cib_archive_bytes(backup->archive);
    return CIB_OK;
}

cib_error_t *cib_backup(const cib_ctx_t *ctx, const cib_backup_job_t *job,
                        cib_backup_report_t *report)
{
    cib_ctx_t below = cib_ctx_below(ctx);
    backup_t backup = {.ctx = &below,
                       .job = job,
                       .pool = ctx->pool,
                       .rows = job->spools[0],
                       .kept = job->spools[1],
                       .copy = job->spools[2],
                       .report = report};

    memset(report, 0, sizeof(*report));
    backup.buffer = apr_palloc(ctx->pool, BUFFER);
    backup.stretches = apr_array_make(ctx->pool, 16, sizeof(stretch_t));
    backup.manifest.schema = cib_schema_version();
    backup.manifest.driver = ctx->storage->driver;
    backup.manifest.id = ctx->storage->id;
    memcpy(backup.manifest.secret, ctx->storage->secret, CIB_SECRET_LEN);
    backup.manifest.created_at = apr_time_now();
    backup.manifest.last_ids = apr_hash_make(ctx->pool);
    CIB_TRY(run(&backup));
    apr_pool_destroy(below.pool);
    return CIB_OK;
}

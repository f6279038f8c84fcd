/* Reading a backup: files go to their places as they come, rows are put aside; nothing of it counts
 * before the sums have been seen to be right. */
#include "core/cib_backup.h"

#include <string.h>

#include <apr_strings.h>

#include "files/cib_tracefile.h"
#include "internal.h"
#include "line.h"
#include "manifest.h"
#include "store/cib_dump.h"
#include "store/cib_schema.h"

/* How often somebody is told of how far it is, while rows are put in. */
#define ROWS_AT_ONCE 500

typedef struct stretch_t {
    const cib_dump_table_t *table; /* NULL: what is to be known of traces */
    apr_int64_t begin, end;
} stretch_t;

struct cib_restore_t {
    apr_pool_t *pool;
    apr_pool_t *row_pool; /* cleared for each member, and for each row */
    cib_unarchive_t *archive;
    cib_spool_t *rows;
    apr_array_header_t *stretches; /* stretch_t */
    const cib_manifest_t *manifest;
    const cib_storage_t *storage;
    cib_backup_progress_fn progress;
    void *baton;
    apr_int64_t builds, artifacts, bytes;
};

static cib_error_t *tell_progress(cib_restore_t *restore)
{
    if (!restore->progress ||
        !restore->progress(restore->baton, restore->builds, restore->artifacts, restore->bytes))
        return CIB_OK;
    return cib_error(restore->pool, CIB_REASON_CONFLICT, APR_SUCCESS, "interrupted");
}

static cib_error_t *spool_trouble(const cib_restore_t *restore, apr_status_t rv)
{
    return cib_error_system(restore->pool, rv, "cannot spool the rows");
}

/* --- the manifest ---------------------------------------------------------------------------- */

static cib_error_t *read_manifest(cib_restore_t *restore)
{
    const char *name, *data;
    char *text = apr_palloc(restore->pool, CIB_MANIFEST_MAX);
    apr_size_t len, have = 0;
    apr_int64_t size;

    CIB_TRY(cib_unarchive_next(restore->archive, &name, &size));
    if (!name || strcmp(name, CIB_MANIFEST) != 0 || size > CIB_MANIFEST_MAX)
        return cib_error(restore->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "it is no backup: it does not begin with " CIB_MANIFEST);
    for (;;) {
        CIB_TRY(cib_unarchive_read(restore->archive, &data, &len));
        if (!len || len > CIB_MANIFEST_MAX - have)
            break;
        memcpy(text + have, data, len);
        have += len;
    }
    return cib_manifest_parse(text, have, &restore->manifest, restore->pool);
}

cib_error_t *cib_restore_begin(cib_restore_t **restore, int fd, const char *dir,
                               cib_backup_progress_fn progress, void *baton,
                               const cib_manifest_t **manifest, apr_pool_t *pool)
{
    cib_restore_t *made = apr_pcalloc(pool, sizeof(*made));
    cib_spool_t *sums;
    apr_status_t rv;

    made->pool = pool;
    made->progress = progress;
    made->baton = baton;
    made->stretches = apr_array_make(pool, 16, sizeof(stretch_t));
    apr_pool_create(&made->row_pool, pool);
    rv = cib_spool_open(&made->rows, dir, pool);
    if (rv == APR_SUCCESS)
        rv = cib_spool_open(&sums, dir, pool);
    if (rv != APR_SUCCESS)
        return spool_trouble(made, rv);
    CIB_TRY(cib_unarchive_begin(&made->archive, fd, sums, pool));
    CIB_TRY(read_manifest(made));
    *manifest = made->manifest;
    *restore = made;
    return CIB_OK;
}

/* --- members --------------------------------------------------------------------------------- */

typedef apr_status_t (*take_fn)(cib_restore_t *restore, apr_file_t *file, const char *data,
                                apr_size_t len);

static apr_status_t to_file(cib_restore_t *restore, apr_file_t *file, const char *data,
                            apr_size_t len)
{
    restore->bytes += (apr_int64_t)len;
    return apr_file_write_full(file, data, len, NULL);
}

static apr_status_t to_rows(cib_restore_t *restore, apr_file_t *file, const char *data,
                            apr_size_t len)
{
    return cib_spool_write(restore->rows, data, len);
}

static cib_error_t *copy_member(cib_restore_t *restore, take_fn take, apr_file_t *file,
                                const char *name)
{
    const char *data;
    apr_size_t len;

    for (;;) {
        apr_status_t rv;

        CIB_TRY(cib_unarchive_read(restore->archive, &data, &len));
        if (!len)
            return CIB_OK;
        rv = take(restore, file, data, len);
        if (rv != APR_SUCCESS)
            return cib_error_system(restore->pool, rv, "cannot write %s", name);
        CIB_TRY(tell_progress(restore));
    }
}

static cib_error_t *unpack_file(cib_restore_t *restore, const char *member)
{
    apr_pool_t *pool = restore->row_pool;
    apr_int64_t build_id;
    const char *name;
    apr_file_t *file;
    cib_area_e area;
    cib_error_t *err;
    apr_status_t rv;

    if (cib_storage_member_parse(member, &area, &build_id, &name, pool) != APR_SUCCESS)
        return cib_error(restore->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "it is no backup: it holds %s", member);
    rv = cib_storage_put(&file, restore->storage, area, name, pool);
    if (rv != APR_SUCCESS)
        return cib_error_system(restore->pool, rv, "cannot make %s", member);
    err = copy_member(restore, to_file, file, member);
    rv = apr_file_close(file);
    if (!err && rv != APR_SUCCESS)
        return cib_error_system(restore->pool, rv, "cannot write %s", member);
    return err;
}

static int is_table(const char *member, const cib_dump_table_t **table, apr_pool_t *pool)
{
    for (*table = cib_dump_tables; (*table)->name; (*table)++) {
        if (strcmp(member, apr_pstrcat(pool, "database/", (*table)->name, ".jsonl", NULL)) == 0)
            return 1;
    }
    *table = NULL;
    return strcmp(member, CIB_TRACE_ROWS) == 0;
}

static cib_error_t *spool_rows(cib_restore_t *restore, const cib_dump_table_t *table,
                               const char *member)
{
    stretch_t *stretch = &APR_ARRAY_PUSH(restore->stretches, stretch_t);

    stretch->table = table;
    stretch->begin = cib_spool_size(restore->rows);
    CIB_TRY(copy_member(restore, to_rows, NULL, member));
    stretch->end = cib_spool_size(restore->rows);
    return CIB_OK;
}

/* --- rows ------------------------------------------------------------------------------------ */

typedef cib_error_t *(*line_fn)(cib_restore_t *restore, void *baton, const char *line,
                                apr_size_t len);

static cib_error_t *for_each_line(cib_restore_t *restore, const stretch_t *stretch, line_fn each,
                                  void *baton)
{
    apr_int64_t at = stretch->begin, lines = 0;

    while (at < stretch->end) {
        const char *line;
        apr_size_t len;
        apr_status_t rv = cib_spool_line(restore->rows, &at, &line, &len);

        if (rv != APR_SUCCESS)
            return spool_trouble(restore, rv);
        apr_pool_clear(restore->row_pool);
        CIB_TRY(each(restore, baton, line, len));
        if (++lines % ROWS_AT_ONCE == 0)
            CIB_TRY(tell_progress(restore));
    }
    return CIB_OK;
}

/* The log is there, if it has any bytes. */
static cib_error_t *put_trace(cib_restore_t *restore, void *baton, const char *line, apr_size_t len)
{
    apr_pool_t *pool = restore->row_pool;
    cib_trace_state_t state, before;
    cib_tracefile_t *trace;
    apr_int64_t build_id;
    apr_status_t rv;

    CIB_TRY(cib_line_to_trace(line, len, &build_id, &state, pool));
    rv = cib_tracefile_lock(&trace, restore->storage, build_id, &before, pool);
    if (rv == APR_SUCCESS)
        rv = cib_tracefile_commit(trace, &state);
    if (rv == APR_EINVAL)
        return cib_error(restore->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "it is damaged: bytes of the trace of build %" APR_INT64_T_FMT
                         " are missing",
                         build_id);
    if (rv != APR_SUCCESS)
        return cib_error_system(restore->pool, rv,
                                "cannot write the trace of build %" APR_INT64_T_FMT, build_id);
    cib_tracefile_close(trace);
    return CIB_OK;
}

static cib_error_t *put_traces(cib_restore_t *restore)
{
    for (int i = 0; i < restore->stretches->nelts; i++) {
        const stretch_t *stretch = &APR_ARRAY_IDX(restore->stretches, i, stretch_t);

        if (!stretch->table)
            CIB_TRY(for_each_line(restore, stretch, put_trace, NULL));
    }
    return CIB_OK;
}

cib_error_t *cib_restore_files(cib_restore_t *restore, const cib_storage_t *storage)
{
    restore->storage = storage;
    for (;;) {
        const cib_dump_table_t *table;
        const char *name;
        apr_int64_t size;

        CIB_TRY(cib_unarchive_next(restore->archive, &name, &size));
        if (!name)
            return put_traces(restore);
        apr_pool_clear(restore->row_pool);
        if (is_table(name, &table, restore->row_pool))
            CIB_TRY(spool_rows(restore, table, name));
        else
            CIB_TRY(unpack_file(restore, name));
    }
}

/* --- the database ---------------------------------------------------------------------------- */

typedef struct filling_t {
    cib_db_t *db;
    const cib_dump_table_t *table;
} filling_t;

static cib_error_t *put_row(cib_restore_t *restore, void *baton, const char *line, apr_size_t len)
{
    const filling_t *filling = baton;
    const char *cells[CIB_DUMP_COLUMNS_MAX];

    CIB_TRY(cib_line_to_row(filling->table, line, len, cells, restore->row_pool));
    CIB_TRY(cib_dump_put(filling->db, filling->table, cells, restore->row_pool));
    restore->builds += strcmp(filling->table->name, "builds") == 0;
    restore->artifacts += strcmp(filling->table->name, "artifacts") == 0;
    return CIB_OK;
}

static cib_error_t *set_last_ids(cib_restore_t *restore, cib_db_t *db, apr_pool_t *pool)
{
    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++) {
        const apr_int64_t *id =
            apr_hash_get(restore->manifest->last_ids, table->name, APR_HASH_KEY_STRING);

        if (id && table->numbered)
            CIB_TRY(cib_dump_set_last_id(db, table, *id, pool));
    }
    return CIB_OK;
}

/* In the order of the tables, whatever that of the members is. */
static cib_error_t *put_table(cib_restore_t *restore, filling_t *filling)
{
    for (int i = 0; i < restore->stretches->nelts; i++) {
        const stretch_t *stretch = &APR_ARRAY_IDX(restore->stretches, i, stretch_t);

        if (stretch->table == filling->table)
            CIB_TRY(for_each_line(restore, stretch, put_row, filling));
    }
    return CIB_OK;
}

static cib_error_t *fill(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    cib_restore_t *restore = baton;
    filling_t filling = {db, NULL};

    restore->builds = restore->artifacts = 0;
    CIB_TRY(cib_dump_make(db, restore->manifest->id, pool));
    for (filling.table = cib_dump_tables; filling.table->name; filling.table++)
        CIB_TRY(put_table(restore, &filling));
    CIB_TRY(set_last_ids(restore, db, pool));
    return cib_dump_end(db, apr_time_now(), pool);
}

/* A connection that breaks at the commit does not tell what became of it. The database was empty:
 * if it is this instance's now, all is there. */
static int is_filled(const cib_restore_t *restore, const cib_ctx_t *ctx)
{
    cib_schema_state_t state = {0};

    return !cib_schema_state(ctx->store, ctx->source, &state, ctx->pool) && state.instance_id &&
           strcmp(state.instance_id, restore->manifest->id) == 0;
}

cib_error_t *cib_restore_rows(cib_restore_t *restore, const cib_ctx_t *ctx,
                              cib_backup_report_t *report)
{
    cib_error_t *err = cib_write(ctx, fill, restore);

    memset(report, 0, sizeof(*report));
    if (err && !is_filled(restore, ctx))
        return err;
    report->builds = restore->builds;
    report->artifacts = restore->artifacts;
    report->bytes = restore->bytes;
    return CIB_OK;
}

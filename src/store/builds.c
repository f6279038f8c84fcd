/* Builds: their rows and every step's write. */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "builds.h"
#include "store/cib_questions.h"

/* --- tag sets */

static const cib_sql_t tagset_by_tags = {
    "SELECT id FROM tagsets WHERE tags = %s",
    NULL,
};

static const cib_sql_t tagset_add = {
    "INSERT INTO tagsets (tags) VALUES (%s) RETURNING id",
    NULL,
};

cib_error_t *cib_q_tagset(cib_db_t *db, const char *tags, apr_int64_t *id, apr_pool_t *pool)
{
    CIB_TRY(cib_db_number(db, &tagset_by_tags, CIB_ARGS(CIB_TEXT(tags)), 0, id, pool));
    if (*id)
        return CIB_OK;
    CIB_TRY(cib_takes_lock(db, pool));
    /* who held the lock may have made this very one */
    CIB_TRY(cib_db_number(db, &tagset_by_tags, CIB_ARGS(CIB_TEXT(tags)), 0, id, pool));
    if (*id)
        return CIB_OK;
    CIB_TRY(cib_db_number(db, &tagset_add, CIB_ARGS(CIB_TEXT(tags)), 0, id, pool));
    return cib_takes_of_tagset(db, *id, tags, pool);
}

/* The next tag set that a build names, by the one index that has their order: asked for this one
 * alone, PostgreSQL might hope to come upon it soon by reading all builds. */
static const cib_sql_t tagset_named = {
    "SELECT tagset_id FROM builds WHERE tagset_id >= %lld ORDER BY tagset_id LIMIT 1",
    NULL,
};

static const cib_sql_t tagset_remove = {
    "DELETE FROM tagsets WHERE id = %lld",
    NULL,
};

/* On PostgreSQL one of two who forget it and add a build with it at once fails by the foreign key,
 * and its section is run again. */
cib_error_t *cib_q_tagset_forget(cib_db_t *db, apr_int64_t id, apr_pool_t *pool)
{
    apr_int64_t named;

    CIB_TRY(cib_db_number(db, &tagset_named, CIB_ARGS(CIB_INT(id)), 0, &named, pool));
    if (named == id)
        return CIB_OK;
    CIB_TRY(cib_takes_lock(db, pool));
    return cib_db_change(db, &tagset_remove, CIB_ARGS(CIB_INT(id)), NULL, pool);
}

/* --- rows */

static const cib_sql_t add = {
    "INSERT INTO builds (project_id, status, name, stage, ref, tag, sha, before_sha, tagset_id, "
    "timeout, created_at, queued_at, finished_at, failure_reason, retry_of) "
    "VALUES (%lld, %s, %s, %s, %s, %lld, %s, %s, %lld, %lld, %lld, %lld, %lld, %s, %lld) "
    "RETURNING id",
    NULL,
};

static const cib_sql_t add_spec = {
    "INSERT INTO build_specs (build_id, commands, options) VALUES (%lld, %s, %s)",
    NULL,
};

/* When a build becomes what it is at birth: some are pending at once, some skipped. */
static cib_error_t *add_row(cib_db_t *db, const cib_build_t *build, apr_int64_t *id,
                            apr_pool_t *pool)
{
    int pending = build->status == CIB_PENDING;
    int ended = build->status > CIB_RUNNING;

    return cib_db_number(
        db, &add,
        CIB_ARGS(CIB_INT(build->project_id), CIB_TEXT(cib_status_name(build->status)),
                 CIB_TEXT(build->name), CIB_TEXT(build->stage), CIB_TEXT(build->ref),
                 CIB_INT(build->tag), CIB_TEXT(build->sha), CIB_TEXT(build->before_sha),
                 CIB_INT(build->tagset_id), CIB_INT(build->timeout), CIB_INT(build->created_at),
                 cib_arg_nonzero(pending ? build->created_at : 0),
                 cib_arg_nonzero(ended ? build->created_at : 0), CIB_TEXT(build->failure_reason),
                 cib_arg_nonzero(build->retry_of)),
        0, id, pool);
}

cib_error_t *cib_q_build_add(cib_db_t *db, const cib_build_t *build, const cib_build_spec_t *spec,
                             apr_int64_t *id, apr_pool_t *pool)
{
    CIB_TRY(add_row(db, build, id, pool));
    if (!spec)
        return CIB_OK;
    return cib_db_change(db, &add_spec,
                         CIB_ARGS(CIB_INT(*id), CIB_TEXT(spec->commands), CIB_TEXT(spec->options)),
                         NULL, pool);
}

static const cib_sql_t by_id = {
    "SELECT " CIB_BUILD_COLUMNS CIB_BUILD_FROM "WHERE b.id = %lld",
    NULL,
};

static void read_times(cib_build_t *build, const cib_rows_t *rows, int row)
{
    build->created_at = cib_row_int(rows, row, 16);
    build->queued_at = cib_row_int(rows, row, 17);
    build->started_at = cib_row_int(rows, row, 18);
    build->heard_at = cib_row_int(rows, row, 19);
    build->finished_at = cib_row_int(rows, row, 20);
    build->erased_at = cib_row_int(rows, row, 21);
}

cib_build_t *cib_build_of(const cib_rows_t *rows, int row, apr_pool_t *pool)
{
    cib_build_t *build = apr_pcalloc(pool, sizeof(*build));

    build->id = cib_row_int(rows, row, 0);
    build->project_id = cib_row_int(rows, row, 1);
    build->status = cib_status_parse(cib_row_text(rows, row, 2));
    build->name = cib_row_text(rows, row, 3);
    build->stage = cib_row_text(rows, row, 4);
    build->ref = cib_row_text(rows, row, 5);
    build->tag = (int)cib_row_int(rows, row, 6);
    build->sha = cib_row_text(rows, row, 7);
    build->before_sha = cib_row_text(rows, row, 8);
    build->tagset_id = cib_row_int(rows, row, 9);
    build->tags = cib_row_text(rows, row, 10);
    build->runner_id = cib_row_int(rows, row, 11);
    build->on_shared_runner = (int)cib_row_int(rows, row, 12);
    build->timeout = (int)cib_row_int(rows, row, 13);
    build->claim = cib_row_int(rows, row, 14);
    build->requeues = (int)cib_row_int(rows, row, 15);
    read_times(build, rows, row);
    build->failure_reason = cib_row_text(rows, row, 22);
    build->has_exit_code = cib_row_text(rows, row, 23) != NULL;
    build->exit_code = (int)cib_row_int(rows, row, 23);
    build->retry_of = cib_row_int(rows, row, 24);
    build->trace_checksum = cib_row_text(rows, row, 25);
    build->followed_until = cib_row_int(rows, row, 26);
    return build;
}

cib_error_t *cib_db_builds(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, apr_array_header_t **builds, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, args, nargs, CIB_BUILD_COLUMN_COUNT, &rows, pool));
    *builds = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_build_t *));
    for (int i = 0; i < cib_rows_count(rows); i++)
        APR_ARRAY_PUSH(*builds, cib_build_t *) = cib_build_of(rows, i, pool);
    return CIB_OK;
}

cib_error_t *cib_q_build(cib_db_t *db, apr_int64_t id, cib_build_t **build, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &by_id, CIB_ARGS(CIB_INT(id)), CIB_BUILD_COLUMN_COUNT, &rows, pool));
    *build = cib_rows_count(rows) ? cib_build_of(rows, 0, pool) : NULL;
    return CIB_OK;
}

/* --- lists */

#define LIST(where)                                                                                \
    {                                                                                              \
        "SELECT " CIB_BUILD_COLUMNS CIB_BUILD_FROM "WHERE " where                                  \
        "b.id > %lld ORDER BY b.id LIMIT %lld",                                                    \
            NULL                                                                                   \
    }
#define LIST_STATUS(status) LIST("b.status = '" status "' AND ")
#define LIST_BOTH(status) LIST("b.status = '" status "' AND b.project_id = %lld AND ")
#define LIST_LIVE(status) LIST("b.status = '" status "' AND " CIB_BUILD_LIVE " AND ")
#define LIST_LIVE_BOTH(status)                                                                     \
    LIST("b.status = '" status "' AND " CIB_BUILD_LIVE " AND b.project_id = %lld AND ")

/* The words stand in the statements, for a partial index is no use to a parameter. */
static const cib_sql_t lists[CIB_STATUSES + 1] = {
    [CIB_CREATED] = LIST_LIVE("created"),   [CIB_PENDING] = LIST_LIVE("pending"),
    [CIB_RUNNING] = LIST_LIVE("running"),   [CIB_SUCCESS] = LIST_STATUS("success"),
    [CIB_FAILED] = LIST_STATUS("failed"),   [CIB_CANCELED] = LIST_STATUS("canceled"),
    [CIB_SKIPPED] = LIST_STATUS("skipped"), [CIB_STATUSES] = LIST(""),
};

static const cib_sql_t project_lists[CIB_STATUSES + 1] = {
    [CIB_CREATED] = LIST_LIVE_BOTH("created"), [CIB_PENDING] = LIST_LIVE_BOTH("pending"),
    [CIB_RUNNING] = LIST_LIVE_BOTH("running"), [CIB_SUCCESS] = LIST_BOTH("success"),
    [CIB_FAILED] = LIST_BOTH("failed"),        [CIB_CANCELED] = LIST_BOTH("canceled"),
    [CIB_SKIPPED] = LIST_BOTH("skipped"),      [CIB_STATUSES] = LIST("b.project_id = %lld AND "),
};

cib_error_t *cib_q_builds(cib_db_t *db, cib_status_e status, apr_int64_t project_id,
                          apr_int64_t after, int limit, apr_array_header_t **builds,
                          apr_pool_t *pool)
{
    const cib_arg_t args[] = {CIB_INT(project_id), CIB_INT(after), cib_arg_limit(limit)};

    if (project_id)
        return cib_db_builds(db, &project_lists[status], args, 3, builds, pool);
    return cib_db_builds(db, &lists[status], args + 1, 2, builds, pool);
}

/* --- steps */

/* On PostgreSQL, who takes a pending build elsewhere locks its row of the queue first, as a claim
 * does: in the other order the two would wait for each other. */
static const cib_sql_t lock_in_queue = {
    NULL,
    "SELECT q.build_id FROM builds b JOIN queue q ON q.tagset_id = b.tagset_id "
    "AND q.project_id = b.project_id AND q.build_id = b.id WHERE b.id " CIB_THESE_PGSQL
    "ORDER BY q.build_id FOR UPDATE OF q",
};

static const cib_sql_t lock_rows = {
    NULL,
    "SELECT id FROM builds WHERE id " CIB_THESE_PGSQL "ORDER BY id FOR NO KEY UPDATE",
};

/* "{7,12}", or as JSON. */
cib_arg_t cib_arg_these(const cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool)
{
    int sqlite = cib_store_driver(db->store) == CIB_DRIVER_SQLITE3;
    apr_array_header_t *parts = apr_array_make(pool, ids->nelts + 1, sizeof(const char *));
    const char *text;

    for (int i = 0; i < ids->nelts; i++)
        APR_ARRAY_PUSH(parts, const char *) =
            apr_psprintf(pool, "%" APR_INT64_T_FMT, APR_ARRAY_IDX(ids, i, apr_int64_t));
    text = apr_array_pstrcat(pool, parts, ',');
    return CIB_TEXT(apr_pstrcat(pool, sqlite ? "[" : "{", text, sqlite ? "]" : "}", NULL));
}

cib_error_t *cib_q_builds_lock(cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool)
{
    cib_rows_t *rows;
    cib_arg_t these;

    if (cib_store_driver(db->store) == CIB_DRIVER_SQLITE3 || ids->nelts == 0)
        return CIB_OK;
    these = cib_arg_these(db, ids, pool);
    CIB_TRY(cib_db_select(db, &lock_in_queue, &these, 1, 1, &rows, pool));
    return cib_db_select(db, &lock_rows, &these, 1, 1, &rows, pool);
}

static cib_error_t *lock_one(cib_db_t *db, apr_int64_t id, apr_pool_t *pool)
{
    apr_array_header_t *ids = apr_array_make(pool, 1, sizeof(apr_int64_t));

    APR_ARRAY_PUSH(ids, apr_int64_t) = id;
    return cib_q_builds_lock(db, ids, pool);
}

#define STILL " WHERE id = %lld AND status = %s AND (claim = %lld OR CAST(%lld AS bigint) = 0)"

static const cib_sql_t move_on = {
    "UPDATE builds SET status = %s, queued_at = coalesce(CAST(%lld AS bigint), queued_at), "
    "finished_at = %lld, failure_reason = %s, exit_code = %lld, trace_checksum = %s" STILL,
    NULL,
};

static const cib_sql_t move_back = {
    "UPDATE builds SET status = 'pending', queued_at = %lld, runner_id = NULL, "
    "on_shared_runner = 0, started_at = NULL, heard_at = NULL, short_traces = 0, "
    "requeues = requeues + %lld" STILL,
    NULL,
};

cib_error_t *cib_q_build_move(cib_db_t *db, apr_int64_t id, const cib_move_t *move, int *changed,
                              apr_pool_t *pool)
{
    const char *from = cib_status_name(move->from);

    if (move->from == CIB_PENDING)
        CIB_TRY(lock_one(db, id, pool));
    if (move->requeue)
        return cib_db_change(db, &move_back,
                             CIB_ARGS(CIB_INT(move->now), CIB_INT(!move->uncounted), CIB_INT(id),
                                      CIB_TEXT(from), CIB_INT(move->claim), CIB_INT(move->claim)),
                             changed, pool);
    return cib_db_change(db, &move_on,
                         CIB_ARGS(CIB_TEXT(cib_status_name(move->to)),
                                  cib_arg_nonzero(move->to == CIB_PENDING ? move->now : 0),
                                  cib_arg_nonzero(move->to > CIB_RUNNING ? move->now : 0),
                                  CIB_TEXT(move->failure_reason),
                                  move->has_exit_code ? CIB_INT(move->exit_code) : CIB_NULL,
                                  CIB_TEXT(move->trace_checksum), CIB_INT(id), CIB_TEXT(from),
                                  CIB_INT(move->claim), CIB_INT(move->claim)),
                         changed, pool);
}

/* Each row by the array's order, which is that of the ids. */
static const cib_sql_t end_all = {
    NULL,
    "UPDATE builds b SET status = e.status, finished_at = e.finished_at, "
    "failure_reason = e.failure_reason, exit_code = e.exit_code, trace_checksum = e.checksum "
    "FROM unnest(CAST(%s AS bigint[]), CAST(%s AS bigint[]), CAST(%s AS bigint[]), "
    "CAST(%s AS integer[]), CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS text[])) "
    "WITH ORDINALITY AS e (id, claim, finished_at, exit_code, status, failure_reason, checksum, n) "
    "WHERE b.id = e.id AND b." CIB_STATUS_HIDDEN "'running' AND (b.claim = e.claim OR e.claim = 0) "
    "RETURNING e.n",
};

/* The columns of that. */
enum { END_ID, END_CLAIM, END_TIME, END_CODE, END_STATUS, END_REASON, END_CHECKSUM, END_COLUMNS };

static const char *number_text(apr_int64_t number, apr_pool_t *pool)
{
    return apr_psprintf(pool, "%" APR_INT64_T_FMT, number);
}

static void end_cells(const cib_end_t *end, const char *cells[END_COLUMNS], apr_pool_t *pool)
{
    const cib_move_t *move = &end->move;

    cells[END_ID] = number_text(end->id, pool);
    cells[END_CLAIM] = number_text(move->claim, pool);
    cells[END_TIME] = number_text(move->now, pool);
    cells[END_CODE] = move->has_exit_code ? number_text(move->exit_code, pool) : NULL;
    cells[END_STATUS] = cib_status_name(move->to);
    cells[END_REASON] = move->failure_reason;
    cells[END_CHECKSUM] = move->trace_checksum;
}

/* An element of an array's text. */
static const char *element(const char *text, apr_pool_t *pool)
{
    char *quoted, *to;

    if (!text)
        return "NULL";
    quoted = to = apr_palloc(pool, 2 * strlen(text) + 3);
    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return quoted;
}

static int by_id_of_end(const void *a, const void *b)
{
    const cib_end_t *x = *(cib_end_t *const *)a, *y = *(cib_end_t *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

cib_arg_t cib_arg_texts(const apr_array_header_t *texts, apr_pool_t *pool)
{
    apr_array_header_t *parts = apr_array_make(pool, texts->nelts + 1, sizeof(const char *));

    for (int i = 0; i < texts->nelts; i++)
        APR_ARRAY_PUSH(parts, const char *) = element(APR_ARRAY_IDX(texts, i, const char *), pool);
    return CIB_TEXT(apr_pstrcat(pool, "{", apr_array_pstrcat(pool, parts, ','), "}", NULL));
}

static void end_args(cib_end_t *const *ends, int count, cib_arg_t args[END_COLUMNS],
                     apr_pool_t *pool)
{
    const char *cells[END_COLUMNS];
    apr_array_header_t *columns[END_COLUMNS];

    for (int c = 0; c < END_COLUMNS; c++)
        columns[c] = apr_array_make(pool, count, sizeof(const char *));
    for (int i = 0; i < count; i++) {
        end_cells(ends[i], cells, pool);
        for (int c = 0; c < END_COLUMNS; c++)
            APR_ARRAY_PUSH(columns[c], const char *) = cells[c];
    }
    for (int c = 0; c < END_COLUMNS; c++)
        args[c] = cib_arg_texts(columns[c], pool);
}

static cib_error_t *end_together(cib_db_t *db, cib_end_t *const *ends, int count, apr_pool_t *pool)
{
    cib_end_t **sorted = apr_pmemdup(pool, ends, sizeof(*ends) * (apr_size_t)count);
    cib_arg_t args[END_COLUMNS];
    cib_rows_t *rows;

    qsort(sorted, (size_t)count, sizeof(*sorted), by_id_of_end);
    end_args(sorted, count, args, pool);
    CIB_TRY(cib_db_select(db, &end_all, args, END_COLUMNS, 1, &rows, pool));
    for (int i = 0; i < count; i++)
        ends[i]->moved = 0;
    for (int i = 0; i < cib_rows_count(rows); i++)
        sorted[cib_row_int(rows, i, 0) - 1]->moved = 1;
    return CIB_OK;
}

cib_error_t *cib_q_builds_end(cib_db_t *db, cib_end_t *const *ends, int count, apr_pool_t *pool)
{
    if (count > 1 && cib_store_driver(db->store) == CIB_DRIVER_PGSQL)
        return end_together(db, ends, count, pool);
    for (int i = 0; i < count; i++)
        CIB_TRY(cib_q_build_move(db, ends[i]->id, &ends[i]->move, &ends[i]->moved, pool));
    return CIB_OK;
}

#define SETTLE                                                                                     \
    "UPDATE builds SET status = %s, queued_at = coalesce(CAST(%lld AS bigint), queued_at), "       \
    "finished_at = %lld WHERE " CIB_STATUS_HIDDEN "'created' AND id "

static const cib_sql_t settle = {
    SETTLE CIB_THESE_SQLITE,
    SETTLE CIB_THESE_PGSQL,
};

cib_error_t *cib_q_builds_settle(cib_db_t *db, const apr_array_header_t *ids, cib_status_e to,
                                 apr_time_t now, apr_pool_t *pool)
{
    if (ids->nelts == 0)
        return CIB_OK;
    CIB_TRY(cib_db_change(
        db, &settle,
        CIB_ARGS(CIB_TEXT(cib_status_name(to)), cib_arg_nonzero(to == CIB_PENDING ? now : 0),
                 cib_arg_nonzero(to == CIB_SKIPPED ? now : 0), cib_arg_these(db, ids, pool)),
        NULL, pool));
    return to == CIB_PENDING ? cib_q_enqueue_all(db, ids, pool) : CIB_OK;
}

#define REOPEN                                                                                     \
    "UPDATE builds SET status = 'created', finished_at = NULL, failure_reason = NULL, "            \
    "exit_code = NULL, trace_checksum = NULL WHERE " CIB_STATUS_HIDDEN "'skipped' AND id "

static const cib_sql_t reopen = {
    REOPEN CIB_THESE_SQLITE,
    REOPEN CIB_THESE_PGSQL,
};

cib_error_t *cib_q_builds_reopen(cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool)
{
    if (ids->nelts == 0)
        return CIB_OK;
    return cib_db_change(db, &reopen, CIB_ARGS(cib_arg_these(db, ids, pool)), NULL, pool);
}

static const cib_sql_t heard = {
    "UPDATE builds SET heard_at = %lld WHERE id = %lld AND status = 'running' AND claim = %lld",
    NULL,
};

cib_error_t *cib_q_build_heard(cib_db_t *db, apr_int64_t id, apr_int64_t claim, apr_time_t now,
                               int *changed, apr_pool_t *pool)
{
    return cib_db_change(db, &heard, CIB_ARGS(CIB_INT(now), CIB_INT(id), CIB_INT(claim)), changed,
                         pool);
}

/* What comes after the limit changes nothing, so that a runner cannot be sent back for ever. */
static const cib_sql_t short_trace = {
    "UPDATE builds SET short_traces = short_traces + 1 WHERE id = %lld AND status = 'running' "
    "AND claim = %lld AND short_traces < %lld",
    NULL,
};

cib_error_t *cib_q_build_short(cib_db_t *db, apr_int64_t id, apr_int64_t claim, int most,
                               int *counted, apr_pool_t *pool)
{
    return cib_db_change(db, &short_trace, CIB_ARGS(CIB_INT(id), CIB_INT(claim), CIB_INT(most)),
                         counted, pool);
}

static const cib_sql_t follow = {
    "UPDATE builds SET followed_until = %lld WHERE id = %lld AND status = 'running'",
    NULL,
};

cib_error_t *cib_q_build_follow(cib_db_t *db, apr_int64_t id, apr_time_t until, apr_pool_t *pool)
{
    return cib_db_change(db, &follow, CIB_ARGS(CIB_INT(until), CIB_INT(id)), NULL, pool);
}

static const cib_sql_t erase = {
    "UPDATE builds SET erased_at = %lld WHERE id = %lld",
    NULL,
};

cib_error_t *cib_q_build_erase(cib_db_t *db, apr_int64_t id, apr_time_t now, apr_pool_t *pool)
{
    return cib_db_change(db, &erase, CIB_ARGS(CIB_INT(now), CIB_INT(id)), NULL, pool);
}

static const cib_sql_t remove_row = {
    "DELETE FROM builds WHERE id = %lld",
    NULL,
};

/* The queue has no foreign key; everything else goes with the row. */
cib_error_t *cib_q_build_remove(cib_db_t *db, apr_int64_t id, apr_pool_t *pool)
{
    CIB_TRY(cib_q_dequeue(db, id, pool));
    return cib_db_change(db, &remove_row, CIB_ARGS(CIB_INT(id)), NULL, pool);
}

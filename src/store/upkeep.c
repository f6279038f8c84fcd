/* What is due. */
#include "builds.h"
#include "store/cib_questions.h"

static const cib_sql_t expired = {
    "SELECT build_id FROM artifacts WHERE expire_at <= %lld ORDER BY expire_at LIMIT %lld",
    NULL,
};

/* Runners before 1.1 say nothing while the trace does not grow, so their silence means nothing;
 * neither does that of one that names no version. (apr_dbd wants each % twice.) */
#define SPEAKS_REGULARLY                                                                           \
    "(r.version NOT IN ('', '0', '1', '1.0') AND r.version NOT LIKE '0.%%' "                       \
    "AND r.version NOT LIKE '1.0.%%' AND r.version NOT LIKE '1.0~%%' "                             \
    "AND r.version NOT LIKE '1.0-%%')"

/* Its runner was told the shorter of its own limit and the build's. */
#define TIMEOUT "CASE WHEN r.maximum_timeout < b.timeout THEN r.maximum_timeout ELSE b.timeout END"

/* All running ones are looked at: they are as few as the runners can have at a time. */
#define LAST_WORD "coalesce(b.heard_at, b.started_at)"
static const cib_sql_t overdue = {
    "SELECT " CIB_BUILD_COLUMNS_HELD_TO(TIMEOUT) CIB_BUILD_FROM
    "LEFT JOIN runners r ON r.id = b.runner_id "
    "WHERE b.status = 'running' AND (r.id IS NULL "
    "OR (b.heard_at IS NULL AND b.started_at < %lld) "
    "OR (" LAST_WORD " < %lld AND " SPEAKS_REGULARLY ") "
    "OR (CAST(%lld AS bigint) > 0 "
    "AND b.started_at + (" TIMEOUT ") * CAST(1000000 AS bigint) + %lld < %lld)) "
    "ORDER BY " LAST_WORD ", b.id LIMIT %lld",
    NULL,
};

/* By a scalar subquery, which no planner turns into a join that reads all that is live. */
#define LIVE_NEEDING(id)                                                                           \
    "SELECT 1 FROM build_needs n WHERE n.needs_id = " id                                           \
    " AND (SELECT d.status FROM builds d WHERE d.id = n.build_id) "                                \
    "IN ('created', 'pending', 'running')"

static const cib_sql_t ended_before = {
    "SELECT b.id FROM builds b WHERE b.finished_at < %lld AND NOT EXISTS (" LIVE_NEEDING(
        "b.id") ") ORDER BY b.finished_at, b.id LIMIT %lld",
    NULL,
};

static const cib_sql_t live_needing = {
    "SELECT CASE WHEN EXISTS (" LIVE_NEEDING("%lld") ") THEN 1 ELSE 0 END",
    NULL,
};

static const cib_sql_t running_of = {
    "SELECT id FROM builds WHERE runner_id = %lld AND status = 'running' ORDER BY id",
    NULL,
};

static int is_in(const apr_array_header_t *ids, apr_int64_t id)
{
    for (int i = 0; i < ids->nelts; i++)
        if (APR_ARRAY_IDX(ids, i, apr_int64_t) == id)
            return 1;
    return 0;
}

cib_error_t *cib_q_expired(cib_db_t *db, apr_time_t now, int limit, apr_array_header_t **ids,
                           apr_pool_t *pool)
{
    apr_array_header_t *rows;

    CIB_TRY(cib_db_ids(db, &expired, CIB_ARGS(CIB_INT(now), cib_arg_limit(limit)), &rows, pool));
    /* a build's archive and metadata expire together */
    *ids = apr_array_make(pool, rows->nelts + 1, sizeof(apr_int64_t));
    for (int i = 0; i < rows->nelts; i++)
        if (!is_in(*ids, APR_ARRAY_IDX(rows, i, apr_int64_t)))
            APR_ARRAY_PUSH(*ids, apr_int64_t) = APR_ARRAY_IDX(rows, i, apr_int64_t);
    return CIB_OK;
}

cib_error_t *cib_q_overdue(cib_db_t *db, apr_time_t now, apr_time_t unheard_before,
                           apr_time_t silent_before, apr_interval_time_t grace, int limit,
                           apr_array_header_t **builds, apr_pool_t *pool)
{
    return cib_db_builds(db, &overdue,
                         CIB_ARGS(CIB_INT(unheard_before), CIB_INT(silent_before), CIB_INT(grace),
                                  CIB_INT(grace), CIB_INT(now), cib_arg_limit(limit)),
                         builds, pool);
}

cib_error_t *cib_q_ended_before(cib_db_t *db, apr_time_t before, int limit,
                                apr_array_header_t **ids, apr_pool_t *pool)
{
    return cib_db_ids(db, &ended_before, CIB_ARGS(CIB_INT(before), cib_arg_limit(limit)), ids,
                      pool);
}

cib_error_t *cib_q_build_needed(cib_db_t *db, apr_int64_t id, int *yes, apr_pool_t *pool)
{
    apr_int64_t found;

    CIB_TRY(cib_db_number(db, &live_needing, CIB_ARGS(CIB_INT(id)), 0, &found, pool));
    *yes = found != 0;
    return CIB_OK;
}

cib_error_t *cib_q_running_of(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **ids,
                              apr_pool_t *pool)
{
    return cib_db_ids(db, &running_of, CIB_ARGS(CIB_INT(runner_id)), ids, pool);
}

/* --- who is expected in a folder */

static const cib_sql_t build_ids = {
    "SELECT id FROM builds WHERE id >= %lld AND id < %lld AND erased_at IS NULL ORDER BY id",
    NULL,
};

static const cib_sql_t blob_names = {
    "SELECT blob FROM artifacts WHERE build_id >= %lld AND build_id < %lld",
    NULL,
};

cib_error_t *cib_q_build_ids(cib_db_t *db, apr_int64_t from, apr_int64_t to,
                             apr_array_header_t **ids, apr_pool_t *pool)
{
    return cib_db_ids(db, &build_ids, CIB_ARGS(CIB_INT(from), CIB_INT(to)), ids, pool);
}

cib_error_t *cib_q_blob_names(cib_db_t *db, apr_int64_t from, apr_int64_t to,
                              apr_array_header_t **blobs, apr_pool_t *pool)
{
    return cib_db_texts(db, &blob_names, CIB_ARGS(CIB_INT(from), CIB_INT(to)), blobs, pool);
}

/* What is due. */
#include "builds.h"
#include "store/cib_questions.h"

static const cib_sql_t expired = {
    "SELECT build_id FROM artifacts WHERE expire_at <= %lld ORDER BY expire_at LIMIT %lld",
    NULL,
};

/* All running ones are looked at: they are as few as the runners can have at a time. */
#define LAST_WORD "coalesce(b.heard_at, b.started_at)"
static const cib_sql_t overdue = {
    "SELECT " CIB_BUILD_COLUMNS CIB_BUILD_FROM "WHERE b.status = 'running' AND ("
    "(b.heard_at IS NULL AND b.started_at < %lld) OR " LAST_WORD " < %lld "
    "OR (CAST(%lld AS bigint) > 0 "
    "AND b.started_at + b.timeout * CAST(1000000 AS bigint) + %lld < %lld)) "
    "ORDER BY " LAST_WORD ", b.id LIMIT %lld",
    NULL,
};

static const cib_sql_t ended_before = {
    "SELECT id FROM builds WHERE finished_at < %lld ORDER BY finished_at, id LIMIT %lld",
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

cib_error_t *cib_q_running_of(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **ids,
                              apr_pool_t *pool)
{
    return cib_db_ids(db, &running_of, CIB_ARGS(CIB_INT(runner_id)), ids, pool);
}

/* Settings of the instance, leases, and what there is of everything. */
#include "internal.h"
#include "store/cib_questions.h"

/* --- the registration token */

static const cib_sql_t rotation_read = {
    "SELECT value FROM meta WHERE key = 'registration_rotation'",
    NULL,
};

static const cib_sql_t rotation_raise = {
    "UPDATE meta SET value = CAST(CAST(value AS bigint) + 1 AS text) "
    "WHERE key = 'registration_rotation' RETURNING value",
    NULL,
};

static cib_error_t *rotation_by(cib_db_t *db, const cib_sql_t *sql, int *rotation, apr_pool_t *pool)
{
    apr_int64_t number;

    CIB_TRY(cib_db_number(db, sql, NULL, 0, 0, &number, pool));
    *rotation = (int)number;
    return CIB_OK;
}

cib_error_t *cib_q_registration_rotation(cib_db_t *db, int *rotation, apr_pool_t *pool)
{
    return rotation_by(db, &rotation_read, rotation, pool);
}

cib_error_t *cib_q_registration_rotate(cib_db_t *db, int *rotation, apr_pool_t *pool)
{
    return rotation_by(db, &rotation_raise, rotation, pool);
}

/* --- leases */

/* The clocks of hosts may differ by so much. */
#define CLOCKS_DIFFER apr_time_from_sec(60)

/* One that would last longer than any that is taken now was taken before the clock was set back. */
static const cib_sql_t lease_take = {
    "INSERT INTO leases (name, holder, expires_at) VALUES (%s, %s, %lld) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at "
    "WHERE leases.holder = excluded.holder OR leases.expires_at <= %lld "
    "OR leases.expires_at > %lld",
    NULL,
};

cib_error_t *cib_q_lease_take(cib_db_t *db, const char *name, const char *holder, apr_time_t now,
                              apr_time_t until, int *taken, apr_pool_t *pool)
{
    int changed;

    CIB_TRY(cib_db_change(db, &lease_take,
                          CIB_ARGS(CIB_TEXT(name), CIB_TEXT(holder), CIB_INT(until), CIB_INT(now),
                                   CIB_INT(until + CLOCKS_DIFFER)),
                          &changed, pool));
    *taken = changed > 0;
    return CIB_OK;
}

/* --- numbers */

static const cib_sql_t builds_by_status = {
    "SELECT status, count(*) FROM builds GROUP BY status",
    NULL,
};

static const cib_sql_t totals = {
    "SELECT (SELECT count(*) FROM projects), (SELECT count(*) FROM runners), "
    "(SELECT count(*) FROM artifacts), (SELECT coalesce(sum(size), 0) FROM artifacts)",
    NULL,
};

static const cib_sql_t load_now = {
    "SELECT (SELECT count(*) FROM queue), "
    "(SELECT count(*) FROM builds WHERE status = 'running'), "
    "(SELECT count(*) FROM runners WHERE contacted_at > %lld)",
    NULL,
};

static cib_error_t *load_since(cib_db_t *db, apr_time_t since, cib_stats_t *stats, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &load_now, CIB_ARGS(CIB_INT(since)), 3, &rows, pool));
    stats->builds[CIB_PENDING] = cib_row_int(rows, 0, 0);
    stats->builds[CIB_RUNNING] = cib_row_int(rows, 0, 1);
    stats->runners_online = cib_row_int(rows, 0, 2);
    return CIB_OK;
}

cib_error_t *cib_q_load(cib_db_t *db, apr_time_t now, cib_stats_t *stats, apr_pool_t *pool)
{
    return load_since(db, now - CIB_RUNNER_SEEN, stats, pool);
}

cib_error_t *cib_q_stats(cib_db_t *db, apr_time_t now, cib_stats_t *stats, apr_pool_t *pool)
{
    cib_stats_t none = {{0}, 0, 0, 0, 0, 0};
    cib_rows_t *rows;

    *stats = none;
    CIB_TRY(load_since(db, now - CIB_RUNNER_ONLINE, stats, pool));
    CIB_TRY(cib_db_select(db, &builds_by_status, NULL, 0, 2, &rows, pool));
    stats->builds[CIB_PENDING] = stats->builds[CIB_RUNNING] = 0;
    for (int i = 0; i < cib_rows_count(rows); i++) {
        cib_status_e status = cib_status_parse(cib_row_text(rows, i, 0));

        if (status < CIB_STATUSES)
            stats->builds[status] = cib_row_int(rows, i, 1);
    }
    CIB_TRY(cib_db_select(db, &totals, NULL, 0, 4, &rows, pool));
    stats->projects = cib_row_int(rows, 0, 0);
    stats->runners = cib_row_int(rows, 0, 1);
    stats->artifacts = cib_row_int(rows, 0, 2);
    stats->artifact_bytes = cib_row_int(rows, 0, 3);
    return CIB_OK;
}

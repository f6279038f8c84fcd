/* Which tag sets a runner's tags allow, worked out once for each pair. Tags are compared byte by
 * byte here, for no collation of a database can be trusted with that.
 */
#include <string.h>

#include "internal.h"

/* Any number of our own, other than schema.c's. */
#define TAKES_LOCK "SELECT pg_advisory_xact_lock(4857120390022)"
#define TAKES_SHARE "SELECT pg_advisory_xact_lock_shared(4857120390022)"

static const cib_sql_t all_runners = {
    "SELECT id, tags, run_untagged FROM runners",
    NULL,
};

static const cib_sql_t all_tagsets = {
    "SELECT id, tags FROM tagsets",
    NULL,
};

static const cib_sql_t add = {
    "INSERT INTO takes (runner_id, tagset_id) VALUES (%lld, %lld) ON CONFLICT DO NOTHING",
    NULL,
};

static const cib_sql_t clear = {
    "DELETE FROM takes WHERE runner_id = %lld",
    NULL,
};

/* Is the tag one of a list by commas? */
static int has_tag(const char *tags, const char *tag, apr_size_t len)
{
    while (*tags) {
        apr_size_t n = strcspn(tags, ",");

        if (n == len && memcmp(tags, tag, len) == 0)
            return 1;
        tags += n + (tags[n] == ',');
    }
    return 0;
}

/* A set of no tags wants run_untagged; any other that the runner has all of them. */
static int allows(const char *runner_tags, int run_untagged, const char *wanted)
{
    if (!*wanted)
        return run_untagged;
    while (*wanted) {
        apr_size_t n = strcspn(wanted, ",");

        if (!has_tag(runner_tags, wanted, n))
            return 0;
        wanted += n + (wanted[n] == ',');
    }
    return 1;
}

static cib_error_t *add_pair(cib_db_t *db, apr_int64_t runner_id, apr_int64_t tagset_id,
                             apr_pool_t *pool)
{
    return cib_db_change(db, &add, CIB_ARGS(CIB_INT(runner_id), CIB_INT(tagset_id)), NULL, pool);
}

cib_error_t *cib_takes_lock(cib_db_t *db, apr_pool_t *pool)
{
    if (cib_store_driver(db->store) == CIB_DRIVER_SQLITE3)
        return CIB_OK; /* one writer anyhow */
    return cib_db_ask(db, TAKES_LOCK, NULL, pool);
}

cib_error_t *cib_takes_share(cib_db_t *db, apr_pool_t *pool)
{
    if (cib_store_driver(db->store) == CIB_DRIVER_SQLITE3)
        return CIB_OK;
    return cib_db_ask(db, TAKES_SHARE, NULL, pool);
}

cib_error_t *cib_takes_of_tagset(cib_db_t *db, apr_int64_t tagset_id, const char *tags,
                                 apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &all_runners, NULL, 0, 3, &rows, pool));
    for (int i = 0; i < cib_rows_count(rows); i++)
        if (allows(cib_row_text(rows, i, 1), (int)cib_row_int(rows, i, 2), tags))
            CIB_TRY(add_pair(db, cib_row_int(rows, i, 0), tagset_id, pool));
    return CIB_OK;
}

cib_error_t *cib_takes_of_runner(cib_db_t *db, apr_int64_t runner_id, const char *tags,
                                 int run_untagged, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_change(db, &clear, CIB_ARGS(CIB_INT(runner_id)), NULL, pool));
    CIB_TRY(cib_db_select(db, &all_tagsets, NULL, 0, 2, &rows, pool));
    for (int i = 0; i < cib_rows_count(rows); i++)
        if (allows(tags, run_untagged, cib_row_text(rows, i, 1)))
            CIB_TRY(add_pair(db, runner_id, cib_row_int(rows, i, 0), pool));
    return CIB_OK;
}

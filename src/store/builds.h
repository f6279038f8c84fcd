/* Whole builds, as the files of this room select them. */
#ifndef CIB_STORE_BUILDS_H
#define CIB_STORE_BUILDS_H

#include "internal.h"
#include "store/cib_records.h"

/* In the order in which builds.c reads them; with another timeout than the row's. */
#define CIB_BUILD_COLUMNS_HELD_TO(timeout)                                                         \
    "b.id, b.project_id, b.status, b.name, b.stage, b.ref, b.tag, b.sha, b.before_sha, "           \
    "b.tagset_id, s.tags, b.runner_id, b.on_shared_runner, " timeout ", b.claim, b.requeues, "     \
    "b.created_at, b.queued_at, b.started_at, b.heard_at, b.finished_at, b.erased_at, "            \
    "b.failure_reason, b.exit_code, b.retry_of, b.trace_checksum, b.followed_until"
#define CIB_BUILD_COLUMNS CIB_BUILD_COLUMNS_HELD_TO("b.timeout")
#define CIB_BUILD_COLUMN_COUNT 27
#define CIB_BUILD_FROM " FROM builds b JOIN tagsets s ON s.id = b.tagset_id "

/* SQLite takes the index of builds that are not over (migrations.c) for nothing but the very
 * condition that it was made with; PostgreSQL sees that one state is among them. */
#define CIB_BUILD_LIVE "b.status IN ('created', 'pending', 'running')"

/* One of many ids, in a statement's text for each driver; and the argument: all of them
 * (apr_int64_t) in one text. */
#define CIB_THESE_SQLITE "IN (SELECT value FROM json_each(%s)) "
#define CIB_THESE_PGSQL "= ANY (CAST(%s AS bigint[])) "
cib_arg_t cib_arg_these(const cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool);

/* The status of such, hidden from planners: where few builds have it PostgreSQL would look through
 * the index of those that are not over, and go on so when there are a million. */
#define CIB_STATUS_HIDDEN "status || '' = "

/* Likewise of projects and runners, each column behind the name of its table, as "p.". */
#define CIB_PROJECT_COLUMNS(of)                                                                    \
    of "id, " of "name, " of "repo_url, " of "repo_auth_token, " of "timeout, " of                 \
       "allow_git_fetch, " of "shared_runners_enabled, " of "builds_enabled, " of "removing, " of  \
       "rotation, " of "token_sealed"
#define CIB_PROJECT_COLUMN_COUNT 11
#define CIB_RUNNER_COLUMNS(of)                                                                     \
    of "id, " of "description, " of "active, " of "is_shared, " of "locked, " of                   \
       "run_untagged, " of "tags, " of "contacted_at, " of "name, " of "version, " of              \
       "revision, " of "platform, " of "architecture, " of "info_changed_at, " of                  \
       "info_changes, " of "maximum_timeout, " of "created_at"
#define CIB_RUNNER_COLUMN_COUNT 17
cib_build_t *cib_build_of(const cib_rows_t *rows, int row, apr_pool_t *pool);
cib_project_t *cib_project_of(const cib_rows_t *rows, int row, apr_pool_t *pool);
cib_runner_t *cib_runner_of(const cib_rows_t *rows, int row, apr_pool_t *pool);

/* Many of something, as an argument: text of an array, PostgreSQL. NULL is SQL's NULL. */
cib_arg_t cib_arg_texts(const apr_array_header_t *texts, apr_pool_t *pool);

/* All rows of such a statement: cib_build_t *. */
cib_error_t *cib_db_builds(cib_db_t *db, const cib_sql_t *sql, const cib_arg_t *args,
                           apr_size_t nargs, apr_array_header_t **builds, apr_pool_t *pool);

#endif

/* The machines that share a runner's token. */
#include "internal.h"
#include "store/cib_questions.h"

#define COLUMNS                                                                                    \
    "runner_id, system_id, contacted_at, name, version, revision, platform, architecture, "        \
    "created_at"
#define COLUMN_COUNT 9

static const cib_sql_t one = {
    "SELECT " COLUMNS " FROM runner_machines WHERE runner_id = %lld AND system_id = %s",
    NULL,
};

static const cib_sql_t all_of = {
    "SELECT " COLUMNS " FROM runner_machines WHERE runner_id = %lld "
    "ORDER BY contacted_at DESC, system_id",
    NULL,
};

static const cib_sql_t count_of = {
    "SELECT count(*) FROM runner_machines WHERE runner_id = %lld",
    NULL,
};

/* Nothing for a runner that was removed meanwhile. */
static const cib_sql_t put = {
    "INSERT INTO runner_machines (" COLUMNS ") "
    "SELECT id, %s, %lld, %s, %s, %s, %s, %s, %lld FROM runners WHERE id = %lld "
    "ON CONFLICT (runner_id, system_id) DO UPDATE SET contacted_at = excluded.contacted_at, "
    "name = excluded.name, version = excluded.version, revision = excluded.revision, "
    "platform = excluded.platform, architecture = excluded.architecture",
    NULL,
};

static const cib_sql_t trim_old = {
    "DELETE FROM runner_machines WHERE runner_id = %lld AND contacted_at < %lld",
    NULL,
};

static const cib_sql_t trim_many = {
    "DELETE FROM runner_machines WHERE runner_id = %lld AND system_id IN ("
    "SELECT m.system_id FROM runner_machines m WHERE m.runner_id = %lld "
    "ORDER BY m.contacted_at DESC, m.system_id LIMIT 1000000 OFFSET %lld)",
    NULL,
};

static const cib_sql_t remove_one = {
    "DELETE FROM runner_machines WHERE runner_id = %lld AND system_id = %s",
    NULL,
};

static cib_machine_t *machine_of(const cib_rows_t *rows, int row, apr_pool_t *pool)
{
    cib_machine_t *machine = apr_pcalloc(pool, sizeof(*machine));

    machine->runner_id = cib_row_int(rows, row, 0);
    machine->system_id = cib_row_text(rows, row, 1);
    machine->contacted_at = cib_row_int(rows, row, 2);
    machine->name = cib_row_text(rows, row, 3);
    machine->version = cib_row_text(rows, row, 4);
    machine->revision = cib_row_text(rows, row, 5);
    machine->platform = cib_row_text(rows, row, 6);
    machine->architecture = cib_row_text(rows, row, 7);
    machine->created_at = cib_row_int(rows, row, 8);
    return machine;
}

cib_error_t *cib_q_machine(cib_db_t *db, apr_int64_t runner_id, const char *system_id,
                           cib_machine_t **machine, apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &one, CIB_ARGS(CIB_INT(runner_id), CIB_TEXT(system_id)), COLUMN_COUNT,
                          &rows, pool));
    *machine = cib_rows_count(rows) ? machine_of(rows, 0, pool) : NULL;
    return CIB_OK;
}

cib_error_t *cib_q_machines(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **machines,
                            apr_pool_t *pool)
{
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, &all_of, CIB_ARGS(CIB_INT(runner_id)), COLUMN_COUNT, &rows, pool));
    *machines = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_machine_t *));
    for (int i = 0; i < cib_rows_count(rows); i++)
        APR_ARRAY_PUSH(*machines, cib_machine_t *) = machine_of(rows, i, pool);
    return CIB_OK;
}

cib_error_t *cib_q_machines_count(cib_db_t *db, apr_int64_t runner_id, int *count, apr_pool_t *pool)
{
    apr_int64_t number;

    CIB_TRY(cib_db_number(db, &count_of, CIB_ARGS(CIB_INT(runner_id)), 0, &number, pool));
    *count = (int)number;
    return CIB_OK;
}

cib_error_t *cib_q_machine_put(cib_db_t *db, const cib_machine_t *machine, apr_pool_t *pool)
{
    return cib_db_change(db, &put,
                         CIB_ARGS(CIB_TEXT(machine->system_id), CIB_INT(machine->contacted_at),
                                  CIB_TEXT(machine->name), CIB_TEXT(machine->version),
                                  CIB_TEXT(machine->revision), CIB_TEXT(machine->platform),
                                  CIB_TEXT(machine->architecture), CIB_INT(machine->created_at),
                                  CIB_INT(machine->runner_id)),
                         NULL, pool);
}

cib_error_t *cib_q_machines_trim(cib_db_t *db, apr_int64_t runner_id, apr_time_t before, int most,
                                 apr_pool_t *pool)
{
    CIB_TRY(
        cib_db_change(db, &trim_old, CIB_ARGS(CIB_INT(runner_id), CIB_INT(before)), NULL, pool));
    return cib_db_change(db, &trim_many,
                         CIB_ARGS(CIB_INT(runner_id), CIB_INT(runner_id), CIB_INT(most)), NULL,
                         pool);
}

cib_error_t *cib_q_machine_remove(cib_db_t *db, apr_int64_t runner_id, const char *system_id,
                                  int *changed, apr_pool_t *pool)
{
    return cib_db_change(db, &remove_one, CIB_ARGS(CIB_INT(runner_id), CIB_TEXT(system_id)),
                         changed, pool);
}

/* All rows, out of one database and into another. */
#include <apr_hash.h>

#include "store/cib_dump.h"
#include "store_fixture.h"

#define SHA "0123456789012345678901234567890123456789"

/* --- the tables */

/* Run a question of our own: its rows, as arrays of so many texts. */
static apr_array_header_t *ask(fixture_t *fx, const char *sql, int columns)
{
    apr_array_header_t *cells = apr_array_make(fx->pool, 200, sizeof(const char *));
    const apr_dbd_driver_t *driver;
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    apr_dbd_t *handle;

    must(apr_dbd_get_driver(fx->pool, fx->driver, &driver), "load the driver");
    must(apr_dbd_open(driver, fx->pool, fx->params, &handle), "connect");
    if (apr_dbd_select(driver, fx->pool, handle, &results, sql, 1) != 0)
        bail_out("%s", sql);
    while (apr_dbd_get_row(driver, fx->pool, results, &row, -1) == 0) {
        for (int i = 0; i < columns; i++)
            APR_ARRAY_PUSH(cells, const char *) =
                apr_pstrdup(fx->pool, apr_dbd_get_entry(driver, row, i));
    }
    apr_dbd_close(driver, handle);
    return cells;
}

static const cib_dump_column_t *column_of(const cib_dump_table_t *table, const char *name)
{
    for (int i = 0; table && i < table->count; i++) {
        if (strcmp(table->columns[i].name, name) == 0)
            return &table->columns[i];
    }
    return NULL;
}

#define COLUMNS_SQLITE                                                                             \
    "SELECT m.name, c.name, lower(c.type), c.\"notnull\" AND c.dflt_value IS NOT NULL "            \
    "FROM sqlite_master m, pragma_table_info(m.name) c "                                           \
    "WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND m.name <> 'leases'"
#define COLUMNS_PGSQL                                                                              \
    "SELECT table_name, column_name, data_type, "                                                  \
    "CASE WHEN is_nullable = 'NO' AND column_default IS NOT NULL THEN 1 ELSE 0 END "               \
    "FROM information_schema.columns WHERE table_schema = current_schema() "                       \
    "AND table_name <> 'leases'"

/* Version 1 had everything but these, and older ones there are none. */
static int came_later(const char *table, const char *column)
{
    static const char *const later[] = {"builds.short_traces", "build_variables.is_file",
                                        "build_variables.is_raw"};
    char name[100];

    snprintf(name, sizeof(name), "%s.%s", table, column);
    for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++) {
        if (strcmp(later[i], name) == 0)
            return 1;
    }
    return 0;
}

static void test_columns(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    int sqlite = strcmp(driver, "sqlite3") == 0, known = 0;
    apr_array_header_t *cells = ask(fx, sqlite ? COLUMNS_SQLITE : COLUMNS_PGSQL, 4);

    for (int i = 0; i < cells->nelts; i += 4) {
        const char *const *row = &APR_ARRAY_IDX(cells, i, const char *);
        const cib_dump_table_t *table = cib_dump_table(row[0]);
        const cib_dump_column_t *column = column_of(table, row[1]);

        ok(column != NULL, "%s.%s is dumped", row[0], row[1]);
        if (!column)
            continue;
        is_int(column->is_number, strstr(row[2], "int") != NULL, "... as what it is");
        is_int(column->missing != NULL, came_later(row[0], row[1]),
               "... and what it is in an older row");
    }
    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++)
        known += table->count;
    is_int(known * 4, cells->nelts, "nothing is dumped that there is not");
    ok(!cib_dump_table("leases"), "leases are not");
    fixture_done(fx);
}

/* --- rows: more than one page of each */

#define PROJECTS 3
#define RUNNERS 4
#define BUILDS 1207

static cib_error_t *add_projects(cib_db_t *db, apr_pool_t *pool)
{
    cib_project_t project = {.name = "\xc3\xa9 \"\\\n", .repo_url = "u", .timeout = 60};
    apr_int64_t id;

    for (int i = 0; i < PROJECTS; i++) {
        CIB_TRY(cib_q_project_add(db, &project, 7, &id, pool));
        CIB_TRY(cib_q_project_set_token(db, id, apr_itoa(pool, i), i ? NULL : "sealed", i, pool));
    }
    return CIB_OK;
}

static cib_error_t *add_runners(cib_db_t *db, apr_pool_t *pool)
{
    cib_runner_t runner = {.description = "r", .active = 1, .run_untagged = 1, .tags = "a"};
    apr_int64_t id;

    for (int i = 0; i < RUNNERS; i++) {
        cib_machine_t machine = {.system_id = i % 2 ? "s_b" : "", .contacted_at = 5};

        CIB_TRY(cib_q_runner_add(db, &runner, apr_itoa(pool, 100 + i), 7, &id, pool));
        CIB_TRY(cib_q_runner_bind(db, id, 1, pool));
        machine.runner_id = id;
        CIB_TRY(cib_q_machine_put(db, &machine, pool));
    }
    return CIB_OK;
}

static cib_error_t *add_build(cib_db_t *db, apr_int64_t tagset, int number, apr_pool_t *pool)
{
    cib_build_t build = {.project_id = 1 + number % PROJECTS,
                         .status = number % 3 ? CIB_PENDING : CIB_CREATED,
                         .name = "n",
                         .stage = "s",
                         .ref = "r",
                         .sha = SHA,
                         .tagset_id = tagset,
                         .timeout = 60,
                         .created_at = 7};
    const cib_build_spec_t spec = {.commands = apr_psprintf(pool, "%d", number), .options = "{}"};
    const cib_variable_t variable = {.key = "k", .value = "v"};
    cib_artifact_t artifact = {.type = "archive",
                               .format = "zip",
                               .filename = "f",
                               .size = number,
                               .sha256 = "0",
                               .blob = apr_psprintf(pool, "b%d", number)};
    const char *old;

    CIB_TRY(cib_q_build_add(db, &build, &spec, &build.id, pool));
    CIB_TRY(cib_q_variable_add(db, build.id, 0, &variable, pool));
    CIB_TRY(cib_q_variable_add(db, build.id, 1, &variable, pool));
    if (number > 0)
        CIB_TRY(cib_q_need_add(db, build.id, build.id - 1, pool));
    if (build.status == CIB_PENDING)
        CIB_TRY(cib_q_enqueue(db, &build, pool));
    artifact.build_id = build.id;
    return cib_q_artifact_put(db, &artifact, &old, pool);
}

static cib_error_t *add_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    apr_int64_t tagset;
    int rotation, changed;

    CIB_TRY(add_projects(db, pool));
    CIB_TRY(add_runners(db, pool));
    CIB_TRY(cib_q_tagset(db, "a", &tagset, pool));
    for (int i = 0; i < BUILDS; i++)
        CIB_TRY(add_build(db, tagset, i, pool));
    CIB_TRY(cib_q_build_remove(db, BUILDS, pool));
    CIB_TRY(cib_q_runner_remove(db, RUNNERS, &changed, pool));
    return cib_q_registration_rotate(db, &rotation, pool);
}

typedef struct copy_t {
    apr_pool_t *pool;
    const cib_dump_table_t *table;
    apr_array_header_t *lines; /* const char *: table and cells of each row */
    apr_array_header_t *cells; /* const char **: the same, one by one */
    fixture_t *writer;         /* who changes something in between */
    apr_int64_t last_ids[4];
    int last;
} copy_t;

static cib_error_t *take_row(void *baton, const char *const *cells, apr_pool_t *pool)
{
    copy_t *copy = baton;
    const char **kept = apr_pcalloc(copy->pool, sizeof(char *) * CIB_DUMP_COLUMNS_MAX);
    const char *line = copy->table->name;

    for (int i = 0; i < copy->table->count; i++) {
        kept[i] = cells[i] ? apr_pstrdup(copy->pool, cells[i]) : NULL;
        line = apr_pstrcat(pool, line, "|", cells[i] ? cells[i] : "NULL", NULL);
    }
    APR_ARRAY_PUSH(copy->lines, const char *) = apr_pstrdup(copy->pool, line);
    APR_ARRAY_PUSH(copy->cells, const char **) = kept;
    return CIB_OK;
}

static cib_error_t *copy_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    copy_t *copy = baton;

    copy->lines = apr_array_make(copy->pool, 1000, sizeof(const char *));
    copy->cells = apr_array_make(copy->pool, 1000, sizeof(const char **));
    copy->last = 0;
    for (copy->table = cib_dump_tables; copy->table->name; copy->table++) {
        CIB_TRY(cib_dump_rows(db, copy->table, take_row, copy, pool));
        if (copy->table->numbered)
            CIB_TRY(cib_dump_last_id(db, copy->table, &copy->last_ids[copy->last++], pool));
        /* after the first table was read; the last ones see nothing of it */
        if (copy->writer && copy->table == cib_dump_tables)
            outside(copy->writer, copy->writer->params, "DELETE FROM artifacts WHERE build_id < 9");
    }
    return CIB_OK;
}

static void snapshot(fixture_t *fx, copy_t *copy, const char *what)
{
    copy->pool = fx->pool;
    is_fine(cib_store_snapshot(fx->store, fx->source, copy_rows, copy, fx->pool), what);
}

static int count_of(const copy_t *copy, const char *table)
{
    int count = 0;

    for (int i = 0; i < copy->lines->nelts; i++) {
        const char *line = APR_ARRAY_IDX(copy->lines, i, const char *);

        count += strncmp(line, table, strlen(table)) == 0 && line[strlen(table)] == '|';
    }
    return count;
}

static int differences(const copy_t *one, const copy_t *other)
{
    int count = one->lines->nelts != other->lines->nelts;

    for (int i = 0; !count && i < one->lines->nelts; i++) {
        const char *a = APR_ARRAY_IDX(one->lines, i, const char *);
        const char *b = APR_ARRAY_IDX(other->lines, i, const char *);

        if (strcmp(a, b) != 0) {
            diag("%s", a);
            diag("%s", b);
            count++;
        }
    }
    return count;
}

static void check_rows(const copy_t *copy)
{
    is_int(count_of(copy, "projects"), PROJECTS, "projects");
    is_int(count_of(copy, "runners"), RUNNERS - 1, "runners");
    is_int(count_of(copy, "runner_machines"), RUNNERS - 1, "runner_machines");
    is_int(count_of(copy, "runner_projects"), RUNNERS - 1, "runner_projects");
    is_int(count_of(copy, "tagsets"), 1, "tagsets");
    is_int(count_of(copy, "takes"), RUNNERS - 1, "takes");
    is_int(count_of(copy, "builds"), BUILDS - 1, "builds: more than two pages");
    is_int(count_of(copy, "build_specs"), BUILDS - 1, "build_specs");
    is_int(count_of(copy, "build_variables"), 2 * (BUILDS - 1), "build_variables");
    is_int(count_of(copy, "build_needs"), BUILDS - 2, "build_needs");
    is_int(count_of(copy, "artifacts"), BUILDS - 1, "artifacts");
    is_int(count_of(copy, "meta"), 1, "meta: only what is not the database's own");
    is_int(copy->last_ids[0], PROJECTS, "the last project's id");
    is_int(copy->last_ids[1], RUNNERS, "... runner's, which is gone");
    is_int(copy->last_ids[3], BUILDS, "... build's, which is gone");
}

/* --- into another */

typedef struct filling_t {
    const copy_t *copy;
    apr_time_t now;
    int fail;
} filling_t;

static cib_error_t *fill(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const filling_t *filling = baton;
    const copy_t *copy = filling->copy;
    int last = 0;

    CIB_TRY(cib_dump_make(db, "0123456789abcdef0123456789abcdef", pool));
    for (int i = 0; i < copy->lines->nelts; i++) {
        const char *line = APR_ARRAY_IDX(copy->lines, i, const char *);
        const char *name = apr_pstrmemdup(pool, line, strcspn(line, "|"));

        CIB_TRY(cib_dump_put(db, cib_dump_table(name), APR_ARRAY_IDX(copy->cells, i, const char **),
                             pool));
    }
    if (filling->fail)
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "enough");
    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++) {
        if (table->numbered)
            CIB_TRY(cib_dump_set_last_id(db, table, copy->last_ids[last++], pool));
    }
    return filling->now ? cib_dump_end(db, filling->now, pool) : CIB_OK;
}

static int claims_above(fixture_t *fx, const char *where)
{
    const char *sql = apr_pstrcat(fx->pool, "SELECT min(claim) FROM builds WHERE ", where, NULL);

    return atoi(APR_ARRAY_IDX(ask(fx, sql, 1), 0, const char *));
}

static cib_error_t *add_ids(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    apr_int64_t *ids = baton;
    cib_project_t project = {.name = "p", .repo_url = "u", .timeout = 60};
    cib_runner_t runner = {.description = "r", .run_untagged = 1, .tags = ""};
    const cib_build_t build = {.project_id = 1,
                               .status = CIB_CREATED,
                               .name = "n",
                               .stage = "s",
                               .ref = "r",
                               .sha = SHA,
                               .tagset_id = 1};
    const cib_build_spec_t spec = {"", "{}"};

    CIB_TRY(cib_q_project_add(db, &project, 7, &ids[0], pool));
    CIB_TRY(cib_q_runner_add(db, &runner, "new", 7, &ids[1], pool));
    return cib_q_build_add(db, &build, &spec, &ids[2], pool);
}

static void test_into(const copy_t *copy, const char *driver)
{
    fixture_t *fx = fixture_bare(driver);
    filling_t filling = {.copy = copy, .fail = 1};
    cib_schema_state_t state;
    apr_int64_t ids[3] = {0};
    copy_t again = {0};

    diag("into %s", driver);
    is_fine(cib_dump_begin(fx->store, fx->source, fx->pool), "an empty database");
    is_reason(writing(fx, fill, &filling), CIB_REASON_CONFLICT, "rows that are given up");
    is_fine(cib_dump_begin(fx->store, fx->source, fx->pool), "... leave it empty");
    filling.fail = 0;
    is_fine(writing(fx, fill, &filling), "all rows");
    is_reason(cib_dump_begin(fx->store, fx->source, fx->pool), CIB_REASON_CONFLICT,
              "... it is empty no more");
    is_reason(writing(fx, fill, &filling), CIB_REASON_CONFLICT, "... for nobody");
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "its state");
    is_int(state.version, cib_schema_version(), "... is today's schema");
    is_str(state.instance_id, "0123456789abcdef0123456789abcdef", "... of the instance");
    snapshot(fx, &again, "... out again");
    is_int(differences(copy, &again), 0, "... the same");
    is_fine(writing(fx, add_ids, ids), "new ones");
    is_int(ids[0], PROJECTS + 1, "... a project after the last");
    is_int(ids[1], RUNNERS + 1, "... a runner");
    is_int(ids[2], BUILDS + 1, "... a build");
    is_fine(cib_dump_undo(fx->store, fx->source, fx->pool), "emptied again");
    is_fine(cib_dump_begin(fx->store, fx->source, fx->pool), "... it is as it was");
    fixture_done(fx);
}

static void test_claims(const copy_t *copy, const char *driver)
{
    fixture_t *fx = fixture_bare(driver);
    filling_t filling = {.copy = copy, .now = apr_time_from_sec(1000000)};

    is_fine(cib_dump_begin(fx->store, fx->source, fx->pool), "an empty database");
    is_fine(writing(fx, fill, &filling), "all rows");
    is_int(claims_above(fx, "status IN ('pending', 'created') AND id <> 2"), 1000000,
           "what waits is claimed by numbers never used");
    is_int(claims_above(fx, "id = 2"), 1000003, "... after those it had");
    is_int(claims_above(fx, "status NOT IN ('pending', 'created')"), 5,
           "... and what does not keeps its claim");
    fixture_done(fx);
}

static void test_rows(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    copy_t before = {0}, during = {0}, after = {0};

    is_fine(writing(fx, add_rows, NULL), "many rows");
    outside(fx, fx->params, "UPDATE builds SET claim = 3 WHERE id = 2");
    outside(fx, fx->params, "UPDATE builds SET claim = 5, status = 'running' WHERE id = 4");
    outside(fx, fx->params, "DELETE FROM queue WHERE build_id = 4");
    snapshot(fx, &before, "all of them");
    check_rows(&before);
    during.writer = fx;
    snapshot(fx, &during, "all of them, while they are changed");
    is_int(differences(&before, &during), 0, "... as they were when it began");
    snapshot(fx, &after, "and afterwards");
    is_int(count_of(&after, "artifacts"), count_of(&before, "artifacts") - 8,
           "... the change is seen");
    test_into(&before, driver);
    test_claims(&before, driver);
    /* the way from one kind of database to the other */
    if (getenv("CIB_TEST_PGSQL"))
        test_into(&before, strcmp(driver, "sqlite3") == 0 ? "pgsql" : "sqlite3");
    fixture_done(fx);
}

static cib_error_t *one_row(void *baton, const char *const *cells, apr_pool_t *pool)
{
    ok(cells[0] && strcmp(cells[0], "3") == 0, "the row of that build");
    (*(int *)baton)++;
    return CIB_OK;
}

static cib_error_t *ask_artifacts(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    CIB_TRY(cib_dump_artifact(db, 3, "archive", one_row, baton, pool));
    CIB_TRY(cib_dump_artifact(db, 3, "junit", one_row, baton, pool));
    return cib_dump_artifact(db, 4711, "archive", one_row, baton, pool);
}

static void test_artifact(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    int rows = 0;

    is_fine(writing(fx, add_rows, NULL), "many rows");
    is_fine(reading(fx, ask_artifacts, &rows), "one artifact");
    is_int(rows, 1, "... and two that are not there");
    fixture_done(fx);
}

/* --- failures */

static cib_error_t *refuse(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    (*(int *)baton)++;
    return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "a verdict");
}

static void test_failures(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    int calls = 0;
    copy_t copy = {0};

    is_reason(cib_store_snapshot(fx->store, fx->source, refuse, &calls, fx->pool),
              CIB_REASON_CONFLICT, "a verdict of the section");
    is_int(calls, 1, "... is taken as it is");
    snapshot(fx, &copy, "the next snapshot");
    is_int(count_of(&copy, "meta"), 1, "... is no part of it");
    fixture_done(fx);
}

static void tests(const char *driver)
{
    test_columns(driver);
    test_rows(driver);
    test_artifact(driver);
    test_failures(driver);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

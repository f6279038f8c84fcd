/* Making the schema, and what is refused. */
#include "store_fixture.h"

static cib_error_t *upgrade(fixture_t *fx, const char *id, int *from)
{
    return cib_schema_upgrade(fx->store, fx->source, id, from, fx->pool);
}

static void test_fresh(fixture_t *fx)
{
    cib_schema_state_t state;
    int from = -1;

    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look at an empty one");
    is_int(state.version, 0, "an empty database has no version");
    is_str(state.instance_id, NULL, "and belongs to nobody");
    is_fine(upgrade(fx, fx->storage->id, &from), "make the schema");
    is_int(from, 0, "from nothing");
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look again");
    is_int(state.version, cib_schema_version(), "the version is this program's");
    is_str(state.instance_id, fx->storage->id, "it belongs to the instance");
    is_fine(upgrade(fx, fx->storage->id, &from), "once more");
    is_int(from, cib_schema_version(), "nothing to do");
}

static void test_refusals(fixture_t *fx)
{
    cib_error_t *err;
    int from;

    err = upgrade(fx, "0123456789abcdef0123456789abcdef", &from);
    is_reason(err, CIB_REASON_CONFLICT, "another instance is refused");
    is_str(err->message, "the database belongs to another storage directory", "and told why");
    outside(fx, fx->params, "UPDATE meta SET value = '999' WHERE key = 'schema_version'");
    err = upgrade(fx, fx->storage->id, &from);
    is_reason(err, CIB_REASON_CONFLICT, "a newer schema is refused");
    ok(strstr(err->message, "999"), "and told so: %s", err->message);
}

static int upgrade_in_child(fixture_t *fx, int number)
{
    cib_error_t *err;
    int from;

    err = upgrade(fx, fx->storage->id, &from);
    if (err)
        diag("upgrade %d: %s", number, cib_error_text(err, fx->pool));
    return err != CIB_OK;
}

/* Several at once on an empty database: one makes it, all are content. */
static void test_at_once(const char *driver)
{
    fixture_t *fx = fixture_bare(driver);
    cib_schema_state_t state;
    pid_t pids[6];

    fixture_detach(fx);
    for (int i = 0; i < 6; i++)
        pids[i] = fork_child(fx, upgrade_in_child, i);
    for (int i = 0; i < 6; i++)
        is_int(exit_code(pids[i]), 0, "upgrade %d of 6 at once", i + 1);
    fixture_attach(fx);
    is_fine(cib_schema_state(fx->store, fx->source, &state, fx->pool), "look at the outcome");
    is_int(state.version, cib_schema_version(), "the schema is there");
    fixture_done(fx);
}

static cib_error_t *orphan_need(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_need_add(db, 4711, 4712, pool);
}

static void test_foreign_keys(fixture_t *fx)
{
    cib_error_t *err = writing(fx, orphan_need, NULL);

    is_reason(err, CIB_REASON_INTERNAL, "a row that refers to nothing is refused");
    ok(err && err->detail, "with a detail for the log: %s", err && err->detail ? err->detail : "");
}

/* A mistyped name must not make an empty database. */
static void test_missing_file(fixture_t *fx)
{
    const char *path = apr_pstrcat(fx->pool, fx->dir, "/typo.db", NULL);
    cib_connection_t connection;
    const cib_source_t *source;
    apr_finfo_t info;

    must(cib_source_own(&source, "sqlite3", path, 0, fx->pool), "make a source");
    is_rv(source->open(source->baton, fx->pool, &connection), APR_ENOENT, "no such database");
    is_rv(apr_stat(&info, path, APR_FINFO_TYPE, fx->pool), APR_ENOENT, "and none was made");
    is_rv(cib_source_own(&source, "oracle", path, 0, fx->pool), APR_ENOTIMPL, "no such driver");
}

static void test_no_connection(fixture_t *fx)
{
    const char *nowhere = "host=127.0.0.1 port=1 connect_timeout=1";
    const char *path = apr_pstrcat(fx->pool, fx->dir, "/absent.db", NULL);
    int sqlite = strcmp(fx->driver, "sqlite3") == 0;
    cib_schema_state_t state;
    const cib_source_t *source;
    const char *text;
    apr_time_t when;

    must(cib_source_own(&source, fx->driver, sqlite ? path : nowhere, 0, fx->pool),
         "make a source");
    is_int(cib_store_last_error(fx->store, &text, fx->pool), 0, "no error so far");
    is_reason(cib_schema_state(fx->store, source, &state, fx->pool), CIB_REASON_UNAVAILABLE,
              "no connection: unavailable");
    when = cib_store_last_error(fx->store, &text, fx->pool);
    ok(when && *text, "it is remembered: %s", text);
}

static void tests(const char *driver)
{
    fixture_t *fx = fixture_bare(driver);

    test_no_connection(fx);
    test_fresh(fx);
    test_foreign_keys(fx);
    test_missing_file(fx);
    test_refusals(fx);
    fixture_done(fx);
    test_at_once(driver);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

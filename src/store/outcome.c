/* What became of a transaction whose COMMIT was sent and not answered: PostgreSQL remembers. */
#include <apr_strings.h>

#include "internal.h"

/* So long it is asked, and so often: the server may be starting again, and the backend that had the
 * transaction may still be busy with it. Nothing tells when that is over. */
#define PATIENCE apr_time_from_sec(10)
#define PAUSE (apr_time_from_sec(1) / 5)

typedef enum { ABORTED, COMMITTED, IN_PROGRESS, FORGOTTEN } fate_e;

static const cib_sql_t number_of = {
    NULL,
    "SELECT txid_current_if_assigned()",
};

static const cib_sql_t fate_of = {
    NULL,
    "SELECT CASE txid_status(%lld) WHEN 'aborted' THEN 0 WHEN 'committed' THEN 1 "
    "WHEN 'in progress' THEN 2 ELSE 3 END",
};

cib_error_t *cib_outcome_number(cib_db_t *db, apr_int64_t *number, apr_pool_t *pool)
{
    return cib_db_number(db, &number_of, NULL, 0, 0, number, pool);
}

/* IN_PROGRESS also while nobody answers. */
static fate_e ask(cib_store_t *store, const cib_source_t *source, apr_int64_t number,
                  apr_pool_t *pool)
{
    apr_int64_t fate = IN_PROGRESS;
    cib_error_t *err;
    cib_db_t db;

    if (cib_db_open(&db, store, source, pool))
        return IN_PROGRESS;
    err = cib_db_number(&db, &fate_of, CIB_ARGS(CIB_INT(number)), FORGOTTEN, &fate, pool);
    cib_db_close(&db, err != NULL);
    return err ? IN_PROGRESS : (fate_e)fate;
}

static fate_e learn(cib_store_t *store, const cib_source_t *source, apr_int64_t number,
                    apr_pool_t *parent)
{
    apr_time_t begun = apr_time_now();
    fate_e fate = IN_PROGRESS;
    apr_pool_t *pool;

    apr_pool_create(&pool, parent);
    while (1) {
        fate = ask(store, source, number, pool);
        if (fate != IN_PROGRESS || apr_time_now() - begun >= PATIENCE)
            break;
        apr_pool_clear(pool);
        apr_sleep(PAUSE);
    }
    apr_pool_destroy(pool);
    return fate;
}

cib_error_t *cib_outcome_of(cib_store_t *store, const cib_source_t *source, apr_int64_t number,
                            cib_error_t *lost, apr_pool_t *pool)
{
    fate_e fate = learn(store, source, number, pool);
    const char *text = cib_error_text(lost, pool);

    if (fate == COMMITTED)
        return CIB_OK;
    if (fate == ABORTED)
        return lost;
    lost->unsure = 1;
    return cib_error_detail(pool, lost,
                            "%s: the database was told to commit and did not answer, and whether "
                            "it was done is not known",
                            *text ? text : "the connection broke");
}

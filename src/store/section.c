/* Sections, and what they raise. */
#include <string.h>

#include "internal.h"
#include "store/cib_questions.h"

/* Beyond that many runners it is cheaper to tell everybody. */
#define MAX_RAISED 1024
/* And beyond so many lanes to ask who they are. */
#define MAX_LANES 64

/* --- raising */

cib_raise_mark_t cib_raise_mark(const cib_db_t *db)
{
    cib_raise_mark_t mark = {db->raises.runners->nelts, db->raises.lanes->nelts, db->raises.all};

    return mark;
}

void cib_raise_forget(cib_db_t *db, cib_raise_mark_t mark)
{
    db->raises.runners->nelts = mark.runners;
    db->raises.lanes->nelts = mark.lanes;
    db->raises.all = mark.all;
}

int cib_raise_any(const cib_db_t *db)
{
    return db->store->gen && (db->raises.all || db->raises.runners->nelts > 0);
}

void cib_raise_now(cib_db_t *db)
{
    const apr_array_header_t *runners = db->raises.runners;

    if (!cib_raise_any(db))
        return;
    if (db->raises.all)
        cib_generation_raise_all(db->store->gen);
    for (int i = 0; i < runners->nelts && !db->raises.all; i++)
        cib_generation_raise(db->store->gen, APR_ARRAY_IDX(runners, i, apr_int64_t));
}

void cib_db_raise_runner(cib_db_t *db, apr_int64_t runner_id)
{
    const apr_array_header_t *runners = db->raises.runners;

    if (db->raises.all)
        return;
    for (int i = 0; i < runners->nelts; i++)
        if (APR_ARRAY_IDX(runners, i, apr_int64_t) == runner_id)
            return;
    APR_ARRAY_PUSH(db->raises.runners, apr_int64_t) = runner_id;
    if (runners->nelts > MAX_RAISED)
        db->raises.all = 1;
}

void cib_db_raise_all(cib_db_t *db)
{
    db->raises.all = 1;
}

/* Was it asked for before? A batch of new builds is mostly of one project and tag set. */
static int lane_is_known(const cib_db_t *db, apr_int64_t project_id, apr_int64_t tagset_id)
{
    const apr_array_header_t *lanes = db->raises.lanes;

    for (int i = 0; i < lanes->nelts; i++) {
        const cib_lane_t *lane = &APR_ARRAY_IDX(lanes, i, cib_lane_t);

        if (lane->project_id == project_id && lane->tagset_id == tagset_id)
            return 1;
    }
    return 0;
}

cib_error_t *cib_db_raise_queue(cib_db_t *db, apr_int64_t project_id, apr_int64_t tagset_id,
                                apr_pool_t *pool)
{
    cib_lane_t lane = {project_id, tagset_id};
    apr_array_header_t *ids;

    if (db->raises.all || lane_is_known(db, project_id, tagset_id))
        return CIB_OK;
    if (db->raises.lanes->nelts >= MAX_LANES) {
        db->raises.all = 1;
        return CIB_OK;
    }
    /* a runner that may take it from this moment on would not be told, and could not see it yet */
    CIB_TRY(cib_takes_share(db, pool));
    CIB_TRY(cib_q_runners_for(db, project_id, tagset_id, &ids, pool));
    APR_ARRAY_PUSH(db->raises.lanes, cib_lane_t) = lane;
    for (int i = 0; i < ids->nelts; i++)
        cib_db_raise_runner(db, APR_ARRAY_IDX(ids, i, apr_int64_t));
    return CIB_OK;
}

/* --- PostgreSQL: sections on connections that may have died unnoticed */

/* What took longer was slow and not merely dead: it is not tried again, and no connection made
 * anew, for who asked waits. */
#define SLOW apr_time_from_sec(1)

/* How a section is run. */
typedef struct turn_t {
    int transaction;
    apr_time_t begun;
    int commit_sent;    /* from then on nobody knows what became of it */
    apr_int64_t number; /* the transaction's, to ask; 0: there is nothing to ask for */
    apr_uint64_t mark;  /* of the notice that goes with it; 0: none does */
} turn_t;

static int is_slow(const turn_t *turn)
{
    return apr_time_now() - turn->begun >= SLOW;
}

/* Make the connection anew, under the same handle. */
static int reset(cib_db_t *db, apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;

    cib_guard_end(db->store->guard, &db->guarded);
    if (apr_dbd_check_conn(c->driver, pool, c->handle) != APR_SUCCESS)
        return 0;
    cib_guard_begin(db->store->guard, c, &db->guarded);
    return 1;
}

/* End the transaction that the failed section left open. A connection that cannot even do that, or
 * does not answer at all, is dead: check_conn resets it in place, so that the pool it came from
 * does not hand it out dead to the next. Returns whether it is of use. */
static int recover(cib_db_t *db, const turn_t *turn, int *dead, apr_pool_t *pool)
{
    const cib_connection_t *c = &db->connection;
    const char *text = turn->transaction ? "ROLLBACK" : "SELECT 1";
    int changed = 0;

    *dead = apr_dbd_query(c->driver, c->handle, &changed, text) != 0;
    db->in_transaction = 0;
    return !*dead || (!is_slow(turn) && reset(db, pool));
}

static cib_error_t *commit_or_not(cib_db_t *db, turn_t *turn, cib_error_t *err, apr_pool_t *pool)
{
    if (err || !turn->transaction)
        return err;
    if (db->store->make_sure)
        CIB_TRY(cib_outcome_number(db, &turn->number, pool));
    turn->commit_sent = 1;
    err = cib_db_execute(db, "COMMIT", pool);
    if (!err)
        db->in_transaction = 0;
    return err;
}

static cib_error_t *take_turn(cib_db_t *db, turn_t *turn, cib_section_fn section, void *baton,
                              apr_pool_t *pool)
{
    cib_error_t *err = CIB_OK;

    db->failure = NULL;
    if (turn->transaction) {
        err = cib_db_execute(db, "BEGIN", pool);
        db->in_transaction = !err;
    }
    if (!err)
        err = cib_db_run(db, section, baton, pool);
    if (!err && turn->transaction && cib_raise_any(db))
        err = cib_notice_send(db, &turn->mark, pool);
    return commit_or_not(db, turn, err, pool);
}

/* Run the section, and once more when a statement failed: the connection may have been dead, or the
 * transaction a deadlock's victim. */
static cib_error_t *take_turns(cib_db_t *db, turn_t *turn, cib_section_fn section, void *baton,
                               int *usable, apr_pool_t *pool)
{
    cib_raise_mark_t mark = cib_raise_mark(db);
    cib_error_t *err = CIB_OK;

    *usable = 1;
    for (int turns = 0; turns < 2 && *usable && !turn->commit_sent; turns++) {
        int dead = 0, slow;

        cib_raise_forget(db, mark);
        err = take_turn(db, turn, section, baton, pool);
        if (!err || (!db->failure && !turn->transaction))
            return err;
        *usable = recover(db, turn, &dead, pool);
        if (!db->failure && !dead)
            return err; /* the section's own verdict */
        if (*usable)
            cib_db_renew(db, pool);
        slow = is_slow(turn); /* making it new may be what took so long */
        if (dead || slow)
            err->reason = CIB_REASON_UNAVAILABLE;
        if (slow)
            return err; /* too late for another turn */
    }
    return err;
}

/* Of a commit that failed. */
static cib_error_t *outcome(cib_store_t *store, const cib_source_t *source, const turn_t *turn,
                            cib_error_t *err, apr_pool_t *pool)
{
    if (turn->number)
        return cib_outcome_of(store, source, turn->number, err, pool);
    err->unsure = !store->make_sure;
    return err;
}

/* The host's listener may have been faster. First what is raised and then the mark: who is killed
 * in between has raised too often, and not too little. */
static void raise_once(cib_db_t *db, apr_uint64_t mark)
{
    cib_generation_t *gen = db->store->gen;

    if (!cib_raise_any(db) || (mark && cib_generation_is_marked(gen, mark)))
        return;
    cib_raise_now(db);
    if (mark)
        cib_generation_mark(gen, mark);
    cib_generation_announce(gen);
}

static cib_error_t *run_pgsql(cib_store_t *store, const cib_source_t *source, turn_t *turn,
                              cib_section_fn section, void *baton, apr_pool_t *pool)
{
    cib_error_t *err;
    cib_db_t db;
    int usable;

    turn->begun = apr_time_now();
    CIB_TRY(cib_db_open(&db, store, source, pool));
    err = take_turns(&db, turn, section, baton, &usable, pool);
    /* a commit of unknown outcome raises too: once too often costs a runner one question. It may
     * still come, and then the listener shall not think that it is known already. */
    if (!err || turn->commit_sent)
        raise_once(&db, err ? 0 : turn->mark);
    if (err && db.failure)
        cib_store_note(store, err);
    cib_db_close(&db, !usable);
    return err && turn->commit_sent ? outcome(store, source, turn, err, pool) : err;
}

/* --- sections */

static cib_error_t *read_sqlite(cib_store_t *store, const cib_source_t *source,
                                cib_section_fn section, void *baton, apr_pool_t *pool)
{
    cib_error_t *err;
    cib_db_t db;

    CIB_TRY(cib_db_open(&db, store, source, pool));
    err = cib_db_run(&db, section, baton, pool);
    if (db.failure)
        cib_store_note(store, db.failure);
    cib_db_close(&db, db.failure != NULL);
    return err;
}

cib_error_t *cib_store_read(cib_store_t *store, const cib_source_t *source, cib_section_fn section,
                            void *baton, apr_pool_t *pool)
{
    turn_t turn = {0};

    if (store->driver == CIB_DRIVER_SQLITE3)
        return read_sqlite(store, source, section, baton, pool);
    return run_pgsql(store, source, &turn, section, baton, pool);
}

cib_error_t *cib_store_write(cib_store_t *store, const cib_source_t *source, cib_write_e kind,
                             cib_section_fn section, void *baton, apr_pool_t *pool)
{
    turn_t turn = {.transaction = kind != CIB_WRITE_ONE};

    if (store->driver == CIB_DRIVER_SQLITE3)
        return cib_combiner_write(store, source, section, baton, pool);
    return run_pgsql(store, source, &turn, section, baton, pool);
}

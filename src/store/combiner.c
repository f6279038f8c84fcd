/* Group commit for SQLite, by flat combining.
 *
 * Threads that want to write queue up. One of them leads: it takes the queue as it stands, runs the
 * sections in the order they came, each under a savepoint, in one transaction under the instance's
 * lock, commits once for all, and hands each its outcome. Meanwhile the next ones queue up. So a
 * disk's sync is shared by all who would have waited for it, nobody sleeps and polls, and apr_dbd's
 * process-wide mutex is never fought for while the write lock is held. A leader serves one batch
 * and then hands on, for it has a request of its own to answer.
 */
#include <apr_thread_cond.h>

#include "internal.h"

/* A batch that grows without end would make its first members wait for its last. */
#define MAX_BATCH 256

/* So long nobody tries again. */
#define SHUT_OUT apr_time_from_sec(1)

/* A section that waits; it lives on the stack of its thread, which sleeps until `done`. */
typedef struct member_t {
    cib_section_fn section;
    void *baton;
    apr_pool_t *pool;
    cib_error_t *err;
    int done;
    struct member_t *next;
} member_t;

struct cib_combiner_t {
    apr_thread_mutex_t *mutex; /* over all of it */
    apr_thread_cond_t *handed_on;
    member_t *first;
    member_t **end;
    int leading;
};

apr_status_t cib_combiner_create(cib_combiner_t **combiner, apr_pool_t *pool)
{
    cib_combiner_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    if (rv == APR_SUCCESS)
        rv = apr_thread_cond_create(&made->handed_on, pool);
    made->end = &made->first;
    *combiner = made;
    return rv;
}

/* --- the transaction */

static cib_error_t *begin(cib_db_t *db, apr_pool_t *pool)
{
    cib_error_t *err;

    db->failure = NULL;
    err = cib_db_execute(db, "BEGIN IMMEDIATE", pool);
    db->in_transaction = !err;
    return err;
}

/* COMMIT that failed may leave the transaction open. Returns whether SQLite is surely outside of
 * one now. */
static int roll_back(cib_db_t *db, apr_pool_t *pool)
{
    if (db->in_transaction && cib_db_execute(db, "ROLLBACK", pool))
        return 0;
    db->in_transaction = 0;
    return 1;
}

/* The way back to before a member that failed. One that is alone has no savepoint: it starts over.
 */
static cib_error_t *undo(cib_db_t *db, int lone, apr_pool_t *pool)
{
    db->failure = NULL;
    if (!lone) {
        CIB_TRY(cib_db_execute(db, "ROLLBACK TO member", pool));
        return cib_db_execute(db, "RELEASE member", pool);
    }
    CIB_TRY(cib_db_execute(db, "ROLLBACK", pool));
    return begin(db, pool);
}

/* Run one section; its own error goes to the member. What is returned has lost the batch: SQLite
 * rolls all of it back by itself when the disk is full, for one. That is the database's reason and
 * never a section's verdict, which is not for the others to hear. */
static cib_error_t *run_member(cib_db_t *db, member_t *member, int lone)
{
    cib_raise_mark_t mark = cib_raise_mark(db);
    cib_error_t *failure, *stuck;

    for (int run = 0; run < 2; run++) {
        if (!lone)
            CIB_TRY(cib_db_execute(db, "SAVEPOINT member", member->pool));
        member->err = cib_db_run(db, member->section, member->baton, member->pool);
        if (!member->err)
            return lone ? CIB_OK : cib_db_execute(db, "RELEASE member", member->pool);
        failure = db->failure;
        if (failure)
            cib_store_note(db->store, failure);
        cib_raise_forget(db, mark);
        stuck = undo(db, lone, member->pool);
        if (stuck)
            return failure ? failure : stuck;
        if (!db->outdated)
            break;
    }
    return CIB_OK;
}

/* Who is killed between the commit and the raise leaves the intention standing, and until the next
 * writer has raised everything nobody trusts a value. */
static cib_error_t *commit(cib_db_t *db, apr_pool_t *pool)
{
    cib_generation_t *gen = cib_raise_any(db) ? db->store->gen : NULL;
    cib_error_t *err;

    if (gen)
        cib_generation_intend(gen);
    err = cib_db_execute(db, "COMMIT", pool);
    if (!err)
        db->in_transaction = 0;
    if (gen) {
        cib_raise_now(db); /* also when it failed: that is no lie, only a question more */
        cib_generation_settle(gen);
        cib_generation_announce(gen); /* who is woken may trust what it reads */
    }
    return err;
}

/* The database is locked by a program that knows nothing of our lock. Each who finds out has waited
 * for it as long as the driver does, with our lock held; so who waited for that meanwhile need not
 * try too, in one process after the other, and neither need who comes right after: a request may
 * write several times, and is promised an answer soon. `*shut_out`: it is so. */
static cib_error_t *enter(cib_db_t *db, apr_time_t since, int *shut_out, apr_pool_t *pool)
{
    apr_time_t noted = cib_lock_noted(db->store->lock);
    cib_error_t *err;

    *shut_out = noted >= since - SHUT_OUT && noted <= apr_time_now();
    if (*shut_out)
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_UNAVAILABLE, APR_SUCCESS, NULL),
                                "database: another program keeps it locked");
    err = begin(db, pool);
    *shut_out = err && err->reason == CIB_REASON_UNAVAILABLE;
    if (*shut_out)
        cib_lock_note(db->store->lock, apr_time_now());
    return err;
}

static cib_error_t *run_batch(cib_db_t *db, member_t *batch, apr_time_t since, int *shut_out,
                              apr_pool_t *pool)
{
    cib_error_t *err = enter(db, since, shut_out, pool);

    for (member_t *m = batch; m && !err; m = m->next)
        err = run_member(db, m, batch->next == NULL);
    return err ? err : commit(db, pool);
}

/* The connection comes first: waiting for one while holding the lock would stop other processes. */
static cib_error_t *serve(cib_store_t *store, const cib_source_t *source, member_t *batch,
                          int *shut_out, apr_pool_t *pool)
{
    apr_time_t since = apr_time_now();
    cib_error_t *err;
    apr_status_t rv;
    cib_db_t db;
    int broken = 0;

    CIB_TRY(cib_db_open(&db, store, source, pool));
    rv = cib_lock_acquire(store->lock);
    if (rv != APR_SUCCESS) {
        cib_db_close(&db, 0);
        return cib_error_system(pool, rv, "take the writers' lock");
    }
    err = run_batch(&db, batch, since, shut_out, pool);
    if (err) {
        cib_store_note(store, err);
        broken = !roll_back(&db, pool);
    }
    cib_lock_release(store->lock);
    cib_db_close(&db, broken);
    return err;
}

/* --- the queue */

static member_t *take_batch(cib_combiner_t *combiner)
{
    member_t *batch = combiner->first;
    member_t **last = &combiner->first;

    for (int n = 0; n < MAX_BATCH && *last; n++)
        last = &(*last)->next;
    combiner->first = *last;
    if (!combiner->first)
        combiner->end = &combiner->first;
    *last = NULL;
    return batch;
}

/* Nothing of a lost batch was committed, so those who did well have failed too: for the batch's
 * reason. Each error lives in the pool of who will read it. */
static void hand_out(member_t *batch, const cib_error_t *lost)
{
    for (member_t *m = batch, *next; m; m = next) {
        next = m->next;
        if (lost && !m->err) {
            m->err = cib_error(m->pool, lost->reason, lost->rv, NULL);
            m->err = cib_error_detail(m->pool, m->err, "%s", lost->detail ? lost->detail : "");
        }
        m->done = 1; /* its thread may return from here on, and `m` be gone */
    }
}

/* Called and left with the mutex held. */
static void lead(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool)
{
    cib_combiner_t *combiner = store->combiner;
    member_t *batch = take_batch(combiner);
    cib_error_t *lost;
    int shut_out = 0;

    combiner->leading = 1;
    apr_thread_mutex_unlock(combiner->mutex);
    lost = serve(store, source, batch, &shut_out, pool);
    apr_thread_mutex_lock(combiner->mutex);
    hand_out(batch, lost);
    if (shut_out) /* and so are those who came meanwhile */
        hand_out(take_batch(combiner), lost);
    combiner->leading = 0;
    apr_thread_cond_broadcast(combiner->handed_on);
}

cib_error_t *cib_combiner_write(cib_store_t *store, const cib_source_t *source,
                                cib_section_fn section, void *baton, apr_pool_t *pool)
{
    cib_combiner_t *combiner = store->combiner;
    member_t me = {section, baton, pool, CIB_OK, 0, NULL};

    apr_thread_mutex_lock(combiner->mutex);
    *combiner->end = &me;
    combiner->end = &me.next;
    while (!me.done) {
        if (combiner->leading)
            apr_thread_cond_wait(combiner->handed_on, combiner->mutex);
        else
            lead(store, source, pool);
    }
    apr_thread_mutex_unlock(combiner->mutex);
    return me.err;
}

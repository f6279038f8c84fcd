/* Group commit for SQLite, by flat combining.
 *
 * Threads that want to write queue up. The first leads: it takes the instance's lock and then the
 * queue as it stands, runs the sections in the order they came in one transaction, commits once for
 * all, and hands each its outcome. Meanwhile the next ones queue up. So a disk's sync is shared by
 * all who would have waited for it, nobody sleeps and polls, and apr_dbd's process-wide mutex is
 * never fought for while the write lock is held. A leader serves one batch and then hands on, for
 * it has a request of its own to answer.
 *
 * Nearly always all sections of a batch succeed, and then nothing stands between them. Where one
 * fails all of it is rolled back and run once more, each under a savepoint: those cost a copy of
 * each page that is written.
 *
 * Each thread sleeps on a futex of its own, so only those wake who have got their outcome, and the
 * one that is to lead.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

/* A batch that grows without end would make its first members wait for its last. */
#define MAX_BATCH 256

/* So long nobody tries again. */
#define SHUT_OUT apr_time_from_sec(1)

/* What has become of a member. */
enum { WAITING, LEADING, DONE };

/* A section that waits; it lives on the stack of its thread, which sleeps while it is WAITING. */
typedef struct member_t {
    cib_section_fn section;
    void *baton;
    apr_pool_t *pool;
    cib_error_t *err;
    apr_uint32_t state; /* set by atomic builtins; a futex */
    struct member_t *next;
} member_t;

struct cib_combiner_t {
    apr_thread_mutex_t *mutex; /* over all of it */
    member_t *first;           /* the leader, until it takes the queue */
    member_t **end;
    int led; /* somebody leads, or has been told to */
};

apr_status_t cib_combiner_create(cib_combiner_t **combiner, apr_pool_t *pool)
{
    cib_combiner_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    made->end = &made->first;
    *combiner = made;
    return rv;
}

/* --- the queue */

static member_t *take_batch(cib_combiner_t *combiner)
{
    member_t **last = &combiner->first;
    member_t *batch;

    apr_thread_mutex_lock(combiner->mutex);
    batch = combiner->first;
    for (int n = 0; n < MAX_BATCH && *last; n++)
        last = &(*last)->next;
    combiner->first = *last;
    if (!combiner->first)
        combiner->end = &combiner->first;
    *last = NULL;
    apr_thread_mutex_unlock(combiner->mutex);
    return batch;
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

/* All of them with nothing in between; where one fails it is as if none had been run. */
static cib_error_t *run_together(cib_db_t *db, member_t *batch, int *good, apr_pool_t *pool)
{
    cib_raise_mark_t mark = cib_raise_mark(db);
    cib_error_t *failure, *stuck;

    *good = 1;
    for (member_t *m = batch; m && *good; m = m->next) {
        m->err = cib_db_run(db, m->section, m->baton, m->pool);
        *good = !m->err;
    }
    if (*good)
        return CIB_OK;
    failure = db->failure;
    cib_raise_forget(db, mark);
    stuck = undo(db, 1, pool);
    if (!stuck)
        return CIB_OK;
    for (member_t *m = batch; m; m = m->next)
        m->err = CIB_OK;
    return failure ? failure : stuck;
}

static cib_error_t *run_batch(cib_db_t *db, member_t *batch, apr_time_t since, int *shut_out,
                              apr_pool_t *pool)
{
    int lone = batch && !batch->next, good = 0;
    cib_error_t *err = enter(db, since, shut_out, pool);

    if (!err && !lone)
        err = run_together(db, batch, &good, pool);
    for (member_t *m = batch; m && !err && !good; m = m->next)
        err = run_member(db, m, lone);
    return err ? err : commit(db, pool);
}

/* Called without the mutex. The connection comes first: waiting for one while holding the lock
 * would stop other processes. Then the lock, and who came while it was waited for is served, too.
 */
static cib_error_t *serve(cib_store_t *store, const cib_source_t *source, member_t **batch,
                          int *shut_out, apr_pool_t *pool)
{
    apr_time_t since = apr_time_now();
    cib_error_t *err = CIB_OK;
    apr_status_t rv;
    cib_db_t db;
    int broken = 0;

    *batch = NULL;
    CIB_TRY(cib_db_open(&db, store, source, pool));
    rv = cib_lock_acquire(store->lock);
    if (rv != APR_SUCCESS) {
        cib_db_close(&db, 0);
        return cib_error_system(pool, rv, "take the writers' lock");
    }
    *batch = take_batch(store->combiner);
    err = run_batch(&db, *batch, since, shut_out, pool);
    if (err) {
        cib_store_note(store, err);
        broken = !roll_back(&db, pool);
    }
    cib_lock_release(store->lock);
    cib_db_close(&db, broken);
    return err;
}

/* --- waiting */

static apr_uint32_t wait_for_turn(member_t *me)
{
    apr_uint32_t state;

    while ((state = __atomic_load_n(&me->state, __ATOMIC_ACQUIRE)) == WAITING)
        (void)syscall(SYS_futex, &me->state, FUTEX_WAIT_PRIVATE, WAITING, NULL, NULL, 0);
    return state;
}

/* Its thread may go on from the first line on, and `member` be gone: then the second wakes nobody,
 * or somebody who looks again. */
static void wake(member_t *member, apr_uint32_t state)
{
    __atomic_store_n(&member->state, state, __ATOMIC_RELEASE);
    (void)syscall(SYS_futex, &member->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Nothing of a lost batch was committed, so those who did well have failed too: for the batch's
 * reason. Each error lives in the pool of who will read it, and the reason perhaps in that of one
 * of them: so all are told before anybody is woken. */
static void tell(member_t *batch, const cib_error_t *lost)
{
    for (member_t *m = batch; m && lost; m = m->next) {
        if (m->err)
            continue;
        m->err = cib_error(m->pool, lost->reason, lost->rv, NULL);
        m->err = cib_error_detail(m->pool, m->err, "%s", lost->detail ? lost->detail : "");
    }
}

static void let_go(member_t *batch, const member_t *leader)
{
    for (member_t *m = batch, *next; m; m = next) {
        next = m->next;
        if (m != leader)
            wake(m, DONE);
    }
}

/* Before those are woken who have their outcome, for the next one has work to do. */
static void hand_on(cib_combiner_t *combiner)
{
    member_t *next;

    apr_thread_mutex_lock(combiner->mutex);
    next = combiner->first;
    combiner->led = next != NULL;
    apr_thread_mutex_unlock(combiner->mutex);
    if (next)
        wake(next, LEADING);
}

/* `me` is the first of the queue. */
static void lead(member_t *me, cib_store_t *store, const cib_source_t *source)
{
    cib_combiner_t *combiner = store->combiner;
    member_t *batch, *others = NULL;
    int shut_out = 0;
    cib_error_t *lost = serve(store, source, &batch, &shut_out, me->pool);

    if (!batch) /* it did not come to that */
        batch = take_batch(combiner);
    if (shut_out) /* and so are those who came meanwhile */
        others = take_batch(combiner);
    hand_on(combiner);
    tell(batch, lost);
    tell(others, lost);
    let_go(batch, me);
    let_go(others, me);
}

cib_error_t *cib_combiner_write(cib_store_t *store, const cib_source_t *source,
                                cib_section_fn section, void *baton, apr_pool_t *pool)
{
    cib_combiner_t *combiner = store->combiner;
    member_t me = {section, baton, pool, CIB_OK, WAITING, NULL};

    apr_thread_mutex_lock(combiner->mutex);
    *combiner->end = &me;
    combiner->end = &me.next;
    if (!combiner->led) {
        combiner->led = 1;
        me.state = LEADING;
    }
    apr_thread_mutex_unlock(combiner->mutex);
    if (wait_for_turn(&me) == LEADING)
        lead(&me, store, source);
    return me.err;
}

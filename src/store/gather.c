/* Sections for many, on PostgreSQL: those who ask the same at the same time are answered together.
 *
 * As with SQLite's group commit (combiner.c), by flat combining: who comes first leads and asks at
 * once. Who comes while it does waits, and when it is back one of these asks for all of them. So
 * nobody waits in order to be many, one alone is as fast as ever, and many cost the database little
 * more than one. Who asks something else does not wait for them: it leads its own.
 */
#include <string.h>

#include <apr_thread_cond.h>

#include "internal.h"

/* More would make the first of them wait for the last. */
#define MAX_BATCH 32

/* A batch that failed after such a time waited for a database that does not answer. Who came
 * meanwhile would wait as long again, for the same. */
#define SLOW apr_time_from_sec(1)

typedef enum { WAITING, LEADING, DONE } state_e;

/* Who asks; it lives on the stack of its thread, which sleeps while it is WAITING. */
typedef struct member_t {
    cib_wish_t wish;
    cib_wishes_fn section;
    cib_gather_e kind;
    const char *key;
    state_e state;
    apr_thread_cond_t *turn; /* NULL: it does not sleep */
    struct member_t *next;
} member_t;

struct cib_gatherer_t {
    apr_thread_mutex_t *mutex; /* over all of it */
    member_t *waiting;         /* the longest first */
    member_t *leading;
};

/* Those who are asked for at once. */
typedef struct batch_t {
    member_t *members[MAX_BATCH];
    int count;
} batch_t;

apr_status_t cib_gatherer_create(cib_gatherer_t **gatherer, apr_pool_t *pool)
{
    cib_gatherer_t *made = apr_pcalloc(pool, sizeof(*made));

    *gatherer = made;
    return apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
}

/* --- asking */

/* Who was granted its wish by a run that then failed keeps it. */
static cib_error_t *run_batch(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const batch_t *batch = baton;
    cib_wish_t *wishes[MAX_BATCH];
    int count = 0;

    for (int i = 0; i < batch->count; i++) {
        cib_wish_t *wish = &batch->members[i]->wish;

        wish->err = CIB_OK;
        if (!wish->granted)
            wishes[count++] = wish;
    }
    return count ? batch->members[0]->section(db, wishes, count, pool) : CIB_OK;
}

static cib_error_t *ask(cib_store_t *store, const cib_source_t *source, batch_t *batch,
                        apr_pool_t *pool)
{
    cib_gather_e kind = batch->members[0]->kind;

    if (kind == CIB_GATHER_READ)
        return cib_store_read(store, source, run_batch, batch, pool);
    return cib_store_write(store, source, kind == CIB_GATHER_ONE ? CIB_WRITE_ONE : CIB_WRITE_MANY,
                           run_batch, batch, pool);
}

/* Each error lives in the pool of who will read it. */
static cib_error_t *copy_error(const cib_error_t *err, apr_pool_t *pool)
{
    cib_error_t *copy =
        cib_error(pool, err->reason, err->rv, err->message ? "%s" : NULL, err->message);

    copy->unsure = err->unsure;
    return err->detail ? cib_error_detail(pool, copy, "%s", err->detail) : copy;
}

static void fail(member_t *member, const cib_error_t *err)
{
    if (!member->wish.granted && !member->wish.err)
        member->wish.err = copy_error(err, member->wish.pool);
}

/* Does what failed so mean that others need not ask? */
static int is_down(const cib_error_t *err, apr_time_t begun)
{
    return err->reason == CIB_REASON_UNAVAILABLE && apr_time_now() - begun >= SLOW;
}

/* One that the database cannot bear must not fail the others. Of those who have no wish granted
 * nothing was committed. */
static const cib_error_t *ask_one_by_one(cib_store_t *store, const cib_source_t *source,
                                         const batch_t *batch, apr_pool_t *pool)
{
    const cib_error_t *down = NULL;

    for (int i = 0; i < batch->count; i++) {
        batch_t alone = {{batch->members[i]}, 1};
        apr_time_t begun = apr_time_now();
        const cib_error_t *err = down ? down : ask(store, source, &alone, pool);

        if (err)
            fail(batch->members[i], err);
        if (err && is_down(err, begun))
            down = err;
    }
    return down;
}

/* Returns why those who came meanwhile need not ask. */
static const cib_error_t *serve(cib_store_t *store, const cib_source_t *source, batch_t *batch,
                                apr_pool_t *pool)
{
    apr_time_t begun = apr_time_now();
    const cib_error_t *err = ask(store, source, batch, pool);

    if (err && err->reason == CIB_REASON_INTERNAL && !err->unsure && batch->count > 1)
        return ask_one_by_one(store, source, batch, pool);
    for (int i = 0; err && i < batch->count; i++)
        fail(batch->members[i], err);
    return err && is_down(err, begun) ? err : NULL;
}

/* --- waiting; all of it with the mutex held */

static int is_alike(const member_t *a, const member_t *b)
{
    return a->section == b->section && a->kind == b->kind && strcmp(a->key, b->key) == 0;
}

static member_t **find_alike(member_t **list, const member_t *member)
{
    while (*list && !is_alike(*list, member))
        list = &(*list)->next;
    return list;
}

/* The first one like it goes off the list; NULL: there is none. */
static member_t *take_alike(member_t **list, const member_t *member)
{
    member_t **at = find_alike(list, member);
    member_t *found = *at;

    if (found)
        *at = found->next;
    return found;
}

static void gather(cib_gatherer_t *gatherer, member_t *leader, batch_t *batch)
{
    member_t *next = leader;

    batch->count = 0;
    while (next) {
        batch->members[batch->count++] = next;
        next = batch->count < MAX_BATCH ? take_alike(&gatherer->waiting, leader) : NULL;
    }
}

/* Its thread may return from here on, and `member` be gone. */
static void wake(member_t *member, state_e state)
{
    member->state = state;
    if (member->turn)
        apr_thread_cond_signal(member->turn);
}

static void begin_leading(cib_gatherer_t *gatherer, member_t *member)
{
    member->next = gatherer->leading;
    gatherer->leading = member;
    wake(member, LEADING);
}

/* The next one leads those that came meanwhile, unless there is no use in it. */
static void hand_on(cib_gatherer_t *gatherer, const member_t *leader, const cib_error_t *down)
{
    member_t *next;

    (void)take_alike(&gatherer->leading, leader);
    while ((next = take_alike(&gatherer->waiting, leader)) != NULL) {
        if (!down) {
            begin_leading(gatherer, next);
            return;
        }
        fail(next, down);
        wake(next, DONE);
    }
}

static void lead(cib_store_t *store, const cib_source_t *source, member_t *leader)
{
    cib_gatherer_t *gatherer = store->gatherer;
    const cib_error_t *down;
    batch_t batch;

    gather(gatherer, leader, &batch);
    apr_thread_mutex_unlock(gatherer->mutex);
    down = serve(store, source, &batch, leader->wish.pool);
    apr_thread_mutex_lock(gatherer->mutex);
    hand_on(gatherer, leader, down);
    for (int i = 0; i < batch.count; i++)
        wake(batch.members[i], DONE);
}

/* Lead at once, where nobody like it does; else wait for it. */
static void wait_for_turn(cib_gatherer_t *gatherer, member_t *member)
{
    member_t **end = &gatherer->waiting;

    if (!*find_alike(&gatherer->leading, member)) {
        begin_leading(gatherer, member);
        return;
    }
    apr_thread_cond_create(&member->turn, member->wish.pool);
    while (*end)
        end = &(*end)->next;
    *end = member;
    while (member->state == WAITING)
        apr_thread_cond_wait(member->turn, gatherer->mutex);
}

static cib_error_t *gather_pgsql(cib_store_t *store, const cib_source_t *source, member_t *member)
{
    cib_gatherer_t *gatherer = store->gatherer;

    apr_thread_mutex_lock(gatherer->mutex);
    wait_for_turn(gatherer, member);
    if (member->state == LEADING)
        lead(store, source, member);
    apr_thread_mutex_unlock(gatherer->mutex);
    return member->wish.err;
}

/* --- SQLite */

/* Here nothing is granted before the commit. */
static cib_error_t *run_alone(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    member_t *member = baton;
    cib_wish_t *wishes[] = {&member->wish};

    member->wish.err = CIB_OK;
    CIB_TRY(member->section(db, wishes, 1, pool));
    member->wish.granted = 0;
    return member->wish.err;
}

static cib_error_t *ask_sqlite(cib_store_t *store, const cib_source_t *source, member_t *member)
{
    apr_pool_t *pool = member->wish.pool;

    if (member->kind == CIB_GATHER_READ)
        return cib_store_read(store, source, run_alone, member, pool);
    return cib_store_write(store, source, CIB_WRITE_MANY, run_alone, member, pool);
}

/* --- */

cib_error_t *cib_store_gather(cib_store_t *store, const cib_source_t *source, cib_gather_e kind,
                              const char *key, cib_wishes_fn section, void *baton, apr_pool_t *pool)
{
    member_t me = {.wish = {baton, pool, CIB_OK, 0},
                   .section = section,
                   .kind = kind,
                   .key = key,
                   .state = WAITING};

    if (store->driver == CIB_DRIVER_SQLITE3)
        return ask_sqlite(store, source, &me);
    return gather_pgsql(store, source, &me);
}

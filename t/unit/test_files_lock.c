#include "scratch.h"

#include <sched.h>
#include <sys/mman.h>

#include <apr_thread_proc.h>

#include "files/cib_lock.h"

#define TURNS 300

static const cib_storage_t *storage;
static volatile struct shared_t {
    int inside;
    int clashes;
    long turns;
} * shared;

/* Between the two reads of `inside` everybody else gets a chance. */
static void take_turn(cib_lock_t *lock)
{
    if (cib_lock_acquire(lock) != APR_SUCCESS)
        _exit(3);
    if (shared->inside++)
        shared->clashes++;
    sched_yield();
    if (--shared->inside)
        shared->clashes++;
    shared->turns++;
    cib_lock_release(lock);
}

static void *APR_THREAD_FUNC run_thread(apr_thread_t *thread, void *baton)
{
    (void)thread;
    for (int i = 0; i < TURNS; i++)
        take_turn(baton);
    return NULL;
}

static int run_process(void *baton)
{
    apr_thread_t *threads[3];
    apr_status_t rv;
    cib_lock_t *lock;

    if (cib_lock_open(&lock, storage, baton) != APR_SUCCESS)
        return 1;
    child_tell();
    child_wait();
    for (int i = 0; i < 3; i++) {
        if (apr_thread_create(&threads[i], NULL, run_thread, lock, baton) != APR_SUCCESS)
            return 2;
    }
    for (int i = 0; i < 3; i++)
        apr_thread_join(&rv, threads[i]);
    return 0;
}

static void test_exclusion(apr_pool_t *pool)
{
    child_t children[3];

    for (int i = 0; i < 3; i++) {
        children[i] = child_start(run_process, pool);
        child_hear(&children[i]);
    }
    for (int i = 0; i < 3; i++)
        child_release(&children[i]);
    for (int i = 0; i < 3; i++)
        is_int(child_end(&children[i]), 0, "process %d of three, three threads each", i);
    is_int(shared->turns, 3 * 3 * TURNS, "every turn was taken");
    is_int(shared->clashes, 0, "... and never two at once");
}

static int hold_until_killed(void *baton)
{
    cib_lock_t *lock;

    if (cib_lock_open(&lock, storage, baton) || cib_lock_acquire(lock))
        return 1;
    child_tell();
    child_wait();
    return 0;
}

static int use_inherited(void *baton)
{
    return cib_lock_acquire(baton) == APR_EINVAL ? 0 : 1;
}

static void test_owners(apr_pool_t *pool)
{
    child_t child = child_start(hold_until_killed, pool);
    cib_lock_t *lock = NULL;

    ok(child_hear(&child), "a process holds the lock");
    child_kill(&child);
    is_rv(cib_lock_open(&lock, storage, pool), APR_SUCCESS, "open it here");
    is_rv(cib_lock_acquire(lock), APR_SUCCESS, "killed it holds it no more");
    child = child_start(use_inherited, lock);
    is_int(child_end(&child), 0, "a child does not use its parent's");
    cib_lock_release(lock);
    is_rv(cib_lock_acquire(lock), APR_SUCCESS, "again");
    cib_lock_release(lock);
}

static void test_missing(apr_pool_t *pool)
{
    cib_storage_t gone = {0};
    cib_lock_t *lock;

    gone.dir = scratch_file(pool, "gone");
    is_rv(cib_lock_open(&lock, &gone, pool), APR_ENOENT, "no storage directory, no lock");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    storage = scratch_storage(pool, "storage");
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bail_out("no shared memory");
    test_exclusion(pool);
    test_owners(pool);
    test_missing(pool);
    return done_testing();
}

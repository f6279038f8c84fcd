#include "scratch.h"

#include <sys/file.h>

#include "files/cib_generation.h"

#define BOOT_AT 32 /* where the file has the id of the boot it was made in */
#define MAGIC_AT 0

static const cib_storage_t *storage;

static cib_generation_t *open_here(apr_pool_t *pool)
{
    cib_generation_t *gen = NULL;
    apr_status_t rv = cib_generation_open(&gen, storage, pool);

    if (rv != APR_SUCCESS)
        bail_out("cannot open the generations: %d", (int)rv);
    return gen;
}

static const char *host_file(apr_pool_t *pool)
{
    char host[256] = "";

    gethostname(host, sizeof(host) - 1);
    return cib_storage_path(storage, apr_pstrcat(pool, "hosts/", host, NULL), pool);
}

static int tell_value(void *baton)
{
    int *fds = baton;
    apr_pool_t *pool = tap_pool();
    const char *value;

    child_tell();
    child_wait();
    value = cib_generation_value(open_here(pool), 1, pool);
    return write(fds[1], value, 32) == 32 ? 0 : 1;
}

/* Before anything else: eight processes find no file. */
static void test_race(apr_pool_t *pool)
{
    child_t children[8];
    char first[33] = "", value[33] = "";
    int fds[2], same = 0;

    if (pipe(fds) != 0)
        bail_out("no pipe");
    for (int i = 0; i < 8; i++) {
        children[i] = child_start(tell_value, fds);
        child_hear(&children[i]);
    }
    for (int i = 0; i < 8; i++)
        child_release(&children[i]);
    for (int i = 0; i < 8; i++) {
        child_end(&children[i]);
        if (read(fds[0], value, 32) != 32)
            bail_out("a child said nothing");
        if (i == 0)
            memcpy(first, value, sizeof(first));
        same += strcmp(first, value) == 0;
    }
    is_int(same, 8, "eight that make the file agree about it");
    is_str(cib_generation_value(open_here(pool), 1, pool), first,
           "... and so does who comes later");
}

static void test_values(apr_pool_t *pool)
{
    cib_generation_t *gen = open_here(pool), *other = open_here(pool);
    const char *one = cib_generation_value(gen, 1, pool);
    const char *two = cib_generation_value(gen, 2, pool);

    ok(strlen(one) <= 40 && strlen(one) > 16, "a value is short");
    ok(cib_generation_is_current(gen, 1, one), "it is current");
    ok(cib_generation_is_current(other, 1, one), "... also by another mapping");
    ok(!cib_generation_is_current(gen, 1, NULL), "none is not");
    ok(!cib_generation_is_current(gen, 1, ""), "nor is an empty one");
    ok(!cib_generation_is_current(gen, 1, apr_pstrcat(pool, one, "0", NULL)), "nor a longer one");
    ok(!cib_generation_is_current(gen, 1, "0123456789abcdef0123456789abcdef"), "nor an invented");
    cib_generation_raise(other, 1);
    ok(!cib_generation_is_current(gen, 1, one), "raised it is not current any more");
    ok(strcmp(cib_generation_value(gen, 1, pool), one) != 0, "... there is another value");
    ok(cib_generation_is_current(gen, 2, two), "another runner's is");
    cib_generation_raise_all(other);
    ok(!cib_generation_is_current(gen, 2, two), "raised for all that is not either");
    two = cib_generation_value(gen, 2, pool);
    cib_generation_raise(gen, 2 + 65536);
    ok(!cib_generation_is_current(gen, 2, two), "two runners may share a counter");
    cib_generation_raise(gen, APR_INT64_MAX);
    cib_generation_raise(gen, -1);
    ok(1, "no id is out of bounds");
}

static void test_reopened(apr_pool_t *parent)
{
    const char *value;
    apr_pool_t *pool;

    apr_pool_create(&pool, parent);
    value = cib_generation_value(open_here(pool), 3, parent);
    apr_pool_destroy(pool);
    apr_pool_create(&pool, parent);
    ok(cib_generation_is_current(open_here(pool), 3, value), "a value outlives the mapping");
    apr_pool_destroy(pool);
}

static int die_between(void *baton)
{
    cib_generation_t *gen = baton;

    cib_generation_intend(gen);
    child_tell();
    child_wait();
    return 0;
}

static void test_intention(apr_pool_t *pool)
{
    cib_generation_t *gen = open_here(pool);
    const char *value = cib_generation_value(gen, 4, pool);
    child_t child;

    cib_generation_intend(gen);
    ok(!cib_generation_is_current(gen, 4, value), "while an intention stands nothing is current");
    cib_generation_settle(gen);
    ok(cib_generation_is_current(gen, 4, value), "settled it is again");
    child = child_start(die_between, gen);
    child_hear(&child);
    child_kill(&child);
    ok(!cib_generation_is_current(gen, 4, value), "killed on its way it still stands");
    value = cib_generation_value(gen, 4, pool);
    cib_generation_intend(gen);
    cib_generation_settle(gen);
    ok(!cib_generation_is_current(gen, 4, value), "... and the next one raises all");
    value = cib_generation_value(gen, 4, pool);
    ok(cib_generation_is_current(gen, 4, value), "... after which all is well");
}

static int wait_for_raise(void *baton)
{
    apr_pool_t *pool = tap_pool();
    cib_generation_t *gen = open_here(pool);
    apr_uint64_t count = cib_generation_count(gen, 6);
    apr_uint32_t seen = cib_generation_announced(gen);

    child_tell();
    while (cib_generation_count(gen, 6) == count) {
        cib_generation_wait(gen, seen);
        seen = cib_generation_announced(gen);
    }
    return 0;
}

static void test_waiting(apr_pool_t *pool)
{
    cib_generation_t *gen = open_here(pool);
    apr_uint64_t six = cib_generation_count(gen, 6), seven = cib_generation_count(gen, 7);
    apr_uint32_t seen = cib_generation_announced(gen);
    child_t children[3];

    cib_generation_raise(gen, 7);
    ok(cib_generation_count(gen, 7) != seven, "a raise changes the runner's count");
    is_int((apr_int64_t)cib_generation_count(gen, 6), (apr_int64_t)six, "... and no other's");
    is_int(cib_generation_announced(gen), seen, "nobody is woken by a raise alone");
    cib_generation_announce(gen);
    ok(cib_generation_announced(gen) != seen, "but by its announcement");
    cib_generation_wait(gen, seen);
    ok(1, "who comes too late to sleep does not");
    for (int i = 0; i < 3; i++) {
        children[i] = child_start(wait_for_raise, NULL);
        child_hear(&children[i]);
    }
    cib_generation_announce(gen);
    cib_generation_raise_all(gen);
    cib_generation_announce(gen);
    for (int i = 0; i < 3; i++)
        is_int(child_end(&children[i]), 0, "a process that waited goes on");
}

static int raise_often(void *baton)
{
    (void)baton;
    child_tell();
    child_wait();
    for (int i = 0; i < 20000; i++)
        cib_generation_raise(baton, 5);
    return 0;
}

static void test_together(apr_pool_t *pool)
{
    cib_generation_t *gen = open_here(pool);
    unsigned long long before, after;
    child_t children[4];

    before = strtoull(cib_generation_value(gen, 5, pool) + 16, NULL, 16);
    for (int i = 0; i < 4; i++) {
        children[i] = child_start(raise_often, gen);
        child_hear(&children[i]);
    }
    for (int i = 0; i < 4; i++)
        child_release(&children[i]);
    for (int i = 0; i < 4; i++)
        child_end(&children[i]);
    after = strtoull(cib_generation_value(gen, 5, pool) + 16, NULL, 16);
    is_int(after - before, 80000, "no raise of four processes is lost");
}

/* Make the file as it would be found after something happened to it while nobody had it open. */
static void change_file(apr_pool_t *pool, off_t at, const void *data, size_t len)
{
    int fd = open(host_file(pool), O_WRONLY | O_CLOEXEC);

    if (fd < 0 || pwrite(fd, data, len, at) != (ssize_t)len)
        bail_out("cannot change the file");
    close(fd);
}

static void test_other_life(apr_pool_t *parent)
{
    const char *value, *again;
    apr_pool_t *pool;

    apr_pool_create(&pool, parent);
    value = cib_generation_value(open_here(pool), 6, parent);
    cib_generation_intend(open_here(pool));
    apr_pool_destroy(pool);
    change_file(parent, BOOT_AT, "another boot", 12);
    apr_pool_create(&pool, parent);
    ok(!cib_generation_is_current(open_here(pool), 6, value), "after a boot no value is current");
    again = cib_generation_value(open_here(pool), 6, parent);
    ok(cib_generation_is_current(open_here(pool), 6, again), "... but new ones are");
    apr_pool_destroy(pool);
    change_file(parent, MAGIC_AT, "torn", 4);
    apr_pool_create(&pool, parent);
    ok(!cib_generation_is_current(open_here(pool), 6, again), "a torn file begins anew");
    apr_pool_destroy(pool);
    is_int(truncate(host_file(parent), 100), 0, "a short file");
    apr_pool_create(&pool, parent);
    ok(!cib_generation_is_current(open_here(pool), 65535, value), "... is made whole");
    cib_generation_raise(open_here(pool), 65535);
    apr_pool_destroy(pool);
    is_int(unlink(host_file(parent)), 0, "a file that is gone");
    apr_pool_create(&pool, parent);
    ok(!cib_generation_is_current(open_here(pool), 6, again), "... is made anew");
    apr_pool_destroy(pool);
}

static int hold_ear(void *baton)
{
    apr_status_t rv = cib_generation_take_ear(open_here(tap_pool()), tap_pool());

    child_tell();
    child_wait();
    return rv == APR_SUCCESS ? 0 : 1;
}

/* NFS makes one kind of lock of flock's and fcntl's. */
static int is_lockable(const char *path)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int free = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fcntl(fd, F_OFD_GETLK, &all) == 0 &&
               all.l_type == F_UNLCK;

    if (fd >= 0)
        close(fd);
    return free;
}

static void test_ear(apr_pool_t *parent)
{
    child_t child = child_start(hold_ear, NULL);
    cib_generation_t *gen = open_here(parent);
    apr_pool_t *pool;

    apr_pool_create(&pool, parent);
    child_hear(&child);
    is_int(cib_generation_take_ear(gen, pool), APR_EAGAIN, "another process listens");
    child_release(&child);
    is_int(child_end(&child), 0, "  as long as it lives");
    is_int(cib_generation_take_ear(gen, pool), APR_SUCCESS, "then this one does");
    is_int(cib_generation_take_ear(gen, parent), APR_EAGAIN, "  once");
    ok(is_lockable(host_file(pool)), "  and whoever opens the generations may lock them");
    apr_pool_destroy(pool);
    apr_pool_create(&pool, parent);
    is_int(cib_generation_take_ear(gen, pool), APR_SUCCESS, "and anew when its pool has ended");
    apr_pool_destroy(pool);
}

static void test_hearing(apr_pool_t *pool)
{
    cib_generation_t *gen = open_here(pool), *again = open_here(pool);
    apr_time_t now = cib_generation_clock();
    int known = 1;

    is_int(cib_generation_heard(gen), 0, "nothing was heard");
    cib_generation_hear(gen, now);
    ok(cib_generation_heard(again) == now, "what is heard is heard by all");
    ok(cib_generation_clock() >= now, "the clock goes on");
    ok(!cib_generation_is_marked(gen, 1), "a mark is not known");
    for (apr_uint64_t mark = 1; mark <= 200; mark++)
        cib_generation_mark(gen, mark);
    for (apr_uint64_t mark = 1; mark <= 200; mark++)
        known = known && cib_generation_is_marked(again, mark);
    ok(known, "two hundred are, by all");
    for (apr_uint64_t mark = 201; mark <= 600; mark++)
        cib_generation_mark(gen, mark);
    ok(!cib_generation_is_marked(gen, 1) && cib_generation_is_marked(gen, 600),
       "old ones are forgotten for new ones");
}

static void test_missing(apr_pool_t *pool)
{
    cib_storage_t gone = {0};
    cib_generation_t *gen;

    gone.dir = scratch_file(pool, "gone");
    is_rv(cib_generation_open(&gen, &gone, pool), APR_ENOENT, "no storage directory, none of it");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    storage = scratch_storage(pool, "storage");
    test_race(pool);
    test_values(pool);
    test_reopened(pool);
    test_intention(pool);
    test_waiting(pool);
    test_together(pool);
    test_other_life(pool);
    test_ear(pool);
    test_hearing(pool);
    test_missing(pool);
    return done_testing();
}

#include "files/cib_generation.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "util/cib_crypto.h"

#define COUNTERS 65536
#define MAGIC UINT64_C(0x316E654742494320) /* also says the layout's version */
#define BOOT_LEN 40
#define VALUE_LEN 32
#define MARKS 256 /* as many transactions as may be under way between a commit and its notice */

/* The file, as it is mapped. Everything that changes is read and written with __atomic builtins. */
typedef struct generation_file_t {
    uint64_t magic;
    uint64_t epoch;     /* random: counters of another life of this file are not comparable */
    uint64_t intention; /* somebody is between intend and settle, or died there */
    uint64_t everyone;  /* added to each counter */
    char boot[BOOT_LEN];
    uint32_t announced; /* a futex: who waits for a raise sleeps on it */
    uint32_t marked;    /* how many marks there have been */
    uint64_t heard;     /* a time of this boot; 0: never */
    uint64_t marks[MARKS];
    char reserved[4096 - (5 + MARKS) * sizeof(uint64_t) - BOOT_LEN - 2 * sizeof(uint32_t)];
    uint64_t counters[COUNTERS];
} generation_file_t;

_Static_assert(sizeof(generation_file_t) == 4096 + COUNTERS * sizeof(uint64_t),
               "the file's layout has no gaps");

struct cib_generation_t {
    generation_file_t *file;
    const char *ear; /* the file whose lock the listener has; no host's name has a "+" */
};

static apr_status_t generation_cleanup(void *data)
{
    cib_generation_t *gen = data;

    munmap(gen->file, sizeof(*gen->file));
    gen->file = NULL;
    return APR_SUCCESS;
}

/* hosts/<host name>, the name made harmless. */
static const char *host_path(const cib_storage_t *storage, apr_pool_t *pool)
{
    char host[256] = "";
    char *at;

    if (gethostname(host, sizeof(host) - 1) != 0 || !*host)
        apr_cpystrn(host, "localhost", sizeof(host));
    host[sizeof(host) - 1] = '\0';
    for (at = host; *at; at++) {
        int plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                    (*at >= '0' && *at <= '9') || *at == '-' || (*at == '.' && at > host);

        if (!plain)
            *at = '_';
    }
    return cib_storage_path(storage, apr_pstrcat(pool, "hosts/", host, NULL), pool);
}

/* What tells this run of the system from the one before; all zero where it cannot be had. */
static void read_boot_id(char *boot)
{
    int fd;
    apr_size_t got = 0;

    memset(boot, 0, BOOT_LEN);
    if (cib_fd_open(&fd, "/proc/sys/kernel/random/boot_id", O_RDONLY, 0) != APR_SUCCESS)
        return;
    if (cib_fd_read(fd, boot, BOOT_LEN - 1, 0, &got) != APR_SUCCESS)
        memset(boot, 0, BOOT_LEN);
    cib_fd_close(&fd);
}

/* Under the file's lock. Nothing of it is ever synced, so after a power cut counters may be older
 * than what runners were told: with each boot a new epoch begins. */
static apr_status_t begin_epoch(generation_file_t *file)
{
    char boot[BOOT_LEN];
    uint64_t epoch;
    apr_status_t rv;

    read_boot_id(boot);
    if (__atomic_load_n(&file->magic, __ATOMIC_ACQUIRE) == MAGIC && *boot &&
        memcmp(boot, file->boot, BOOT_LEN) == 0)
        return APR_SUCCESS;
    rv = cib_random(&epoch, sizeof(epoch));
    if (rv != APR_SUCCESS)
        return rv;
    memcpy(file->boot, boot, BOOT_LEN);
    __atomic_store_n(&file->heard, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&file->epoch, epoch, __ATOMIC_SEQ_CST);
    /* who meant something in another boot is dead; in an unknown one it may be alive */
    if (*boot)
        __atomic_store_n(&file->intention, 0, __ATOMIC_SEQ_CST);
    /* last: a process killed before this leaves a file that the next one begins anew */
    __atomic_store_n(&file->magic, MAGIC, __ATOMIC_SEQ_CST);
    return APR_SUCCESS;
}

static int is_whole(int fd)
{
    uint64_t magic = 0;
    apr_size_t got = 0;
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(generation_file_t) &&
           cib_fd_read(fd, &magic, sizeof(magic), 0, &got) == APR_SUCCESS && magic == MAGIC;
}

/* All blocks must be there before anybody maps it: a hole on a full disk would be a SIGBUS. Once
 * only: where the filesystem cannot do it the C library writes zeros into what looks empty, and
 * somebody may be counting there. */
static apr_status_t map_file(cib_generation_t *gen, int fd)
{
    int err = is_whole(fd) ? 0 : posix_fallocate(fd, 0, sizeof(*gen->file));

    if (err)
        return err;
    gen->file = mmap(NULL, sizeof(*gen->file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return gen->file == MAP_FAILED ? errno : APR_SUCCESS;
}

apr_status_t cib_generation_open(cib_generation_t **gen, const cib_storage_t *storage,
                                 apr_pool_t *pool)
{
    cib_generation_t *made = apr_pcalloc(pool, sizeof(*made));
    const char *path = host_path(storage, pool);
    int fd;
    apr_status_t rv;

    made->ear = apr_pstrcat(pool, path, "+ear", NULL);
    rv = cib_fd_open(&fd, path, O_RDWR | O_CREAT, 0640);
    if (rv != APR_SUCCESS)
        return rv;
    /* whoever makes the file makes it under its own lock: who comes second finds it whole */
    rv = cib_fd_lock(fd, LOCK_EX);
    if (rv == APR_SUCCESS)
        rv = map_file(made, fd);
    if (rv == APR_SUCCESS) {
        rv = begin_epoch(made->file);
        if (rv != APR_SUCCESS)
            munmap(made->file, sizeof(*made->file));
    }
    /* the mapping keeps the open file, and with it the lock, beyond close */
    cib_fd_lock(fd, LOCK_UN);
    cib_fd_close(&fd);
    if (rv != APR_SUCCESS)
        return rv;
    apr_pool_cleanup_register(pool, made, generation_cleanup, apr_pool_cleanup_null);
    *gen = made;
    return APR_SUCCESS;
}

static uint64_t *counter_of(cib_generation_t *gen, apr_int64_t runner_id)
{
    return &gen->file->counters[(uint64_t)runner_id % COUNTERS];
}

/* Both counters only grow, so their sum changes with each of them. */
apr_uint64_t cib_generation_count(cib_generation_t *gen, apr_int64_t runner_id)
{
    return __atomic_load_n(counter_of(gen, runner_id), __ATOMIC_SEQ_CST) +
           __atomic_load_n(&gen->file->everyone, __ATOMIC_SEQ_CST);
}

static void print_value(cib_generation_t *gen, apr_int64_t runner_id, char *value)
{
    uint64_t epoch = __atomic_load_n(&gen->file->epoch, __ATOMIC_SEQ_CST);
    uint64_t sum = cib_generation_count(gen, runner_id);

    snprintf(value, VALUE_LEN + 1, "%016" PRIx64 "%016" PRIx64, epoch, sum);
}

const char *cib_generation_value(cib_generation_t *gen, apr_int64_t runner_id, apr_pool_t *pool)
{
    char *value = apr_palloc(pool, VALUE_LEN + 1);

    print_value(gen, runner_id, value);
    return value;
}

int cib_generation_is_current(cib_generation_t *gen, apr_int64_t runner_id, const char *value)
{
    char now[VALUE_LEN + 1];

    /* The intention first: none standing here and the same value after it means that nothing was
     * committed without its raise at this moment. The other way round a whole intend, commit, raise
     * and settle could pass between the two looks. */
    if (!value || __atomic_load_n(&gen->file->intention, __ATOMIC_SEQ_CST))
        return 0;
    print_value(gen, runner_id, now);
    return strcmp(now, value) == 0;
}

void cib_generation_intend(cib_generation_t *gen)
{
    /* it stood already: somebody died on the way and may have committed what nobody was told of */
    if (__atomic_exchange_n(&gen->file->intention, 1, __ATOMIC_SEQ_CST))
        cib_generation_raise_all(gen);
}

void cib_generation_settle(cib_generation_t *gen)
{
    __atomic_store_n(&gen->file->intention, 0, __ATOMIC_SEQ_CST);
}

void cib_generation_raise(cib_generation_t *gen, apr_int64_t runner_id)
{
    __atomic_add_fetch(counter_of(gen, runner_id), 1, __ATOMIC_SEQ_CST);
}

void cib_generation_raise_all(cib_generation_t *gen)
{
    __atomic_add_fetch(&gen->file->everyone, 1, __ATOMIC_SEQ_CST);
}

/* --- waiting
 *
 * The futex is in the mapped file, so it is the same one in every process that maps it; it needs no
 * descriptor, and a process that dies leaves nothing behind. */

apr_uint32_t cib_generation_announced(cib_generation_t *gen)
{
    return __atomic_load_n(&gen->file->announced, __ATOMIC_SEQ_CST);
}

void cib_generation_wait(cib_generation_t *gen, apr_uint32_t seen)
{
    /* whatever ends it, the caller looks again */
    (void)syscall(SYS_futex, &gen->file->announced, FUTEX_WAIT, seen, NULL, NULL, 0);
}

void cib_generation_announce(cib_generation_t *gen)
{
    __atomic_add_fetch(&gen->file->announced, 1, __ATOMIC_SEQ_CST);
    (void)syscall(SYS_futex, &gen->file->announced, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* --- what other hosts tell */

static apr_status_t close_ear(void *data)
{
    cib_fd_close(data);
    return APR_SUCCESS;
}

/* A lock on a file of its own: who opens the generations locks theirs, and NFS makes one kind of
 * lock of all. It goes with the process, however that ends. */
apr_status_t cib_generation_take_ear(cib_generation_t *gen, apr_pool_t *pool)
{
    int fd, *kept;
    apr_status_t rv = cib_fd_open(&fd, gen->ear, O_RDWR | O_CREAT, 0640);

    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_fd_lock(fd, LOCK_EX | LOCK_NB);
    if (rv != APR_SUCCESS) {
        cib_fd_close(&fd);
        return rv;
    }
    kept = apr_palloc(pool, sizeof(*kept));
    *kept = fd;
    apr_pool_cleanup_register(pool, kept, close_ear, apr_pool_cleanup_null);
    return APR_SUCCESS;
}

void cib_generation_hear(cib_generation_t *gen, apr_time_t when)
{
    __atomic_store_n(&gen->file->heard, (uint64_t)when, __ATOMIC_SEQ_CST);
}

apr_time_t cib_generation_heard(cib_generation_t *gen)
{
    return (apr_time_t)__atomic_load_n(&gen->file->heard, __ATOMIC_SEQ_CST);
}

/* The wall's clock may be set back, and then what was heard long ago would be news. */
apr_time_t cib_generation_clock(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return 0;
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

void cib_generation_mark(cib_generation_t *gen, apr_uint64_t mark)
{
    uint32_t n = __atomic_fetch_add(&gen->file->marked, 1, __ATOMIC_SEQ_CST);

    __atomic_store_n(&gen->file->marks[n % MARKS], mark, __ATOMIC_SEQ_CST);
}

int cib_generation_is_marked(cib_generation_t *gen, apr_uint64_t mark)
{
    for (int i = 0; i < MARKS; i++)
        if (__atomic_load_n(&gen->file->marks[i], __ATOMIC_SEQ_CST) == mark)
            return 1;
    return 0;
}

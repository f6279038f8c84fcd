#include "files/cib_tracefile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_portable.h>
#include <apr_strings.h>

#include "descriptor.h"
#include "folder.h"
#include "tempfile.h"
#include "tracestate.h"

struct cib_tracefile_t {
    const cib_storage_t *storage;
    apr_pool_t *pool;
    apr_int64_t build_id;
    int state_fd;
    int log_fd;          /* -1: the log in force is not open yet */
    apr_int64_t log_len; /* of it: nobody changes it but who holds the lock */
    cib_tracestate_t at; /* the record in force */
};

/* The log is one of these: a new one that takes the other's place stands beside it until the state
 * says so, in one write. */
static const char *const log_names[2] = {".log", ".log2"};

static const char *trace_path(const cib_storage_t *storage, apr_int64_t build_id,
                              const char *extension, apr_pool_t *pool)
{
    return apr_psprintf(pool, "%s/%" APR_INT64_T_FMT "%s",
                        cib_folder_path(storage, CIB_AREA_TRACES, build_id, pool), build_id,
                        extension);
}

/* Open the state file and lock it. Whoever removed the trace held that lock, so a file without a
 * name is one that we waited for in vain. APR_ENOENT only where O_CREAT is not among `flags` or the
 * folder is not there. */
static apr_status_t open_locked(int *fd, const char *path, int flags)
{
    for (;;) {
        struct stat st;
        apr_status_t rv = cib_fd_open(fd, path, flags, 0640);

        if (rv != APR_SUCCESS)
            return rv;
        rv = cib_fd_lock(*fd, LOCK_EX);
        if (rv == APR_SUCCESS && fstat(*fd, &st) != 0)
            rv = errno;
        if (rv == APR_SUCCESS && st.st_nlink > 0)
            return APR_SUCCESS;
        cib_fd_close(fd);
        if (rv != APR_SUCCESS)
            return rv;
    }
}

static apr_status_t tracefile_cleanup(void *data)
{
    cib_tracefile_t *trace = data;

    cib_fd_close(&trace->log_fd);
    if (trace->state_fd >= 0)
        cib_fd_lock(trace->state_fd, LOCK_UN);
    cib_fd_close(&trace->state_fd);
    return APR_SUCCESS;
}

void cib_tracefile_close(cib_tracefile_t *trace)
{
    apr_pool_cleanup_run(trace->pool, trace, tracefile_cleanup);
}

/* The state, made where it is not; the folder only when it is missed. */
static apr_status_t open_state(cib_tracefile_t *trace)
{
    const char *path = trace_path(trace->storage, trace->build_id, ".state", trace->pool);
    apr_status_t rv = open_locked(&trace->state_fd, path, O_RDWR | O_CREAT);

    if (rv == ENOENT) {
        rv = cib_folder_make(trace->storage, CIB_AREA_TRACES, trace->build_id, trace->pool);
        if (rv == APR_SUCCESS)
            rv = open_locked(&trace->state_fd, path, O_RDWR | O_CREAT);
    }
    return rv;
}

static const char *log_path(const cib_tracefile_t *trace, int log)
{
    return trace_path(trace->storage, trace->build_id, log_names[log], trace->pool);
}

/* What stands there is not in force. */
static apr_status_t remove_other_log(const cib_tracefile_t *trace)
{
    return unlink(log_path(trace, !trace->at.log)) == 0 || errno == ENOENT ? APR_SUCCESS : errno;
}

static apr_status_t log_length(int fd, apr_int64_t *len)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return errno;
    *len = st.st_size;
    return APR_SUCCESS;
}

/* Below 0 where there is none. */
static void log_lengths(const cib_storage_t *storage, apr_int64_t build_id, apr_int64_t lens[2],
                        apr_pool_t *pool)
{
    for (int log = 0; log < 2; log++) {
        struct stat st;

        lens[log] = -1;
        if (lstat(trace_path(storage, build_id, log_names[log], pool), &st) == 0)
            lens[log] = st.st_size;
    }
}

static apr_status_t open_log(cib_tracefile_t *trace)
{
    apr_status_t rv =
        cib_fd_open(&trace->log_fd, log_path(trace, trace->at.log), O_RDWR | O_CREAT, 0640);

    return rv == APR_SUCCESS ? log_length(trace->log_fd, &trace->log_len) : rv;
}

/* A record that is torn, or that speaks of bytes a power cut took, must not come back to life when
 * the log has grown again: both places get what is true now. */
static apr_status_t mend_state(cib_tracefile_t *trace, cib_trace_state_t *state)
{
    apr_int64_t lens[2];
    apr_status_t rv;

    cib_fd_close(&trace->log_fd);
    log_lengths(trace->storage, trace->build_id, lens, trace->pool);
    rv = cib_tracestate_read(trace->state_fd, lens, state, &trace->at, NULL, trace->pool);
    for (int place = 0; place < 2 && rv == APR_SUCCESS; place++) {
        cib_tracestate_t next = {trace->at.sequence + 1, trace->at.log};

        rv = cib_tracestate_write(trace->state_fd, state, &next, trace->pool);
        if (rv == APR_SUCCESS)
            trace->at = next;
    }
    return rv == APR_SUCCESS ? open_log(trace) : rv;
}

/* Mostly the newest record is good, and its log is opened anyway to be written to. */
static apr_status_t open_state_and_log(cib_tracefile_t *trace, cib_trace_state_t *state)
{
    static const apr_int64_t any[2] = {APR_INT64_MAX, APR_INT64_MAX};
    int passed_over = 0;
    apr_status_t rv = open_state(trace);

    if (rv == APR_SUCCESS)
        rv =
            cib_tracestate_read(trace->state_fd, any, state, &trace->at, &passed_over, trace->pool);
    if (rv == APR_SUCCESS && !passed_over)
        rv = open_log(trace);
    if (rv == APR_SUCCESS && (passed_over || state->stored > trace->log_len))
        rv = mend_state(trace, state);
    return rv;
}

apr_status_t cib_tracefile_lock(cib_tracefile_t **trace, const cib_storage_t *storage,
                                apr_int64_t build_id, cib_trace_state_t *state, apr_pool_t *pool)
{
    cib_tracefile_t *made;
    apr_status_t rv;

    if (build_id < 1)
        return APR_EINVAL;
    made = apr_pcalloc(pool, sizeof(*made));
    made->storage = storage;
    made->pool = pool;
    made->build_id = build_id;
    made->state_fd = made->log_fd = -1;
    apr_pool_cleanup_register(pool, made, tracefile_cleanup, apr_pool_cleanup_null);
    rv = open_state_and_log(made, state);
    if (rv != APR_SUCCESS) {
        cib_tracefile_close(made);
        return rv;
    }
    *trace = made;
    return APR_SUCCESS;
}

apr_status_t cib_tracefile_write(cib_tracefile_t *trace, apr_int64_t offset, const char *data,
                                 apr_size_t len)
{
    apr_status_t rv = offset < 0 ? APR_EINVAL : cib_fd_write(trace->log_fd, data, len, offset);

    /* where it failed nobody knows how far it came */
    if (rv != APR_SUCCESS)
        log_length(trace->log_fd, &trace->log_len);
    else if (offset + (apr_int64_t)len > trace->log_len)
        trace->log_len = offset + (apr_int64_t)len;
    return rv;
}

/* A log that is longer than its record says is no harm, so that this fails is none either. */
static void cut(cib_tracefile_t *trace, const cib_trace_state_t *state)
{
    int rv;

    if (trace->log_len <= state->stored)
        return;
    while ((rv = ftruncate(trace->log_fd, state->stored)) != 0 && errno == EINTR)
        continue;
    if (rv == 0)
        trace->log_len = state->stored;
}

apr_status_t cib_tracefile_commit(cib_tracefile_t *trace, const cib_trace_state_t *state)
{
    const cib_tracestate_t next = {trace->at.sequence + 1, trace->at.log};
    apr_status_t rv;

    if (state->stored > trace->log_len)
        return APR_EINVAL;
    rv = cib_tracestate_write(trace->state_fd, state, &next, trace->pool);
    if (rv != APR_SUCCESS)
        return rv;
    trace->at = next;
    cut(trace, state);
    return APR_SUCCESS;
}

typedef struct spool_t {
    cib_tempfile_t temp;
    apr_file_t *file;
} spool_t;

static apr_status_t spool_cleanup(void *data)
{
    spool_t *spool = data;

    if (spool->file)
        apr_file_close(spool->file);
    cib_tempfile_drop(&spool->temp);
    return APR_SUCCESS;
}

/* APR's file has a descriptor of its own: whoever closes it early closes only that, and its name
 * tells cib_tracefile_replace whether it has one. */
static apr_status_t spool_file(spool_t *spool, apr_pool_t *pool)
{
    apr_os_file_t fd;
    apr_status_t rv;

    if (spool->temp.named)
        return apr_file_open(&spool->file, spool->temp.hidden,
                             APR_FOPEN_READ | APR_FOPEN_WRITE | APR_FOPEN_BINARY |
                                 APR_FOPEN_NOCLEANUP,
                             APR_FPROT_OS_DEFAULT, pool);
    fd = fcntl(spool->temp.fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    rv = apr_os_file_put(&spool->file, &fd, APR_FOPEN_READ | APR_FOPEN_WRITE | APR_FOPEN_BINARY,
                         pool);
    if (rv != APR_SUCCESS)
        close(fd);
    return rv;
}

static const char *spool_stem(apr_int64_t build_id, apr_status_t *rv, apr_pool_t *pool)
{
    const char *random = NULL;

    *rv = cib_tempfile_random(&random, pool);
    return apr_psprintf(pool, "%" APR_INT64_T_FMT "-spool-%s", build_id, random ? random : "");
}

apr_status_t cib_tracefile_spool(apr_file_t **spool, const cib_storage_t *storage,
                                 apr_int64_t build_id, apr_pool_t *pool)
{
    spool_t *made;
    const char *folder, *stem;
    apr_status_t rv;

    if (build_id < 1)
        return APR_EINVAL;
    stem = spool_stem(build_id, &rv, pool);
    if (rv != APR_SUCCESS)
        return rv;
    made = apr_pcalloc(pool, sizeof(*made));
    folder = cib_folder_path(storage, CIB_AREA_TRACES, build_id, pool);
    rv = cib_tempfile_open(&made->temp, folder, stem, 0640, pool);
    if (rv == ENOENT) {
        rv = cib_folder_make(storage, CIB_AREA_TRACES, build_id, pool);
        if (rv == APR_SUCCESS)
            rv = cib_tempfile_open(&made->temp, folder, stem, 0640, pool);
    }
    if (rv != APR_SUCCESS)
        return rv;
    apr_pool_cleanup_register(pool, made, spool_cleanup, apr_pool_cleanup_null);
    rv = spool_file(made, pool);
    if (rv == APR_SUCCESS)
        *spool = made->file;
    else
        apr_pool_cleanup_run(pool, made, spool_cleanup);
    return rv;
}

/* What cib_tracefile_spool made, seen through APR's file. */
static apr_status_t spooled(cib_tempfile_t *temp, cib_tracefile_t *trace, apr_file_t *from)
{
    const char *hidden = NULL, *stem;
    apr_os_file_t fd;
    apr_status_t rv = apr_os_file_get(&fd, from);

    if (rv == APR_SUCCESS)
        rv = apr_file_name_get(&hidden, from);
    if (rv != APR_SUCCESS)
        return rv;
    stem = spool_stem(trace->build_id, &rv, trace->pool);
    temp->fd = fd;
    temp->named = hidden != NULL;
    temp->hidden = hidden;
    if (!hidden)
        temp->hidden = apr_pstrcat(
            trace->pool,
            cib_folder_path(trace->storage, CIB_AREA_TRACES, trace->build_id, trace->pool), "/.",
            stem, NULL);
    return rv;
}

/* Give the spool the name of the log that is not in force. Nothing but the name changes hands: the
 * spool's own descriptor stays its maker's. */
static apr_status_t place_beside(cib_tracefile_t *trace, apr_file_t *from, int *log_fd)
{
    cib_tempfile_t temp;
    apr_status_t rv = spooled(&temp, trace, from);

    /* a name for bytes that are not on disk would after a power cut be a name for none */
    if (rv == APR_SUCCESS)
        rv = cib_fd_sync(temp.fd);
    if (rv == APR_SUCCESS)
        rv = remove_other_log(trace);
    if (rv != APR_SUCCESS)
        return rv;
    *log_fd = fcntl(temp.fd, F_DUPFD_CLOEXEC, 0);
    if (*log_fd < 0)
        return errno;
    rv = cib_tempfile_link(&temp, log_path(trace, !trace->at.log));
    if (rv != APR_SUCCESS)
        cib_fd_close(log_fd);
    return rv;
}

/* The state says which log counts: until it is written the old one does, from then on the new. */
static apr_status_t change_over(cib_tracefile_t *trace, int log_fd, apr_int64_t log_len,
                                const cib_trace_state_t *state)
{
    const cib_tracestate_t next = {trace->at.sequence + 1, !trace->at.log};
    apr_status_t rv = cib_tracestate_write(trace->state_fd, state, &next, trace->pool);

    if (rv != APR_SUCCESS) {
        remove_other_log(trace);
        cib_fd_close(&log_fd);
        return rv;
    }
    trace->at = next;
    cib_fd_close(&trace->log_fd);
    trace->log_fd = log_fd;
    trace->log_len = log_len;
    /* what stays is cleared away with the next replacement or the last word */
    remove_other_log(trace);
    cut(trace, state);
    return APR_SUCCESS;
}

apr_status_t cib_tracefile_replace(cib_tracefile_t *trace, apr_file_t *from,
                                   const cib_trace_state_t *state)
{
    apr_int64_t len = 0;
    apr_os_file_t fd;
    int log_fd = -1;
    apr_status_t rv = apr_os_file_get(&fd, from);

    if (rv == APR_SUCCESS)
        rv = log_length(fd, &len);
    if (rv == APR_SUCCESS && state->stored > len)
        rv = APR_EINVAL;
    if (rv == APR_SUCCESS)
        rv = place_beside(trace, from, &log_fd);
    return rv == APR_SUCCESS ? change_over(trace, log_fd, len, state) : rv;
}

apr_status_t cib_tracefile_sync(cib_tracefile_t *trace)
{
    apr_status_t rv = cib_fd_sync(trace->log_fd);

    if (rv == APR_SUCCESS)
        rv = cib_fd_sync(trace->state_fd);
    if (rv == APR_SUCCESS)
        rv = remove_other_log(trace);
    if (rv == APR_SUCCESS)
        rv = cib_folder_sync(trace->storage, CIB_AREA_TRACES, trace->build_id, trace->pool);
    return rv;
}

/* Without the lock, unless a writer is just cutting or replacing the log, or a power cut shortened
 * it: then the lock tells. */
static apr_status_t look(int fd, const cib_storage_t *storage, apr_int64_t build_id,
                         cib_trace_state_t *state, cib_tracestate_t *at, apr_pool_t *pool)
{
    apr_int64_t lens[2] = {APR_INT64_MAX, APR_INT64_MAX};
    apr_status_t rv = cib_tracestate_read(fd, lens, state, at, NULL, pool);

    if (rv != APR_SUCCESS)
        return rv;
    log_lengths(storage, build_id, lens, pool);
    if (state->stored <= lens[at->log])
        return APR_SUCCESS;
    rv = cib_fd_lock(fd, LOCK_SH);
    if (rv != APR_SUCCESS)
        return rv;
    log_lengths(storage, build_id, lens, pool);
    return cib_tracestate_read(fd, lens, state, at, NULL, pool);
}

static apr_status_t open_to_look(int *fd, const cib_storage_t *storage, apr_int64_t build_id,
                                 apr_pool_t *pool)
{
    if (build_id < 1)
        return APR_EINVAL;
    return cib_fd_open(fd, trace_path(storage, build_id, ".state", pool), O_RDONLY, 0);
}

apr_status_t cib_tracefile_stat(const cib_storage_t *storage, apr_int64_t build_id,
                                cib_trace_state_t *state, apr_pool_t *pool)
{
    cib_tracestate_t at;
    int fd;
    apr_status_t rv = open_to_look(&fd, storage, build_id, pool);

    if (rv != APR_SUCCESS)
        return rv;
    rv = look(fd, storage, build_id, state, &at, pool);
    cib_fd_close(&fd);
    return rv;
}

apr_status_t cib_tracefile_open(apr_file_t **log, const cib_storage_t *storage,
                                apr_int64_t build_id, apr_pool_t *pool)
{
    cib_trace_state_t state;
    cib_tracestate_t at;
    int fd;
    apr_status_t rv = open_to_look(&fd, storage, build_id, pool);

    if (rv != APR_SUCCESS)
        return rv;
    /* once more, with the lock, where it was replaced between the look and the opening */
    for (int tries = 0; tries < 2; tries++) {
        rv = tries ? cib_fd_lock(fd, LOCK_SH) : APR_SUCCESS;
        if (rv == APR_SUCCESS)
            rv = look(fd, storage, build_id, &state, &at, pool);
        if (rv == APR_SUCCESS)
            rv = cib_file_open(log, trace_path(storage, build_id, log_names[at.log], pool), 0, NULL,
                               pool);
        if (rv != APR_ENOENT)
            break;
    }
    cib_fd_close(&fd);
    return rv;
}

apr_status_t cib_tracefile_take(apr_file_t **log, const cib_storage_t *storage,
                                apr_int64_t build_id, cib_trace_state_t *state, apr_pool_t *pool)
{
    cib_tracestate_t at = {0, 0};
    int fd;
    apr_status_t rv = open_to_look(&fd, storage, build_id, pool);

    *log = NULL;
    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_fd_lock(fd, LOCK_SH);
    if (rv == APR_SUCCESS)
        rv = look(fd, storage, build_id, state, &at, pool);
    if (rv == APR_SUCCESS && state->stored)
        rv = cib_file_open(log, trace_path(storage, build_id, log_names[at.log], pool), 0, NULL,
                           pool);
    cib_fd_close(&fd);
    return rv;
}

static apr_status_t remove_name(const char *path, apr_int64_t *freed)
{
    struct stat st;

    if (lstat(path, &st) != 0 || unlink(path) != 0)
        return errno == ENOENT ? APR_SUCCESS : errno;
    if (freed)
        *freed += st.st_size;
    return APR_SUCCESS;
}

apr_status_t cib_tracefile_remove(const cib_storage_t *storage, apr_int64_t build_id,
                                  apr_int64_t *freed, apr_pool_t *pool)
{
    const char *state_path = trace_path(storage, build_id, ".state", pool);
    int fd = -1;
    apr_status_t rv;

    if (freed)
        *freed = 0;
    if (build_id < 1)
        return APR_EINVAL;
    rv = open_locked(&fd, state_path, O_RDWR);
    if (rv != APR_SUCCESS && rv != ENOENT)
        return rv;
    /* the state last: as long as it is there its lock guards the log */
    for (int log = 0; log < 2 && (rv == APR_SUCCESS || rv == ENOENT); log++)
        rv = remove_name(trace_path(storage, build_id, log_names[log], pool), freed);
    if (rv == APR_SUCCESS)
        rv = remove_name(state_path, NULL);
    if (rv == APR_SUCCESS)
        rv = cib_directory_sync(cib_folder_path(storage, CIB_AREA_TRACES, build_id, pool));
    cib_fd_close(&fd);
    return rv == ENOENT ? APR_SUCCESS : rv;
}

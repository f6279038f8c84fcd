/* ci-builds build trace, build artifacts: bytes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <apr_strings.h>
#include "core/cib_artifact.h"
#include "core/cib_build.h"
#include "core/cib_trace.h"
#include "output.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

#define BUFFER_SIZE 65536
#define FOLLOW_EVERY_MS 250

/* --- trace ------------------------------------------------------------------------------------ */

/* Write what the trace has beyond `*offset`. A trace that became shorter was begun anew (the build
 * was requeued), and is written from its start. */
static cib_error_t *write_news(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *offset)
{
    char buffer[BUFFER_SIZE];
    apr_file_t *file;
    apr_int64_t size;
    apr_off_t at;

    CIB_TRY(cib_trace_open(ctx, id, &file, &size));
    if (!file)
        return CIB_OK;
    if (size < *offset)
        *offset = 0;
    at = *offset;
    if (apr_file_seek(file, APR_SET, &at) == APR_SUCCESS) {
        while (*offset < size) {
            apr_size_t len = size - *offset < BUFFER_SIZE ? (apr_size_t)(size - *offset)
                                                          : (apr_size_t)BUFFER_SIZE;

            if (apr_file_read(file, buffer, &len))
                break;
            if (fwrite(buffer, 1, len, stdout) != len)
                return cib_error_system(ctx->pool, APR_FROM_OS_ERROR(errno), "standard output");
            *offset += (apr_int64_t)len;
        }
    }
    apr_file_close(file);
    if (fflush(stdout))
        return cib_error_system(ctx->pool, APR_FROM_OS_ERROR(errno), "standard output");
    return CIB_OK;
}

/* Wait a moment, less when who reads us went away. */
static int reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = 0};

    return poll(&out, 1, FOLLOW_EVERY_MS) > 0 && (out.revents & (POLLERR | POLLNVAL));
}

/* Say now and again that somebody watches: its runner then sends what there is sooner. */
static void watch(const cib_ctx_t *ctx, const cib_build_t *build, apr_time_t *said)
{
    apr_time_t now = apr_time_now();
    int lately = now >= *said && now - *said < CIB_FOLLOW_EVERY;

    if (build->status != CIB_RUNNING || lately)
        return;
    *said = now;
    cib_build_follow(ctx, build->id);
}

cib_error_t *cli_build_trace(cli_t *cli)
{
    int follow = cli_given(cli, "follow");
    cib_ctx_t ctx = cli->ctx;
    apr_int64_t offset = 0;
    apr_time_t said = 0;
    cib_build_t *build;

    apr_pool_create(&ctx.pool, cli->pool);
    do {
        apr_pool_clear(ctx.pool);
        /* its state first: what it wrote before it ended is there to be read then */
        CIB_TRY(cib_build_get(&ctx, cli->id, &build));
        CIB_TRY(write_news(&ctx, cli->id, &offset));
        if (follow)
            watch(&ctx, build, &said);
    } while (follow && !cib_status_ended(build->status) && !reader_is_gone());
    return CIB_OK;
}

/* --- artifacts -------------------------------------------------------------------------------- */

typedef struct target_t {
    int fd;
    const char *path; /* NULL: standard output */
    int made;         /* it was not there before */
} target_t;

/* Stay behind as root, because the owner of the storage directory may not remove from the caller's
 * directory what could not be filled. Returns in the child only. */
static cib_error_t *leave_guard(const cli_t *cli, const target_t *target)
{
    int status;
    pid_t pid = fork();

    if (pid < 0)
        return cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "fork");
    if (pid == 0)
        return CIB_OK;
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    close(target->fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != CLI_DONE)
        unlink(target->path);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED);
}

static cib_error_t *open_target(const cli_t *cli, target_t *target)
{
    target->fd = open(target->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    target->made = target->fd >= 0;
    /* what is there is not cut before there is something to put in its place */
    if (target->fd < 0 && errno == EEXIST)
        target->fd = open(target->path, O_WRONLY | O_CLOEXEC);
    if (target->fd < 0)
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, APR_FROM_OS_ERROR(errno), "open %s",
                         target->path);
    return target->made && geteuid() == 0 ? leave_guard(cli, target) : CIB_OK;
}

cib_error_t *cli_build_artifacts_prepare(cli_t *cli)
{
    target_t *target = apr_pcalloc(cli->pool, sizeof(*target));
    const char *path = cli_text(cli, "output");

    cli->prepared = target;
    target->fd = STDOUT_FILENO;
    if (!path && isatty(STDOUT_FILENO))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "this is a terminal: name a file with -o FILE");
    if (!path || !strcmp(path, "-"))
        return CIB_OK;
    target->path = path;
    return open_target(cli, target);
}

static apr_status_t write_all(int fd, const char *bytes, apr_size_t len)
{
    while (len) {
        ssize_t written = write(fd, bytes, len);

        if (written < 0 && errno != EINTR)
            return APR_FROM_OS_ERROR(errno);
        if (written > 0) {
            bytes += written;
            len -= (apr_size_t)written;
        }
    }
    return APR_SUCCESS;
}

/* Copy the whole file; `*digest` takes its SHA-256 in hex. */
static cib_error_t *copy(const cli_t *cli, apr_file_t *file, const target_t *target,
                         const char **digest)
{
    char *buffer = apr_palloc(cli->pool, BUFFER_SIZE);
    const char *name = target->path ? target->path : "standard output";
    unsigned char mac[CIB_SHA256_LEN];
    cib_sha256_t *sha;
    apr_size_t len = BUFFER_SIZE;
    apr_status_t rv = cib_sha256_begin(&sha, cli->pool);
    apr_status_t wrote;

    while (!rv && !(rv = apr_file_read(file, buffer, &len))) {
        rv = cib_sha256_update(sha, buffer, len);
        wrote = write_all(target->fd, buffer, len);
        if (wrote)
            return cib_error(cli->pool, CIB_REASON_NO_SPACE, wrote, "write to %s", name);
        len = BUFFER_SIZE;
    }
    if (APR_STATUS_IS_EOF(rv))
        rv = cib_sha256_end(sha, mac);
    if (rv)
        return cib_error_system(cli->pool, rv, "read the artifacts of build %" APR_INT64_T_FMT,
                                cli->id);
    *digest = cib_hex(mac, sizeof(mac), cli->pool);
    return CIB_OK;
}

static const char *wanted_type(const cli_t *cli)
{
    const char *type = cli_text(cli, "type");

    return type ? type : "archive";
}

static cib_error_t *fetch(const cli_t *cli, const target_t *target, cib_artifact_t **artifact)
{
    struct stat is;
    apr_file_t *file;
    const char *digest = "";

    CIB_TRY(cib_artifact_open(&cli->ctx, cli->id, wanted_type(cli), artifact, &file));
    if (target->path && fstat(target->fd, &is) == 0 && S_ISREG(is.st_mode) &&
        ftruncate(target->fd, 0))
        return cib_error(cli->pool, CIB_REASON_NO_SPACE, APR_FROM_OS_ERROR(errno), "empty %s",
                         target->path);
    CIB_TRY(copy(cli, file, target, &digest));
    if (target->path && close(target->fd))
        return cib_error(cli->pool, CIB_REASON_NO_SPACE, APR_FROM_OS_ERROR(errno), "write to %s",
                         target->path);
    if (strcmp(digest, (*artifact)->sha256) != 0)
        return cib_error(cli->pool, CIB_REASON_INTERNAL, APR_SUCCESS,
                         "the artifacts of build %" APR_INT64_T_FMT
                         " are damaged: their SHA-256 is %s, not %s",
                         cli->id, digest, (*artifact)->sha256);
    return CIB_OK;
}

static cib_error_t *fetch_and_tell(const cli_t *cli, const target_t *target)
{
    cib_artifact_t *artifact = NULL;
    cib_build_t *build;
    json_object *object;

    CIB_TRY(cib_build_get(&cli->ctx, cli->id, &build));
    CIB_TRY(fetch(cli, target, &artifact));
    if (!target->path || !artifact)
        return CIB_OK;
    object = json_object_new_object();
    cli_set_id(object, "id", cli->id);
    cli_set_text(object, "type", artifact->type);
    cli_set_text(object, "format", artifact->format);
    cli_set_text(object, "filename", artifact->filename);
    cli_set_int(object, "size", artifact->size);
    cli_set_text(object, "sha256", artifact->sha256);
    cli_print_json(cli, object);
    return CIB_OK;
}

/* It has none of the type that is wanted: which has it? */
static cib_error_t *name_others(const cli_t *cli)
{
    apr_array_header_t *artifacts;
    const char *types = NULL;

    CIB_TRY(cib_artifact_list(&cli->ctx, cli->id, &artifacts));
    for (int i = 0; i < artifacts->nelts; i++) {
        const char *type = APR_ARRAY_IDX(artifacts, i, const cib_artifact_t *)->type;

        types = types ? apr_pstrcat(cli->pool, types, ", ", type, NULL) : type;
    }
    if (!types)
        return cib_error(cli->pool, CIB_REASON_NOTHING, APR_SUCCESS,
                         "build %" APR_INT64_T_FMT " has no artifacts", cli->id);
    return cib_error(cli->pool, CIB_REASON_NOTHING, APR_SUCCESS,
                     "build %" APR_INT64_T_FMT " has no artifact of type %s; it has %s (--type)",
                     cli->id, wanted_type(cli), types);
}

cib_error_t *cli_build_artifacts(cli_t *cli)
{
    const target_t *target = cli->prepared;
    cib_error_t *err = fetch_and_tell(cli, target);

    if (err && target->made)
        unlink(target->path);
    return err && err->reason == CIB_REASON_NOTHING ? name_others(cli) : err;
}

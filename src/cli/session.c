/* Becoming the owner of the storage directory, and opening what it describes. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>
#include <apr_user.h>
#include "output.h"
#include "session.h"
#include "store/cib_schema.h"
#include "store/cib_source.h"

static cib_error_t *system_error(cli_t *cli, const char *what)
{
    return cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "%s", what);
}

/* libpq looks for passwords and certificates below HOME. */
static void settle_environment(const char *user, apr_pool_t *pool)
{
    char *home;

    if (!user || apr_uid_homepath_get(&home, user, pool))
        home = apr_pstrdup(pool, "/");
    setenv("HOME", home, 1);
    if (user) {
        setenv("USER", user, 1);
        setenv("LOGNAME", user, 1);
    }
}

static cib_error_t *drop_to(cli_t *cli, uid_t uid, gid_t gid)
{
    char *user = NULL;

    if (apr_uid_name_get(&user, uid, cli->pool))
        user = NULL; /* a number nobody has a name for will do */
    if (setgid(gid) || (user ? initgroups(user, gid) : setgroups(0, NULL)) || setuid(uid))
        return system_error(cli, apr_psprintf(cli->pool, "become the owner of %s", cli->dir));
    settle_environment(user, cli->pool);
    /* root's working directory may be closed to the owner */
    if (chdir("/"))
        return system_error(cli, "enter /");
    return CIB_OK;
}

cib_error_t *cli_session_become(cli_t *cli)
{
    struct stat dir;

    umask(0027);
    if (geteuid() != 0)
        return CIB_OK;
    if (stat(cli->dir, &dir))
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, APR_FROM_OS_ERROR(errno),
                         "%s cannot be used: make it with '" CLI_PROGRAM " -s %s init'", cli->dir,
                         cli->dir);
    return dir.st_uid == 0 ? CIB_OK : drop_to(cli, dir.st_uid, dir.st_gid);
}

static const char *name_of(uid_t uid, apr_pool_t *pool)
{
    char *user;

    return apr_uid_name_get(&user, uid, pool) ? apr_psprintf(pool, "user %ld", (long)uid) : user;
}

cib_error_t *cli_session_closed(cli_t *cli)
{
    struct stat dir;

    if (stat(cli->dir, &dir) || dir.st_uid == geteuid())
        return cib_error(cli->pool, CIB_REASON_FORBIDDEN, APR_SUCCESS,
                         "%s cannot be reached by %s: a directory above it, or in it, is closed",
                         cli->dir, name_of(geteuid(), cli->pool));
    return cib_error(cli->pool, CIB_REASON_FORBIDDEN, APR_SUCCESS,
                     "%s is closed to you: run " CLI_PROGRAM " as root or as %s", cli->dir,
                     name_of(dir.st_uid, cli->pool));
}

cib_error_t *cli_session_storage(cli_t *cli, const cib_storage_t **storage)
{
    cib_storage_t *found = NULL;
    apr_status_t rv = cib_storage_open(&found, cli->dir, cli->pool);

    *storage = found;
    if (rv == APR_SUCCESS)
        return CIB_OK;
    if (APR_STATUS_IS_ENOENT(rv) || APR_STATUS_IS_ENOTDIR(rv))
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, APR_SUCCESS,
                         "%s is no storage directory: make it with '" CLI_PROGRAM " -s %s init'",
                         cli->dir, cli->dir);
    if (APR_STATUS_IS_EACCES(rv))
        return cli_session_closed(cli);
    if (APR_STATUS_IS_EINVAL(rv))
        return cib_error(cli->pool, CIB_REASON_INTERNAL, APR_SUCCESS,
                         "%s/config cannot be understood", cli->dir);
    return cib_error_system(cli->pool, rv, "open the storage directory %s", cli->dir);
}

static void log_line(void *baton, cib_log_e level, apr_status_t rv, const char *line)
{
    char why[120] = "";

    (void)baton;
    if (level > CIB_LOG_WARNING)
        return;
    if (rv != APR_SUCCESS)
        apr_strerror(rv, why, sizeof(why));
    fprintf(stderr, CLI_PROGRAM ": %s%s%s\n", line, *why ? ": " : "", why);
}

cib_error_t *cli_session_open(cli_t *cli, const cib_storage_t *storage)
{
    cib_ctx_t *ctx = &cli->ctx;
    int create = cli->command->own_session; /* init */
    apr_status_t rv;

    ctx->storage = storage;
    ctx->limits = &cib_limits_default;
    ctx->log = log_line;
    ctx->pool = cli->pool;
    rv = cib_generation_open(&ctx->gen, storage, cli->pool);
    if (rv)
        return cib_error_system(cli->pool, rv, "open the generations of %s", cli->dir);
    rv = cib_store_create(&ctx->store, storage, ctx->gen, cli->pool);
    if (rv)
        return cib_error_system(cli->pool, rv, "open the lock of %s", cli->dir);
    cib_store_make_sure(ctx->store);
    rv = cib_source_own(&ctx->source, storage->driver, storage->params, create, cli->pool);
    if (rv)
        return cib_error(cli->pool, CIB_REASON_UNAVAILABLE, rv,
                         "the database driver %s cannot be loaded: install libaprutil1-dbd-%s",
                         storage->driver, storage->driver);
    return CIB_OK;
}

cib_error_t *cli_session_check(cli_t *cli)
{
    const cib_ctx_t *ctx = &cli->ctx;
    int known = cib_schema_version();
    cib_schema_state_t state = {0};

    CIB_TRY(cib_schema_state(ctx->store, ctx->source, &state, cli->pool));
    if (state.instance_id && strcmp(state.instance_id, ctx->storage->id) != 0)
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "the database belongs to another storage directory than %s", cli->dir);
    if (state.version < known)
        return cib_error(
            cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
            "the database's schema is version %d, this program needs %d: run '" CLI_PROGRAM
            " -s %s init'",
            state.version, known, cli->dir);
    if (state.version > known)
        return cib_error(
            cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
            "the database's schema is version %d, this program knows %d: it is too old",
            state.version, known);
    return CIB_OK;
}

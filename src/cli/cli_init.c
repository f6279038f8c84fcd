/* ci-builds init: make the storage directory and the schema, and say what httpd is to be told. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_file_io.h>
#include <apr_file_info.h>
#include <apr_strings.h>
#include <apr_user.h>
#include "output.h"
#include "session.h"
#include "store/cib_schema.h"

#define DEFAULT_USER "www-data"
#ifndef CIB_MODULES_DIR
#define CIB_MODULES_DIR "/usr/lib/apache2/modules"
#endif

/* What pitfalls of libpq and of networks ask for where the database is another machine's. */
#define PGSQL_ADVICE                                                                               \
    "connect_timeout=3 keepalives_idle=30 tcp_user_timeout=10000 "                                 \
    "application_name=ci-builds options='-c statement_timeout=5000'"

typedef struct wish_t {
    const char *driver; /* NULL: not said */
    const char *params; /* NULL: not said */
    const char *path;   /* the same as a file's full name */
    const char *user;
    apr_uid_t uid;
    apr_gid_t gid;
    int user_said;
} wish_t;

static cib_error_t *refuse(const cli_t *cli, cib_reason_e reason, const char *text)
{
    return cib_error(cli->pool, reason, APR_SUCCESS, "%s", text);
}

static cib_error_t *read_user(const cli_t *cli, wish_t *wish)
{
    const char *name = cli_text(cli, "user");
    apr_status_t rv;

    wish->user_said = name != NULL;
    if (!name && geteuid() == 0)
        name = DEFAULT_USER;
    wish->user = name ? name : "the caller";
    if (name)
        rv = apr_uid_get(&wish->uid, &wish->gid, name, cli->pool);
    else
        rv = apr_uid_current(&wish->uid, &wish->gid, cli->pool);
    if (rv)
        return cib_error(cli->pool, CIB_REASON_NO_RECORD, APR_SUCCESS, "there is no user '%s'",
                         wish->user);
    if (geteuid() != 0 && wish->uid != geteuid())
        return refuse(cli, CIB_REASON_FORBIDDEN, "only root can give it to another user");
    return CIB_OK;
}

static cib_error_t *read_wish(const cli_t *cli, wish_t *wish)
{
    char *path = NULL;

    wish->driver = cli_text(cli, "driver");
    wish->params = cli_text(cli, "params");
    if (wish->driver && strcmp(wish->driver, "sqlite3") != 0 && strcmp(wish->driver, "pgsql") != 0)
        return refuse(cli, CIB_REASON_INVALID, "--driver is sqlite3 or pgsql");
    if (wish->params && !*wish->params)
        return refuse(cli, CIB_REASON_INVALID, "--params must not be empty");
    /* now: root's working directory is left behind, and httpd has another one */
    if (wish->params && apr_filepath_merge(&path, NULL, wish->params, 0, cli->pool))
        path = NULL;
    wish->path = path;
    return read_user(cli, wish);
}

/* The parameters as they are for `driver`. */
static const char *params_for(const wish_t *wish, const char *driver)
{
    return !strcmp(driver, "sqlite3") ? wish->path : wish->params;
}

static int is_empty(const char *path, apr_pool_t *pool)
{
    apr_dir_t *dir;
    apr_finfo_t entry;
    int entries = 0;

    if (apr_dir_open(&dir, path, pool))
        return 0;
    while (apr_dir_read(&entry, APR_FINFO_NAME, dir) == APR_SUCCESS)
        entries += strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0;
    apr_dir_close(dir);
    return entries == 0;
}

/* Give the directory to its user. Only an empty one: any other is somebody's already. */
static cib_error_t *give(const cli_t *cli, const wish_t *wish)
{
    struct stat is;
    cib_error_t *err = CIB_OK;
    int fd = open(cli->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &is))
        err = cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "open %s", cli->dir);
    else if (is.st_uid != wish->uid && !is_empty(cli->dir, cli->pool))
        err = cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                        "%s is not empty and does not belong to %s", cli->dir, wish->user);
    else if (is.st_uid != wish->uid && (fchmod(fd, 0750) || fchown(fd, wish->uid, wish->gid)))
        err = cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "give %s to %s", cli->dir,
                               wish->user);
    if (fd >= 0)
        close(fd);
    return err;
}

/* As root, or as who is to own it. */
static cib_error_t *make_dir(const cli_t *cli, const wish_t *wish)
{
    const char *parent = apr_pstrdup(cli->pool, cli->dir);
    char *slash = strrchr(parent, '/');
    apr_status_t rv;

    /* its owner must be able to pass */
    umask(0022);
    if (slash && slash != parent) {
        *slash = '\0';
        rv = apr_dir_make_recursive(parent, APR_FPROT_OS_DEFAULT, cli->pool);
        if (rv)
            return cib_error_system(cli->pool, rv, "make %s", parent);
    }
    umask(0027);
    if (mkdir(cli->dir, 0750) && errno != EEXIST)
        return cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "make %s", cli->dir);
    return geteuid() == 0 ? give(cli, wish) : CIB_OK;
}

/* There is a storage directory: only what agrees with it may be said. */
static cib_error_t *agree(const cli_t *cli, const wish_t *wish, const cib_storage_t *storage)
{
    const char *params = params_for(wish, storage->driver);
    struct stat is;

    if (wish->driver && strcmp(wish->driver, storage->driver) != 0)
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "%s has the driver %s, and init does not change that", cli->dir,
                         storage->driver);
    if (params && strcmp(params, storage->params) != 0)
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "%s has other parameters, and init does not change them", cli->dir);
    if (wish->user_said && stat(cli->dir, &is) == 0 && is.st_uid != wish->uid)
        return cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "%s does not belong to %s, and init does not change that", cli->dir,
                         wish->user);
    return CIB_OK;
}

/* `*made`: it was us, and not another init at the same time. */
static cib_error_t *make_storage(cli_t *cli, const wish_t *wish, int *made)
{
    const char *driver = wish->driver ? wish->driver : "sqlite3";
    apr_status_t rv;

    if (!strcmp(driver, "pgsql") && !wish->params)
        return refuse(cli, CIB_REASON_INVALID, "--driver pgsql needs --params");
    CIB_TRY(make_dir(cli, wish));
    CIB_TRY(cli_session_become(cli));
    rv = cib_storage_create(cli->dir, driver, params_for(wish, driver), cli->pool);
    *made = rv == APR_SUCCESS;
    if (APR_STATUS_IS_EACCES(rv))
        return cli_session_closed(cli);
    if (rv && !APR_STATUS_IS_EEXIST(rv))
        return cib_error_system(cli->pool, rv, "make the storage directory %s", cli->dir);
    return CIB_OK;
}

static const char *user_name(const cli_t *cli)
{
    char *user;

    if (apr_uid_name_get(&user, geteuid(), cli->pool))
        return apr_psprintf(cli->pool, "user %ld", (long)geteuid());
    return user;
}

/* Can the database be reached at all? `*reached` stays 0 where not. */
static cib_error_t *reach(cli_t *cli, const cib_storage_t *storage, int *reached)
{
    cib_connection_t connection = {0};
    apr_status_t rv;

    CIB_TRY(cli_session_open(cli, storage));
    rv = cli->ctx.source->open(cli->ctx.source->baton, cli->pool, &connection);
    if (rv)
        /* apr_dbd's drivers keep their own words to themselves */
        return cib_error(cli->pool, CIB_REASON_UNAVAILABLE, rv == APR_EGENERAL ? APR_SUCCESS : rv,
                         "the %s database cannot be opened as %s: check it and --params",
                         storage->driver, user_name(cli));
    cli->ctx.source->close(cli->ctx.source->baton, &connection, 0);
    *reached = 1;
    return CIB_OK;
}

/* A database that cannot be reached, or is another instance's, was left as it was: then a directory
 * made just now does not keep these parameters, and init can be tried with others. */
static cib_error_t *make_schema(cli_t *cli, const cib_storage_t *storage, int made)
{
    int from = 0;
    int reached = 0;
    cib_error_t *err = reach(cli, storage, &reached);

    if (!err)
        err = cib_schema_upgrade(cli->ctx.store, cli->ctx.source, storage->id, &from, cli->pool);
    if (err && made && (!reached || err->reason == CIB_REASON_CONFLICT))
        unlink(cib_storage_path(storage, "config", cli->pool));
    return err;
}

/* An argument in double quotes, as httpd reads them. */
static const char *quoted(const char *text, apr_pool_t *pool)
{
    char *result = apr_palloc(pool, strlen(text) * 2 + 3);
    char *to = result;

    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return result;
}

static int is_file(const char *path)
{
    struct stat is;

    return stat(path, &is) == 0 && S_ISREG(is.st_mode);
}

/* The module beside this program, as a build tree has it, or where it is installed. */
static const char *module_path(apr_pool_t *pool)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (len > 0) {
        self[len] = '\0';
        slash = strrchr(self, '/');
        if (slash) {
            *slash = '\0';
            const char *beside = apr_pstrcat(pool, self, "/mod_ci_builds.so", NULL);

            if (is_file(beside))
                return beside;
        }
    }
    return CIB_MODULES_DIR "/mod_ci_builds.so";
}

static void print_load(const char *module, const char *path)
{
    printf("<IfModule !%s>\nLoadModule %s %s\n</IfModule>\n", module, module, path);
}

static void print_snippet(const cli_t *cli, const cib_storage_t *storage)
{
    fputs("# For httpd's configuration. From DBDriver on it may stand in a <VirtualHost>.\n",
          stdout);
    /* built into Debian's httpd */
    if (is_file(CIB_MODULES_DIR "/mod_watchdog.so"))
        print_load("watchdog_module", CIB_MODULES_DIR "/mod_watchdog.so");
    print_load("dbd_module", CIB_MODULES_DIR "/mod_dbd.so");
    print_load("ci_builds_module", module_path(cli->pool));
    if (!strcmp(storage->driver, "pgsql") && !strstr(storage->params, "connect_timeout"))
        fputs("# So that nothing hangs when the database does, add to the parameters below:\n"
              "#   " PGSQL_ADVICE "\n",
              stdout);
    printf("DBDriver %s\n", storage->driver);
    printf("DBDParams %s\n", quoted(storage->params, cli->pool));
    fputs("DBDMax 4\n", stdout);
    fputs("CIBuilds On\n", stdout);
    printf("CIBuildsStorage %s\n", quoted(storage->dir, cli->pool));
    fputs("# httpd's own limit is 1 GiB; CIBuildsMaxArtifactSize is the module's\n"
          "LimitRequestBody 0\n",
          stdout);
}

static void print_result(const cli_t *cli, const cib_storage_t *storage)
{
    json_object *object;

    if (!cli->json) {
        print_snippet(cli, storage);
        return;
    }
    object = json_object_new_object();
    cli_set_text(object, "storage", storage->dir);
    cli_set_text(object, "id", storage->id);
    cli_set_text(object, "driver", storage->driver);
    cli_print(cli, object);
}

cib_error_t *cli_init(cli_t *cli)
{
    wish_t wish = {0};
    const cib_storage_t *storage;
    int made = 0;

    CIB_TRY(read_wish(cli, &wish));
    if (access(apr_pstrcat(cli->pool, cli->dir, "/config", NULL), F_OK) && errno == ENOENT)
        CIB_TRY(make_storage(cli, &wish, &made));
    else
        CIB_TRY(cli_session_become(cli));
    CIB_TRY(cli_session_storage(cli, &storage));
    if (!made)
        CIB_TRY(agree(cli, &wish, storage));
    CIB_TRY(make_schema(cli, storage, made));
    print_result(cli, storage);
    return CIB_OK;
}

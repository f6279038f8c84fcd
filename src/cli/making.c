/* What init and restore have in common. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <apr_user.h>
#include "making.h"
#include "session.h"

#define DEFAULT_USER "www-data"
#ifndef CIB_MODULES_DIR
#define CIB_MODULES_DIR "/usr/lib/apache2/modules"
#endif

/* What pitfalls of libpq and of networks ask for where the database is another machine's. */
#define PGSQL_ADVICE                                                                               \
    "connect_timeout=3 keepalives_idle=30 tcp_user_timeout=10000 "                                 \
    "application_name=ci-builds options='-c statement_timeout=5000'"

static cib_error_t *refuse(const cli_t *cli, cib_reason_e reason, const char *text)
{
    return cib_error(cli->pool, reason, APR_SUCCESS, "%s", text);
}

static cib_error_t *read_user(const cli_t *cli, cli_wish_t *wish)
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

cib_error_t *cli_wish_read(const cli_t *cli, cli_wish_t *wish)
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

const char *cli_wish_params(const cli_wish_t *wish, const char *driver)
{
    return !strcmp(driver, "sqlite3") ? wish->path : wish->params;
}

int cli_is_empty(const char *path, apr_pool_t *pool)
{
    apr_dir_t *dir;
    apr_finfo_t entry;
    int entries = 0;

    if (apr_dir_open(&dir, path, pool))
        return 0;
    while (apr_dir_read(&entry, APR_FINFO_NAME, dir) == APR_SUCCESS)
        entries += strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0 &&
                   strcmp(entry.name, "lost+found") != 0;
    apr_dir_close(dir);
    return entries == 0;
}

/* Somebody else's, with things in it? Asked again where it seems so: another init may have given it
 * away, and begun to fill it, between two looks. */
static int is_taken(const cli_t *cli, const cli_wish_t *wish, int fd, struct stat *is)
{
    return is->st_uid != wish->uid && !cli_is_empty(cli->dir, cli->pool) &&
           (fstat(fd, is) || is->st_uid != wish->uid);
}

/* Give the directory to its user. Only an empty one: any other is somebody's already. */
static cib_error_t *give(const cli_t *cli, const cli_wish_t *wish)
{
    struct stat is;
    cib_error_t *err = CIB_OK;
    int fd = open(cli->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &is))
        err = cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "open %s", cli->dir);
    else if (is_taken(cli, wish, fd, &is))
        err = cib_error(cli->pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                        "%s is not empty and does not belong to %s", cli->dir, wish->user);
    else if (is.st_uid != wish->uid && (fchmod(fd, 0750) || fchown(fd, wish->uid, wish->gid)))
        err = cib_error_system(cli->pool, APR_FROM_OS_ERROR(errno), "give %s to %s", cli->dir,
                               wish->user);
    if (fd >= 0)
        close(fd);
    return err;
}

cib_error_t *cli_make_dir(const cli_t *cli, const cli_wish_t *wish)
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

static const char *user_name(const cli_t *cli)
{
    char *user;

    if (apr_uid_name_get(&user, geteuid(), cli->pool))
        return apr_psprintf(cli->pool, "user %ld", (long)geteuid());
    return user;
}

cib_error_t *cli_reach(cli_t *cli, const cib_storage_t *storage, int *reached)
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

void cli_print_snippet(const cli_t *cli, const cib_storage_t *storage)
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

/* ci-builds init: make the storage directory and the schema, and say what httpd is to be told. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>
#include "making.h"
#include "output.h"
#include "session.h"
#include "store/cib_schema.h"

/* There is a storage directory: only what agrees with it may be said. */
static cib_error_t *agree(const cli_t *cli, const cli_wish_t *wish, const cib_storage_t *storage)
{
    const char *params = cli_wish_params(wish, storage->driver);
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
static cib_error_t *make_storage(cli_t *cli, const cli_wish_t *wish, int *made)
{
    const char *driver = wish->driver ? wish->driver : "sqlite3";
    apr_status_t rv;

    if (!strcmp(driver, "pgsql") && !wish->params)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "--driver pgsql needs --params");
    CIB_TRY(cli_make_dir(cli, wish));
    CIB_TRY(cli_session_become(cli));
    rv = cib_storage_create(cli->dir, driver, cli_wish_params(wish, driver), cli->pool);
    *made = rv == APR_SUCCESS;
    if (APR_STATUS_IS_EACCES(rv))
        return cli_session_closed(cli);
    if (rv && !APR_STATUS_IS_EEXIST(rv))
        return cib_error_system(cli->pool, rv, "make the storage directory %s", cli->dir);
    return CIB_OK;
}

/* A database that cannot be reached, or is another instance's, was left as it was: then a directory
 * made just now does not keep these parameters, and init can be tried with others. */
static cib_error_t *make_schema(cli_t *cli, const cib_storage_t *storage, int made, int *from)
{
    int reached = 0;
    cib_error_t *err = cli_reach(cli, storage, &reached);

    if (!err)
        err = cib_schema_upgrade(cli->ctx.store, cli->ctx.source, storage->id, from, cli->pool);
    if (err && made && (!reached || err->reason == CIB_REASON_CONFLICT))
        unlink(cib_storage_path(storage, "config", cli->pool));
    return err;
}

/* What comes after that, or after an upgrade. Comments, for all of it may be pasted. */
static void print_next(const cli_t *cli, const cib_storage_t *storage, int from)
{
    int usual = !strcmp(storage->dir, CLI_DEFAULT_STORAGE);
    const char *program =
        usual ? CLI_PROGRAM : apr_pstrcat(cli->pool, CLI_PROGRAM " -s ", storage->dir, NULL);

    if (from && from < cib_schema_version()) {
        printf("# The database's schema went from version %d to %d: restart httpd now.\n", from,
               cib_schema_version());
        return;
    }
    printf("# Once httpd serves it:\n"
           "#   %s project add NAME --repo-url URL\n"
           "#   %s runner add --project ID\n"
           "#   gitlab-runner register --url http://HOST/ --token glrt-...\n",
           program, program);
}

static void print_result(const cli_t *cli, const cib_storage_t *storage, int from)
{
    json_object *object;

    if (!cli->json) {
        cli_print_snippet(cli, storage);
        print_next(cli, storage, from);
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
    cli_wish_t wish = {0};
    const cib_storage_t *storage;
    int made = 0, from = 0;

    CIB_TRY(cli_wish_read(cli, &wish));
    if (access(apr_pstrcat(cli->pool, cli->dir, "/config", NULL), F_OK) && errno == ENOENT)
        CIB_TRY(make_storage(cli, &wish, &made));
    else
        CIB_TRY(cli_session_become(cli));
    CIB_TRY(cli_session_storage(cli, &storage));
    if (!made)
        CIB_TRY(agree(cli, &wish, storage));
    CIB_TRY(make_schema(cli, storage, made, &from));
    print_result(cli, storage, from);
    return CIB_OK;
}

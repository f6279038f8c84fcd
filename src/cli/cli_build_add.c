/* ci-builds build add */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/cib_build.h"
#include "input.h"
#include "output.h"

/* How many builds are added between two lines of output: core's largest transaction. */
#define ADD_AT_ONCE 500

/* Standard input can be read once. */
static cib_error_t *read_once(const cli_t *cli, const char *path, int *stdin_taken,
                              const char **text)
{
    if (!strcmp(path, "-") && (*stdin_taken)++)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "standard input can be read only once");
    return cli_read_file(cli, path, text);
}

/* What each of the options that name a variable makes of it. */
typedef struct variable_option_t {
    const char *name;
    int secret; /* the value may come from elsewhere, so that it is on no command line */
    int file;   /* every byte counts */
    int raw;
} variable_option_t;

static const variable_option_t variable_options[] = {{"variable", 0, 0, 0},
                                                     {"raw-variable", 0, 0, 1},
                                                     {"secret", 1, 0, 0},
                                                     {"file-variable", 1, 1, 0},
                                                     {NULL, 0, 0, 0}};

static cib_error_t *read_value(const cli_t *cli, const variable_option_t *option, int *stdin_taken,
                               const char **value)
{
    const char *from = **value == '@' ? *value + 1 : !strcmp(*value, "-") ? *value : NULL;

    if (!option->secret || !from)
        return CIB_OK;
    CIB_TRY(read_once(cli, from, stdin_taken, value));
    if (!option->file)
        *value = cli_without_line_end(*value, cli->pool);
    return CIB_OK;
}

static cib_error_t *read_variable(const cli_t *cli, const variable_option_t *option,
                                  const char *pair, int *stdin_taken, cib_variable_t *variable)
{
    CIB_TRY(cli_cut_pair(cli, option->name, pair, &variable->key, &variable->value));
    CIB_TRY(read_value(cli, option, stdin_taken, &variable->value));
    variable->is_public = !option->secret;
    variable->is_file = option->file;
    variable->is_raw = option->raw;
    return CIB_OK;
}

static cib_error_t *read_variables(const cli_t *cli, int *stdin_taken,
                                   apr_array_header_t **variables)
{
    *variables = apr_array_make(cli->pool, 8, sizeof(cib_variable_t));
    for (const variable_option_t *option = variable_options; option->name; option++) {
        const apr_array_header_t *pairs = cli_texts(cli, option->name);

        for (int i = 0; i < pairs->nelts; i++)
            CIB_TRY(read_variable(cli, option, APR_ARRAY_IDX(pairs, i, const char *), stdin_taken,
                                  &APR_ARRAY_PUSH(*variables, cib_variable_t)));
    }
    return CIB_OK;
}

cib_error_t *cli_build_add_prepare(cli_t *cli)
{
    cib_build_new_t *fresh = apr_pcalloc(cli->pool, sizeof(*fresh));
    apr_array_header_t *variables;
    int stdin_taken = 0;

    fresh->project_id = cli_number(cli, "project", 0);
    fresh->ref = cli_text(cli, "ref");
    fresh->sha = cli_text(cli, "sha");
    fresh->before_sha = cli_text(cli, "before-sha");
    fresh->name = cli_text(cli, "name");
    fresh->stage = cli_text(cli, "stage");
    fresh->tag = cli_given(cli, "tag");
    fresh->tags = cli_texts(cli, "tags");
    fresh->commands = "";
    fresh->options = cli_text(cli, "options");
    fresh->needs = cli_numbers(cli, "depends-on");
    fresh->timeout = (int)cli_number(cli, "timeout", 0);
    if (cli_given(cli, "commands-file"))
        CIB_TRY(read_once(cli, cli_text(cli, "commands-file"), &stdin_taken, &fresh->commands));
    if (fresh->options && *fresh->options == '@')
        CIB_TRY(read_once(cli, fresh->options + 1, &stdin_taken, &fresh->options));
    CIB_TRY(read_variables(cli, &stdin_taken, &variables));
    fresh->variables = variables;
    cli->prepared = fresh;
    return CIB_OK;
}

static void print_ids(const cli_t *cli, const apr_array_header_t *ids)
{
    for (int i = 0; i < ids->nelts; i++) {
        json_object *object = json_object_new_object();

        cli_set_id(object, "id", APR_ARRAY_IDX(ids, i, apr_int64_t));
        cli_print_member(cli, object, "id");
    }
}

static void show_progress(int done, int count)
{
    if (count > ADD_AT_ONCE && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO))
        fprintf(stderr, "\r%d of %d%s", done, count, done < count ? "" : "\n");
}

/* In parts of one transaction each, so that ids come out as they are made. */
cib_error_t *cli_build_add(cli_t *cli)
{
    const cib_build_new_t *fresh = cli->prepared;
    int count = (int)cli_number(cli, "count", 1);
    cib_ctx_t ctx = cli->ctx;
    cib_error_t *err = CIB_OK;

    apr_pool_create(&ctx.pool, cli->pool);
    for (int done = 0; done < count && !err;) {
        int part = count - done < ADD_AT_ONCE ? count - done : ADD_AT_ONCE;
        apr_array_header_t *ids;

        apr_pool_clear(ctx.pool);
        ids = apr_array_make(ctx.pool, part, sizeof(apr_int64_t));
        err = cib_build_add(&ctx, fresh, part, ids);
        print_ids(cli, ids);
        done += part;
        if (!err)
            show_progress(done, count);
    }
    return err;
}

/* ci-builds runner */
#include "core/cib_runner.h"
#include "core/cib_tags.h"
#include "output.h"

/* What the program shows of a runner. */
static cib_error_t *as_object(const cli_t *cli, const cib_runner_t *runner, json_object **object)
{
    apr_array_header_t *projects;
    json_object *made;

    CIB_TRY(cib_runner_projects(&cli->ctx, runner->id, &projects));
    *object = made = json_object_new_object();
    cli_set_id(made, "id", runner->id);
    cli_set_text(made, "description", runner->description);
    cli_set_bool(made, "active", runner->active);
    cli_set_bool(made, "is_shared", runner->is_shared);
    cli_set_bool(made, "locked", runner->locked);
    cli_set_bool(made, "run_untagged", runner->run_untagged);
    cli_set_texts(made, "tag_list", cib_tags_split(runner->tags, cli->pool));
    cli_set_ids(made, "projects", projects);
    cli_set_time(made, "contacted_at", runner->contacted_at, cli->pool);
    cli_set_text(made, "status", cib_runner_status(runner, apr_time_now()));
    cli_set_text(made, "name", runner->name);
    cli_set_text(made, "version", runner->version);
    cli_set_text(made, "revision", runner->revision);
    cli_set_text(made, "platform", runner->platform);
    cli_set_text(made, "architecture", runner->architecture);
    return CIB_OK;
}

/* The runner as it is now; `token` NULL: not to be shown. */
static cib_error_t *look_up(const cli_t *cli, apr_int64_t id, const char *token,
                            json_object **object)
{
    cib_runner_t *runner;

    CIB_TRY(cib_runner_get(&cli->ctx, id, &runner));
    CIB_TRY(as_object(cli, runner, object));
    if (token)
        cli_set_text(*object, "token", token);
    return CIB_OK;
}

cib_error_t *cli_runner_add(cli_t *cli)
{
    cib_runner_new_t fresh = {.description = cli_text(cli, "description"),
                              .tags = cli_texts(cli, "tags"),
                              .run_untagged = !cli_given(cli, "no-untagged"),
                              .locked = cli_given(cli, "locked")};
    int shared = cli_given(cli, "shared");
    apr_int64_t id;
    const char *token;
    json_object *object;

    if (!shared && !cli_given(cli, "project"))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "--project or --shared is needed");
    CIB_TRY(cib_runner_add(&cli->ctx, &fresh, shared, cli_numbers(cli, "project"), cli->prepared,
                           &id, &token));
    CIB_TRY(look_up(cli, id, token, &object));
    cli_print(cli, object);
    return CIB_OK;
}

cib_error_t *cli_runner_list(cli_t *cli)
{
    static const char *const columns[] = {"id",       "description",  "status",  "is_shared",
                                          "tag_list", "contacted_at", "version", NULL};
    apr_array_header_t *runners;
    cli_list_t *list;

    CIB_TRY(cib_runner_list(&cli->ctx, &runners));
    list = cli_list_begin(cli, columns);
    for (int i = 0; i < runners->nelts; i++) {
        json_object *object;

        CIB_TRY(as_object(cli, APR_ARRAY_IDX(runners, i, const cib_runner_t *), &object));
        cli_list_add(list, object);
    }
    cli_list_end(list);
    return CIB_OK;
}

cib_error_t *cli_runner_show(cli_t *cli)
{
    json_object *object;

    CIB_TRY(look_up(cli, cli->id, NULL, &object));
    cli_print(cli, object);
    return CIB_OK;
}

/* Put what was given over what is there. */
static cib_error_t *read_settings(const cli_t *cli, cib_runner_t *runner)
{
    if (cli_given(cli, "description"))
        runner->description = cli_text(cli, "description");
    if (cli_given(cli, "tags"))
        CIB_TRY(cib_tags_canonical(cli_texts(cli, "tags"), &runner->tags, cli->pool));
    CIB_TRY(cli_switch(cli, "untagged", &runner->run_untagged));
    return cli_switch(cli, "locked", &runner->locked);
}

static cib_error_t *set(cli_t *cli, const cib_runner_t *runner)
{
    json_object *object;

    CIB_TRY(cib_runner_set(&cli->ctx, runner));
    CIB_TRY(look_up(cli, cli->id, NULL, &object));
    cli_print_json(cli, object);
    return CIB_OK;
}

cib_error_t *cli_runner_set(cli_t *cli)
{
    apr_array_header_t *projects = cli_numbers(cli, "project");
    cib_runner_t *runner;

    CIB_TRY(cib_runner_get(&cli->ctx, cli->id, &runner));
    CIB_TRY(read_settings(cli, runner));
    for (int i = 0; i < projects->nelts; i++)
        CIB_TRY(cib_runner_bind(&cli->ctx, cli->id, APR_ARRAY_IDX(projects, i, apr_int64_t)));
    return set(cli, runner);
}

static cib_error_t *set_active(cli_t *cli, int active)
{
    cib_runner_t *runner;

    CIB_TRY(cib_runner_get(&cli->ctx, cli->id, &runner));
    runner->active = active;
    return set(cli, runner);
}

cib_error_t *cli_runner_pause(cli_t *cli)
{
    return set_active(cli, 0);
}

cib_error_t *cli_runner_resume(cli_t *cli)
{
    return set_active(cli, 1);
}

cib_error_t *cli_runner_rotate_token(cli_t *cli)
{
    const char *token;
    json_object *object;

    CIB_TRY(cib_runner_rotate(&cli->ctx, cli->id, &token));
    CIB_TRY(look_up(cli, cli->id, token, &object));
    cli_print_member(cli, object, "token");
    return CIB_OK;
}

cib_error_t *cli_runner_remove(cli_t *cli)
{
    json_object *object;

    CIB_TRY(cib_runner_remove(&cli->ctx, cli->id));
    object = json_object_new_object();
    cli_set_id(object, "id", cli->id);
    cli_print_json(cli, object);
    return CIB_OK;
}

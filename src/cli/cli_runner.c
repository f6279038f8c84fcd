/* ci-builds runner */
#include <string.h>
#include "core/cib_runner.h"
#include "core/cib_tags.h"
#include "output.h"
#include "util/cib_text.h"

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
    cli_set_id(made, "maximum_timeout", runner->maximum_timeout);
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

/* --maximum-timeout, where it is given; the rules know how short it may be. */
static cib_error_t *read_maximum_timeout(const cli_t *cli, int *seconds)
{
    const char *text = cli_text(cli, "maximum-timeout");
    apr_int64_t number = 0;

    if (!text)
        return CIB_OK;
    if (strcmp(text, "none") && cib_int_parse(text, 0, APR_INT32_MAX, &number))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "--maximum-timeout: '%s' is not a number, or out of range", text);
    *seconds = (int)number;
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
    CIB_TRY(read_maximum_timeout(cli, &fresh.maximum_timeout));
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

static json_object *machine_object(const cli_t *cli, const cib_machine_t *machine)
{
    json_object *object = json_object_new_object();

    cli_set_text(object, "system_id", machine->system_id);
    cli_set_text(object, "status", cib_machine_status(machine, apr_time_now()));
    cli_set_time(object, "contacted_at", machine->contacted_at, cli->pool);
    cli_set_text(object, "name", machine->name);
    cli_set_text(object, "version", machine->version);
    cli_set_text(object, "revision", machine->revision);
    cli_set_text(object, "platform", machine->platform);
    cli_set_text(object, "architecture", machine->architecture);
    return object;
}

static cib_error_t *add_machines(const cli_t *cli, json_object *object)
{
    json_object *list = json_object_new_array();
    apr_array_header_t *machines;

    json_object_object_add(object, "machines", list);
    CIB_TRY(cib_runner_machines(&cli->ctx, cli->id, &machines));
    for (int i = 0; i < machines->nelts; i++)
        json_object_array_add(
            list, machine_object(cli, APR_ARRAY_IDX(machines, i, const cib_machine_t *)));
    return CIB_OK;
}

cib_error_t *cli_runner_show(cli_t *cli)
{
    json_object *object;

    CIB_TRY(look_up(cli, cli->id, NULL, &object));
    CIB_TRY(add_machines(cli, object));
    cli_print(cli, object);
    return CIB_OK;
}

/* Only what was given. */
static cib_error_t *read_change(const cli_t *cli, cib_runner_change_t *change)
{
    change->description = cli_text(cli, "description");
    change->tags = cli_given(cli, "tags") ? cli_texts(cli, "tags") : NULL;
    CIB_TRY(read_maximum_timeout(cli, &change->maximum_timeout));
    CIB_TRY(cli_switch(cli, "untagged", &change->run_untagged));
    return cli_switch(cli, "locked", &change->locked);
}

static cib_error_t *print_changed(cli_t *cli)
{
    json_object *object;

    CIB_TRY(look_up(cli, cli->id, NULL, &object));
    cli_print_json(cli, object);
    return CIB_OK;
}

cib_error_t *cli_runner_set(cli_t *cli)
{
    apr_array_header_t *projects = cli_numbers(cli, "project");
    cib_runner_change_t change = CIB_RUNNER_UNCHANGED;

    CIB_TRY(read_change(cli, &change));
    CIB_TRY(cib_runner_set(&cli->ctx, cli->id, &change));
    for (int i = 0; i < projects->nelts; i++)
        CIB_TRY(cib_runner_bind(&cli->ctx, cli->id, APR_ARRAY_IDX(projects, i, apr_int64_t)));
    return print_changed(cli);
}

static cib_error_t *set_active(cli_t *cli, int active)
{
    cib_runner_change_t change = CIB_RUNNER_UNCHANGED;

    change.active = active;
    CIB_TRY(cib_runner_set(&cli->ctx, cli->id, &change));
    return print_changed(cli);
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

    CIB_TRY(cib_runner_rotate(&cli->ctx, cli->id, CIB_TOKEN_CREATED, &token));
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

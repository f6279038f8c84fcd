/* ci-builds project */
#include <string.h>
#include "core/cib_project.h"
#include "output.h"

static json_object *as_object(const cib_project_t *project)
{
    json_object *object = json_object_new_object();

    cli_set_id(object, "id", project->id);
    cli_set_text(object, "name", project->name);
    cli_set_text(object, "repo_url", project->repo_url);
    cli_set_int(object, "timeout", project->timeout);
    cli_set_bool(object, "allow_git_fetch", project->allow_git_fetch);
    cli_set_bool(object, "shared_runners_enabled", project->shared_runners_enabled);
    cli_set_bool(object, "builds_enabled", project->builds_enabled);
    return object;
}

static cib_error_t *read_repo_auth(const cli_t *cli, int *with_token)
{
    const char *auth = cli_text(cli, "repo-auth");

    if (!auth)
        return CIB_OK;
    *with_token = !strcmp(auth, "token");
    if (!*with_token && strcmp(auth, "none") != 0)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "--repo-auth is none or token, not '%s'", auth);
    return CIB_OK;
}

cib_error_t *cli_project_add(cli_t *cli)
{
    cib_project_t project = {.name = cli->operand,
                             .repo_url = cli_text(cli, "repo-url"),
                             .timeout = (int)cli_number(cli, "timeout", CIB_PROJECT_TIMEOUT),
                             .allow_git_fetch = !cli_given(cli, "no-git-fetch"),
                             .shared_runners_enabled = !cli_given(cli, "no-shared-runners"),
                             .builds_enabled = 1};
    cib_project_t *added;
    const char *token;
    json_object *object;

    CIB_TRY(read_repo_auth(cli, &project.repo_auth_token));
    CIB_TRY(cib_project_add(&cli->ctx, &project, cli->prepared, &project.id, &token));
    CIB_TRY(cib_project_get(&cli->ctx, project.id, &added));
    object = as_object(added);
    cli_set_text(object, "token", token);
    cli_print(cli, object);
    return CIB_OK;
}

cib_error_t *cli_project_list(cli_t *cli)
{
    static const char *const columns[] = {
        "id", "name", "repo_url", "timeout", "shared_runners_enabled", "builds_enabled", NULL};
    apr_array_header_t *projects;
    cli_list_t *list;

    CIB_TRY(cib_project_list(&cli->ctx, &projects));
    list = cli_list_begin(cli, columns);
    for (int i = 0; i < projects->nelts; i++)
        cli_list_add(list, as_object(APR_ARRAY_IDX(projects, i, const cib_project_t *)));
    cli_list_end(list);
    return CIB_OK;
}

cib_error_t *cli_project_show(cli_t *cli)
{
    cib_project_t *project;
    const char *token = NULL;
    json_object *object;

    CIB_TRY(cib_project_get(&cli->ctx, cli->id, &project));
    if (cli_given(cli, "show-token"))
        CIB_TRY(cib_project_token(&cli->ctx, project, &token));
    object = as_object(project);
    if (!cli->json)
        cli_set_text(object, "repo_auth", project->repo_auth_token ? "token" : "none");
    if (token)
        cli_set_text(object, "token", token);
    cli_print(cli, object);
    return CIB_OK;
}

/* Only what was given. */
static cib_error_t *read_change(const cli_t *cli, cib_project_change_t *change)
{
    change->name = cli_text(cli, "name");
    change->repo_url = cli_text(cli, "repo-url");
    change->timeout = (int)cli_number(cli, "timeout", -1);
    CIB_TRY(read_repo_auth(cli, &change->repo_auth_token));
    CIB_TRY(cli_switch(cli, "git-fetch", &change->allow_git_fetch));
    CIB_TRY(cli_switch(cli, "shared-runners", &change->shared_runners_enabled));
    return cli_switch(cli, "builds", &change->builds_enabled);
}

cib_error_t *cli_project_set(cli_t *cli)
{
    cib_project_change_t change = CIB_PROJECT_UNCHANGED;
    cib_project_t *project;

    CIB_TRY(read_change(cli, &change));
    CIB_TRY(cib_project_set(&cli->ctx, cli->id, &change));
    CIB_TRY(cib_project_get(&cli->ctx, cli->id, &project));
    cli_print_json(cli, as_object(project));
    return CIB_OK;
}

cib_error_t *cli_project_rotate_token(cli_t *cli)
{
    cib_project_t *project;
    const char *token;
    json_object *object;

    CIB_TRY(cib_project_rotate(&cli->ctx, cli->id, &token));
    CIB_TRY(cib_project_get(&cli->ctx, cli->id, &project));
    object = as_object(project);
    cli_set_text(object, "token", token);
    cli_print_member(cli, object, "token");
    return CIB_OK;
}

cib_error_t *cli_project_remove(cli_t *cli)
{
    json_object *object;

    CIB_TRY(cib_project_remove(&cli->ctx, cli->id));
    object = json_object_new_object();
    cli_set_id(object, "id", cli->id);
    cli_print_json(cli, object);
    return CIB_OK;
}

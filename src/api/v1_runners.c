/* /ci/api/v1/runners/ */
#include "v1.h"

/* --- register --- */

/* A flag that keeps its default where it is not given. */
static cib_error_t *flag(cib_call_t *call, const char *name, int *value)
{
    int given = -1;

    CIB_TRY(cib_call_malformed(call, cib_params_flag(call->params, name, &given)));
    if (given >= 0)
        *value = given;
    return CIB_OK;
}

static cib_error_t *read_runner(cib_call_t *call, cib_runner_new_t *fresh)
{
    apr_array_header_t *tags = NULL;
    cib_runner_info_t *info;

    CIB_TRY(cib_call_malformed(call,
                               cib_params_text(call->params, "description", &fresh->description)));
    CIB_TRY(cib_call_malformed(call, cib_params_list(call->params, "tag_list", &tags)));
    CIB_TRY(flag(call, "run_untagged", &fresh->run_untagged));
    CIB_TRY(flag(call, "locked", &fresh->locked));
    CIB_TRY(cib_call_info(call, &info));
    fresh->tags = tags;
    fresh->info = info;
    return CIB_OK;
}

static cib_error_t *register_runner(cib_call_t *call, json_object **answer)
{
    cib_runner_new_t fresh = {.run_untagged = 1};
    const char *registration = NULL, *token;
    cib_json_t json;
    apr_int64_t id;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(cib_call_read(call, NULL));
    CIB_TRY(cib_call_malformed(call, cib_params_required(call->params, "token", &registration)));
    CIB_TRY(read_runner(call, &fresh));
    CIB_TRY(cib_runner_register(call->ctx, registration, &fresh, &id, &token));
    json = cib_json_begin();
    cib_json_int(&json, "id", id);
    cib_json_text(&json, "token", token);
    return cib_json_end(&json, answer, call->r->pool);
}

int cib_v1_runners_register(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    json_object *answer = NULL;
    cib_error_t *err = register_runner(&call, &answer);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_CREATED, answer);
}

/* --- delete --- */

static cib_error_t *remove_runner(cib_call_t *call)
{
    const char *token = NULL;
    cib_runner_t *runner;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(cib_call_read(call, NULL));
    CIB_TRY(cib_call_malformed(call, cib_params_required(call->params, "token", &token)));
    CIB_TRY(cib_runner_authenticate(call->ctx, token, &runner));
    return cib_runner_remove(call->ctx, runner->id);
}

int cib_v1_runners_delete(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = remove_runner(&call);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_OK, NULL);
}

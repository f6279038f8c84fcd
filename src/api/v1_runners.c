/* /ci/api/v1/runners/ */
#include "v1.h"

/* --- register --- */

/* GitLab 8 says no more of what is wrong with a runner than this. */
static cib_error_t *refusal(const cib_call_t *call, cib_error_t *err)
{
    apr_pool_t *pool = call->r->pool;

    if (!err || err->reason != CIB_REASON_INVALID)
        return err;
    return cib_error_detail(pool, cib_error(pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL),
                            "a runner was refused: %s", err->message);
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
    call->token = registration;
    CIB_TRY(cib_call_new_runner(call, &fresh));
    CIB_TRY(refusal(call, cib_runner_register(call->ctx, registration, &fresh, &id, &token)));
    json = cib_call_credentials(id, token);
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
    call->token = token;
    CIB_TRY(cib_runner_authenticate(call->ctx, token, &runner));
    return cib_runner_remove(call->ctx, runner->id);
}

int cib_v1_runners_delete(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = remove_runner(&call);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_OK, NULL);
}

/* Who asks: tokens from wherever they may stand, and what a runner says of itself. */
#include "internal.h"

cib_error_t *cib_call_token(cib_call_t *call, const char *header, const char **token)
{
    *token = NULL;
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "token", token)));
    if (!*token && header)
        *token = apr_table_get(call->r->headers_in, header);
    return CIB_OK;
}

cib_error_t *cib_call_runner(cib_call_t *call, cib_runner_t **runner)
{
    const char *token;

    CIB_TRY(cib_call_token(call, NULL, &token));
    return cib_runner_authenticate(call->ctx, token, runner);
}

cib_error_t *cib_call_build(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build)
{
    const char *token;

    if (!match->id_is_number || match->id <= 0)
        return cib_error(call->r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    cib_reply_about(call->r, match->id);
    CIB_TRY(cib_call_token(call, call->manner->token_header, &token));
    return cib_build_authenticate(call->ctx, match->id, token, call->manner->project_token_ok, 1,
                                  build);
}

/* A text of the object `info`; whatever else stands there is no fault worth refusing a runner for
 * unless it has another type. */
static cib_error_t *info_text(cib_call_t *call, json_object *info, const char *name,
                              const char **value)
{
    json_object *member = NULL;

    *value = NULL;
    if (!json_object_object_get_ex(info, name, &member) || !member)
        return CIB_OK;
    if (!json_object_is_type(member, json_type_string))
        return cib_call_malformed(call, cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS,
                                                  "info[%s] is invalid", name));
    *value = json_object_get_string(member);
    return CIB_OK;
}

cib_error_t *cib_call_info(cib_call_t *call, cib_runner_info_t **result)
{
    json_object *object = NULL;
    cib_runner_info_t *info;

    *result = NULL;
    CIB_TRY(cib_call_malformed(call, cib_params_object(call->params, "info", &object)));
    if (!object)
        return CIB_OK;
    info = apr_palloc(call->r->pool, sizeof *info);
    CIB_TRY(info_text(call, object, "name", &info->name));
    CIB_TRY(info_text(call, object, "version", &info->version));
    CIB_TRY(info_text(call, object, "revision", &info->revision));
    CIB_TRY(info_text(call, object, "platform", &info->platform));
    CIB_TRY(info_text(call, object, "architecture", &info->architecture));
    *result = info;
    return CIB_OK;
}

/* Who asks: tokens from wherever they may stand, and what a runner says of itself. */
#include "internal.h"

cib_error_t *cib_call_token(cib_call_t *call, const char *header, const char **token)
{
    *token = NULL;
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "token", token)));
    if (!*token && header)
        *token = apr_table_get(call->r->headers_in, header);
    call->token = *token;
    return CIB_OK;
}

cib_error_t *cib_call_required_token(cib_call_t *call, const char **token)
{
    CIB_TRY(cib_call_token(call, NULL, token));
    if (*token)
        return CIB_OK;
    return cib_call_malformed(call,
                              cib_error(call->r->pool, CIB_REASON_MISSING, APR_SUCCESS, "token"));
}

cib_error_t *cib_call_runner_token(cib_call_t *call, const char **token)
{
    if (call->manner->missing_is_error)
        return cib_call_required_token(call, token);
    return cib_call_token(call, NULL, token);
}

cib_error_t *cib_call_runner(cib_call_t *call, cib_runner_t **runner)
{
    const char *token;

    CIB_TRY(cib_call_runner_token(call, &token));
    return cib_runner_authenticate(call->ctx, token, runner);
}

static cib_error_t *open_build(cib_call_t *call, const cib_route_match_t *match, int also,
                               cib_build_t **build)
{
    const char *token;

    if (!match->id_is_number || match->id <= 0)
        return cib_error(call->r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
    cib_reply_about(call->r, match->id);
    CIB_TRY(cib_call_token(call, call->manner->token_header, &token));
    return cib_build_authenticate(call->ctx, match->id, token, also, build);
}

cib_error_t *cib_call_open(cib_call_t *call, const cib_route_match_t *match, int also,
                           cib_build_t **build)
{
    cib_error_t *err = open_build(call, match, also, build);

    if (err && err->reason == CIB_REASON_NOTHING && call->manner->only_running)
        return cib_error(call->r->pool, CIB_REASON_WRONG_TOKEN, APR_SUCCESS, NULL);
    return err;
}

cib_error_t *cib_call_build(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build)
{
    CIB_TRY(cib_call_open(call, match, call->manner->also_opens, build));
    if (!call->manner->only_running || (*build)->status == CIB_RUNNING)
        return CIB_OK;
    apr_table_setn(call->r->headers_out, call->manner->status_header,
                   cib_status_name((*build)->status));
    return cib_error(call->r->pool, CIB_REASON_NOT_RUNNING, APR_SUCCESS, NULL);
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

static cib_error_t *info_texts(cib_call_t *call, json_object *object, cib_runner_info_t *info)
{
    CIB_TRY(info_text(call, object, "name", &info->name));
    CIB_TRY(info_text(call, object, "version", &info->version));
    CIB_TRY(info_text(call, object, "revision", &info->revision));
    CIB_TRY(info_text(call, object, "platform", &info->platform));
    return info_text(call, object, "architecture", &info->architecture);
}

cib_error_t *cib_call_info(cib_call_t *call, cib_runner_info_t **result)
{
    const char *system_id = NULL;
    json_object *object = NULL;

    *result = NULL;
    CIB_TRY(cib_call_malformed(call, cib_params_object(call->params, "info", &object)));
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "system_id", &system_id)));
    if (!object && !system_id)
        return CIB_OK;
    *result = apr_pcalloc(call->ctx->pool, sizeof **result);
    (*result)->system_id = system_id;
    return object ? info_texts(call, object, *result) : CIB_OK;
}

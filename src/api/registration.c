/* A runner registers itself. */
#include "internal.h"

cib_error_t *cib_call_flag(cib_call_t *call, const char *name, int *value)
{
    int given = -1;

    CIB_TRY(cib_call_malformed(call, cib_params_flag(call->params, name, &given)));
    if (given >= 0)
        *value = given;
    return CIB_OK;
}

cib_error_t *cib_call_new_runner(cib_call_t *call, cib_runner_new_t *fresh)
{
    apr_array_header_t *tags = NULL;
    cib_runner_info_t *info;

    CIB_TRY(cib_call_malformed(call,
                               cib_params_text(call->params, "description", &fresh->description)));
    CIB_TRY(cib_call_malformed(call, cib_params_list(call->params, "tag_list", &tags)));
    CIB_TRY(cib_call_flag(call, "run_untagged", &fresh->run_untagged));
    CIB_TRY(cib_call_flag(call, "locked", &fresh->locked));
    CIB_TRY(cib_call_info(call, &info));
    fresh->tags = tags;
    fresh->info = info;
    return CIB_OK;
}

cib_json_t cib_call_credentials(apr_int64_t id, const char *token)
{
    cib_json_t json = cib_json_begin();

    if (id)
        cib_json_int(&json, "id", id);
    cib_json_text(&json, "token", token);
    return json;
}

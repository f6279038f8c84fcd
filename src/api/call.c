/* One request: its context, its parameters, its failure. */
#include "internal.h"

cib_error_t *cib_call_begin(cib_call_t *call, request_rec *r, const cib_manner_t *manner)
{
    call->r = r;
    call->manner = manner;
    call->params = cib_params_create(r->pool);
    call->malformed = call->ruled = NULL;
    return cib_api_ctx(r, &call->ctx);
}

cib_error_t *cib_call_read(cib_call_t *call, const cib_body_plan_t *plan)
{
    cib_error_t *err = cib_body_params(call->r, call->params, plan);

    return err == call->ruled ? err : cib_call_malformed(call, err);
}

cib_error_t *cib_call_query(cib_call_t *call)
{
    return cib_call_malformed(call, cib_body_query(call->r, call->params));
}

cib_error_t *cib_call_malformed(cib_call_t *call, cib_error_t *err)
{
    call->malformed = err;
    return err;
}

cib_error_t *cib_call_ruled(cib_call_t *call, cib_error_t *err)
{
    call->ruled = err;
    return err;
}

int cib_call_fail(cib_call_t *call, const cib_error_t *err)
{
    return err == call->malformed ? cib_reply_parse_error(call->r, err)
                                  : cib_reply_error(call->r, err);
}

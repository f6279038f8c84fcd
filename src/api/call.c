/* One request: its context, its parameters, its failure. */
#include <apr_strings.h>

#include "internal.h"
#include "server/cib_guesses.h"

cib_error_t *cib_call_begin(cib_call_t *call, request_rec *r, const cib_manner_t *manner)
{
    call->r = r;
    call->manner = manner;
    call->params = cib_params_create(r->pool);
    call->token = NULL;
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

/* The error in the dialect's own words. */
static const cib_error_t *reword(const cib_call_t *call, const cib_error_t *err)
{
    const cib_manner_t *manner = call->manner;
    const char *words = NULL;
    cib_error_t *copy;

    if (err->reason == CIB_REASON_NOT_RUNNING)
        words = manner->not_running;
    else if (err->reason == CIB_REASON_ERASED)
        words = manner->erased;
    if (!words)
        return err;
    copy = apr_pmemdup(call->r->pool, err, sizeof *err);
    copy->message = words;
    return copy;
}

int cib_call_fail(cib_call_t *call, const cib_error_t *err)
{
    int bad = err->reason == CIB_REASON_INVALID || err->reason == CIB_REASON_MISSING;

    if (err->reason == CIB_REASON_WRONG_TOKEN)
        cib_guess_note(call->r, call->token);
    if (err != call->malformed && bad && call->manner->bad_request)
        return cib_reply_bad_request(call->r, call->manner->bad_request, err);
    if (err != call->malformed)
        return cib_reply_error(call->r, reword(call, err));
    if (err->reason == CIB_REASON_MISSING && call->manner->missing_is_error)
        err = cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is missing",
                        err->message);
    return cib_reply_parse_error(call->r, err);
}

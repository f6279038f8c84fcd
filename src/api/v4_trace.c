/* /api/v4/jobs/:id/trace */
#include "v4.h"

static int refuse(cib_call_t *call, cib_error_t *err)
{
    if (err->reason == CIB_REASON_OUT_OF_RANGE)
        return cib_reply_parse_error(call->r, err);
    if (err->reason == CIB_REASON_MISSING)
        err = cib_call_malformed(call, cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS,
                                                 "400 Missing header Content-Range"));
    return cib_call_fail(call, err);
}

int cib_v4_trace_append(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_build_t *build;
    const char *range;
    cib_error_t *err = cib_call_append(&call, &cib_v4_manner, match, &build, &range);

    if (err)
        return refuse(&call, err);
    cib_v4_tell_interval(r, build);
    return cib_reply_text(r, HTTP_ACCEPTED, range);
}

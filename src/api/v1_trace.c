/* /ci/api/v1/builds/:id/trace.txt */
#include "v1.h"

int cib_v1_trace_append(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_build_t *build;
    const char *range;
    cib_error_t *err = cib_call_append(&call, &cib_v1_manner, match, &build, &range);

    if (err && err->reason == CIB_REASON_MISSING)
        return cib_reply_text(r, HTTP_BAD_REQUEST, "400 Missing header Content-Range");
    return err ? cib_call_fail(&call, err) : cib_reply_text(r, HTTP_ACCEPTED, range);
}

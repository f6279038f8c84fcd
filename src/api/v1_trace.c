/* /ci/api/v1/builds/:id/trace.txt */
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "v1.h"

/* Bytes are bytes: what a client calls the types that every route takes does not matter here. */
static cib_error_t *check_type(request_rec *r)
{
    static const char *const types[] = {"text/plain", "application/x-www-form-urlencoded",
                                        "application/json", "multipart/form-data"};
    const char *header = apr_table_get(r->headers_in, "Content-Type");
    apr_size_t len, i;

    if (!header || !*header)
        return CIB_OK;
    len = strcspn(header, "; \t");
    for (i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i]) == len && !ap_cstr_casecmpn(header, types[i], len))
            return CIB_OK;
    }
    return cib_error(r->pool, CIB_REASON_BAD_TYPE, APR_SUCCESS, "%.*s", (int)len, header);
}

static const char *range_to(request_rec *r, apr_int64_t received)
{
    const char *range = apr_psprintf(r->pool, "0-%" APR_INT64_T_FMT, received);

    apr_table_setn(r->headers_out, "Range", range);
    return range;
}

static cib_error_t *append(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build,
                           apr_int64_t *received)
{
    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(check_type(call->r));
    CIB_TRY(cib_call_query(call));
    return cib_call_append(call, match, build, received);
}

int cib_v1_trace_append(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_build_t *build = NULL;
    apr_int64_t received = 0;
    const char *range;
    cib_error_t *err = append(&call, match, &build, &received);

    if (err && err->reason == CIB_REASON_MISSING)
        return cib_reply_text(r, HTTP_BAD_REQUEST, "400 Missing header Content-Range");
    if (err && err->reason != CIB_REASON_OUT_OF_RANGE)
        return cib_call_fail(&call, err);
    range = range_to(r, received);
    if (err)
        return cib_call_fail(&call, err);
    apr_table_setn(r->headers_out, call.manner->status_header, cib_status_name(build->status));
    return cib_reply_text(r, HTTP_ACCEPTED, range);
}

/* The live log: bytes that go on from where the last ones ended. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "http/cib_parser.h"
#include "internal.h"

/* A body that took longer than this leaves what was known of the build too old to go by. */
#define FRESH apr_time_from_sec(1)
/* A body that is mostly there with its headers. */
#define SHORT 16384

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

/* Refuse what does not go on from the end before the body is read, unless that is short: then the
 * look would cost more. The word that counts is said under the trace's lock, afterwards; for a
 * build that ended the rules may not ask at all. */
static cib_error_t *check_start(cib_call_t *call, const cib_build_t *build, apr_int64_t start,
                                apr_int64_t *received)
{
    apr_int64_t len = cib_body_length(call->r);

    if (len >= 0 && len <= SHORT && !call->r->expecting_100)
        return CIB_OK;
    CIB_TRY(cib_trace_received(call->ctx, build, received));
    if (start == *received || build->status != CIB_RUNNING)
        return CIB_OK;
    return cib_error(call->r->pool, CIB_REASON_OUT_OF_RANGE, APR_SUCCESS, NULL);
}

static cib_error_t *take_body(cib_call_t *call, const cib_build_t *build,
                              cib_trace_append_t **append)
{
    const cib_sink_t *sink;

    CIB_TRY(cib_trace_append_begin(call->ctx, build, append, &sink));
    CIB_TRY(cib_call_heartbeat(call, build, &sink));
    return cib_body_raw(call->r, sink, -1);
}

static cib_error_t *append(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build,
                           apr_int64_t *received)
{
    const char *range = apr_table_get(call->r->headers_in, "Content-Range");
    apr_time_t begun = apr_time_now();
    cib_trace_append_t *appending;
    apr_int64_t start;

    CIB_TRY(cib_call_build(call, match, build));
    if (!range)
        return cib_error(call->r->pool, CIB_REASON_MISSING, APR_SUCCESS, "Content-Range");
    start = cib_content_range_start(range);
    CIB_TRY(check_start(call, *build, start, received));
    CIB_TRY(take_body(call, *build, &appending));
    if (apr_time_now() - begun > FRESH)
        CIB_TRY(cib_call_build(call, match, build));
    return cib_trace_append_finish(appending, start, received);
}

cib_error_t *cib_call_append(cib_call_t *call, const cib_manner_t *manner,
                             const cib_route_match_t *match, cib_build_t **build,
                             const char **range)
{
    apr_table_t *headers = call->r->headers_out;
    apr_int64_t received = 0;
    cib_error_t *err;

    CIB_TRY(cib_call_begin(call, call->r, manner));
    CIB_TRY(check_type(call->r));
    CIB_TRY(cib_call_query(call));
    err = append(call, match, build, &received);
    if (err && err->reason != CIB_REASON_OUT_OF_RANGE)
        return err;
    *range = apr_psprintf(call->r->pool, "0-%" APR_INT64_T_FMT, received);
    apr_table_setn(headers, "Range", *range);
    if (!err)
        apr_table_setn(headers, manner->status_header, cib_status_name((*build)->status));
    return err;
}

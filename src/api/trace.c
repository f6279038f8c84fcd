/* The live log: bytes that go on from where the last ones ended. */
#include "core/cib_trace.h"
#include "http/cib_parser.h"
#include "internal.h"

/* A body that took longer than this leaves what was known of the build too old to go by. */
#define FRESH apr_time_from_sec(1)

/* Refuse what does not go on from the end before the body is read. The word that counts is said
 * under the trace's lock, afterwards; for a build that ended the rules may not ask at all. */
static cib_error_t *check_start(cib_call_t *call, const cib_build_t *build, apr_int64_t start,
                                apr_int64_t *received)
{
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
    return cib_body_raw(call->r, cib_call_heartbeat(call, build, sink), -1);
}

cib_error_t *cib_call_append(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build,
                             apr_int64_t *received)
{
    const char *range = apr_table_get(call->r->headers_in, "Content-Range");
    apr_time_t begun = apr_time_now();
    cib_trace_append_t *append;
    apr_int64_t start;

    CIB_TRY(cib_call_build(call, match, build));
    if (!range)
        return cib_error(call->r->pool, CIB_REASON_MISSING, APR_SUCCESS, "Content-Range");
    start = cib_content_range_start(range);
    CIB_TRY(check_start(call, *build, start, received));
    CIB_TRY(take_body(call, *build, &append));
    if (apr_time_now() - begun > FRESH)
        CIB_TRY(cib_call_build(call, match, build));
    return cib_trace_append_finish(append, start, received);
}

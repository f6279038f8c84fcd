/* /ci/api/v1/builds/:id/artifacts */
#include <apr_strings.h>

#include "core/cib_artifact.h"
#include "v1.h"

/* --- authorize --- */

int cib_v1_artifacts_authorize(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = cib_call_authorize(&call, &cib_v1_manner, match);

    if (!err)
        return cib_reply_json(r, HTTP_OK, json_object_new_object());
    /* GitLab has other words for it here */
    if (err->reason == CIB_REASON_NOT_RUNNING)
        err->message = "build is not running";
    return cib_call_fail(&call, err);
}

/* --- upload --- */

static cib_error_t *upload(cib_call_t *call, const cib_route_match_t *match, json_object **answer)
{
    cib_description_t *description;
    cib_build_t *build;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(cib_call_upload(call, match, &build));
    CIB_TRY(cib_describe(call->ctx, build->id, &description));
    return cib_v1_describe(description, answer, call->r->pool);
}

int cib_v1_artifacts_upload(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    json_object *answer = NULL;
    cib_error_t *err = upload(&call, match, &answer);

    if (err)
        return cib_call_fail(&call, err);
    apr_table_setn(r->headers_out, "Location",
                   cib_call_url(r, apr_psprintf(r->pool, "%sbuilds/%" APR_INT64_T_FMT "/artifacts",
                                                cib_v1.prefix, match->id)));
    return cib_reply_json(r, HTTP_CREATED, answer);
}

/* --- download --- */

int cib_v1_artifacts_download(request_rec *r, const cib_route_match_t *match)
{
    return cib_call_download(r, &cib_v1_manner, match);
}

/* --- delete --- */

static cib_error_t *discard(cib_call_t *call, const cib_route_match_t *match)
{
    cib_build_t *build;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(cib_call_read(call, NULL));
    CIB_TRY(cib_call_build(call, match, &build));
    return cib_artifact_delete(call->ctx, build->id, NULL);
}

int cib_v1_artifacts_delete(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = discard(&call, match);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_OK, NULL);
}

/* /api/v4/jobs/:id/artifacts */
#include "v4.h"

int cib_v4_artifacts_authorize(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = cib_call_authorize(&call, &cib_v4_manner, match);

    if (err)
        return cib_call_fail(&call, err);
    return cib_reply_json_as(r, HTTP_OK, "application/vnd.gitlab-workhorse+json",
                             json_object_new_object());
}

static cib_error_t *upload(cib_call_t *call, const cib_route_match_t *match)
{
    cib_build_t *build;
    cib_error_t *err;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v4_manner));
    err = cib_call_upload(call, match, &build);
    /* GitLab has other words for it here */
    if (err && err->reason == CIB_REASON_NOT_RUNNING)
        return cib_error(call->r->pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Job is not running!");
    return err;
}

int cib_v4_artifacts_upload(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = upload(&call, match);

    if (err)
        return cib_call_fail(&call, err);
    return cib_reply_json(r, HTTP_CREATED, json_object_new_string("201"));
}

int cib_v4_artifacts_download(request_rec *r, const cib_route_match_t *match)
{
    return cib_call_download(r, &cib_v4_manner, match);
}

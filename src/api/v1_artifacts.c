/* /ci/api/v1/builds/:id/artifacts */
#include <apr_strings.h>

#include "core/cib_artifact.h"
#include "v1.h"

/* --- authorize --- */

static cib_error_t *authorize(cib_call_t *call, const cib_route_match_t *match)
{
    apr_int64_t size = -1;
    cib_build_t *build;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    if (!call->ctx->limits->artifacts)
        return cib_error(call->r->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL);
    CIB_TRY(cib_call_read(call, NULL));
    CIB_TRY(cib_call_build(call, match, &build));
    CIB_TRY(cib_call_malformed(call, cib_params_int(call->params, "filesize", &size)));
    return cib_artifact_allowed(call->ctx, build, 1, size < 0 ? -1 : size);
}

int cib_v1_artifacts_authorize(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = authorize(&call, match);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_OK, json_object_new_object());
}

/* --- upload --- */

static cib_error_t *upload(cib_call_t *call, const cib_route_match_t *match, json_object **answer)
{
    cib_description_t *description;
    cib_build_t *build;

    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(cib_call_upload(call, match, "archive", "zip", &build));
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

static cib_error_t *find(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build)
{
    CIB_TRY(cib_call_begin(call, call->r, &cib_v1_manner));
    CIB_TRY(cib_call_read(call, NULL));
    return cib_call_build(call, match, build);
}

static cib_error_t *download(cib_call_t *call, const cib_route_match_t *match,
                             cib_file_reply_t *reply)
{
    cib_artifact_t *artifact;
    cib_build_t *build;

    CIB_TRY(find(call, match, &build));
    CIB_TRY(cib_artifact_open(call->ctx, build->id, "archive", &artifact, &reply->file));
    reply->size = artifact->size;
    reply->mtime = artifact->created_at;
    reply->filename = artifact->filename;
    reply->sha256 = artifact->sha256;
    return CIB_OK;
}

int cib_v1_artifacts_download(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_file_reply_t reply;
    cib_error_t *err = download(&call, match, &reply);

    return err ? cib_call_fail(&call, err) : cib_reply_file(r, &reply);
}

/* --- delete --- */

static cib_error_t *discard(cib_call_t *call, const cib_route_match_t *match)
{
    cib_build_t *build;

    CIB_TRY(find(call, match, &build));
    return cib_artifact_delete(call->ctx, build->id, NULL);
}

int cib_v1_artifacts_delete(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = discard(&call, match);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_OK, NULL);
}

/* A build's artifacts: whether there may be more, and what there is. */
#include "core/cib_artifact.h"
#include "internal.h"

cib_error_t *cib_call_authorize(cib_call_t *call, const cib_manner_t *manner,
                                const cib_route_match_t *match)
{
    const char *type, *format;
    apr_int64_t size = 0;
    cib_build_t *build;

    CIB_TRY(cib_call_begin(call, call->r, manner));
    if (!call->ctx->limits->artifacts)
        return cib_error(call->r->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL);
    CIB_TRY(cib_call_read(call, NULL));
    CIB_TRY(cib_call_kind(call, &type, &format));
    CIB_TRY(cib_call_build(call, match, &build));
    CIB_TRY(cib_call_malformed(call, cib_params_int(call->params, "filesize", &size)));
    if (size < 0)
        return cib_call_malformed(
            call, cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "filesize is invalid"));
    return cib_artifact_allowed(call->ctx, build, size);
}

static cib_error_t *find(cib_call_t *call, const cib_manner_t *manner,
                         const cib_route_match_t *match, cib_file_reply_t *reply)
{
    cib_artifact_t *artifact;
    cib_build_t *build;
    const char *type;

    CIB_TRY(cib_call_begin(call, call->r, manner));
    CIB_TRY(cib_call_read(call, NULL));
    CIB_TRY(cib_call_type(call, &type));
    CIB_TRY(cib_call_open(call, match, manner->also_reads, &build));
    CIB_TRY(cib_artifact_open(call->ctx, build->id, type, &artifact, &reply->file));
    reply->size = artifact->size;
    reply->mtime = artifact->created_at;
    reply->filename = artifact->filename;
    reply->sha256 = artifact->sha256;
    return CIB_OK;
}

int cib_call_download(request_rec *r, const cib_manner_t *manner, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_file_reply_t reply;
    cib_error_t *err = find(&call, manner, match, &reply);

    return err ? cib_call_fail(&call, err) : cib_reply_file(r, &reply);
}

/* Uploads: refused before the body is read where that can be, else before the first byte is stored,
 * and visible only as a whole. */
#include <string.h>

#include "core/cib_artifact.h"
#include "internal.h"

/* What multipart framing may add to a file, at most, before Content-Length speaks against it. */
#define FRAMING APR_INT64_C(65536)

typedef struct intake_t {
    cib_call_t *call;
    const cib_route_match_t *match;
    const char *type;   /* of the part `file` */
    const char *format; /* likewise */
    const char *sha256; /* announced, or NULL */
    const char *token;  /* what `build` was opened with */
    cib_build_t *build; /* NULL: not opened yet */
    cib_upload_t *upload;
    int stored; /* the part that is being read goes into the upload */
} intake_t;

static apr_int64_t announced_size(request_rec *r)
{
    apr_int64_t length = cib_body_length(r);

    return length < FRAMING ? (length < 0 ? -1 : 0) : length - FRAMING;
}

static cib_error_t *switched_off(const cib_call_t *call)
{
    if (call->ctx->limits->artifacts)
        return CIB_OK;
    /* A 405 names what is left. */
    apr_table_setn(call->r->headers_out, "Allow", "GET, HEAD, DELETE");
    return cib_error(call->r->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL);
}

/* Open the build with the token as it is known now, and ask whether it may be given files. */
static cib_error_t *open_build(intake_t *in)
{
    cib_call_t *call = in->call;
    const char *token;

    CIB_TRY(cib_call_token(call, call->manner->token_header, &token));
    if (in->build && token && !strcmp(token, in->token))
        return CIB_OK;
    CIB_TRY(cib_call_build(call, in->match, &in->build));
    in->token = token;
    return cib_artifact_allowed(call->ctx, in->build, 0, announced_size(call->r));
}

/* A form field may still bring the token, and would beat a header: so a header alone decides only
 * for a client that asked whether to send. */
static int token_may_follow(const cib_call_t *call)
{
    if (cib_params_has(call->params, "token"))
        return 0;
    return !apr_table_get(call->r->headers_in, call->manner->token_header) ||
           !call->r->expecting_100;
}

static cib_error_t *first_look(intake_t *in)
{
    cib_error_t *err;

    CIB_TRY(switched_off(in->call));
    CIB_TRY(cib_call_query(in->call));
    err = open_build(in);
    if (err && err->reason == CIB_REASON_FORBIDDEN && !err->message && token_may_follow(in->call))
        return CIB_OK;
    return err;
}

/* What a front end of GitLab's would send in place of a file, and files that are none. */
static cib_error_t *no_impostor(const intake_t *in)
{
    static const char *const names[] = {"file", "file.path", "metadata", "metadata.path"};
    apr_size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (cib_params_has(in->call->params, names[i]))
            return cib_error(in->call->r->pool, CIB_REASON_MISSING, APR_SUCCESS,
                             "%.*s is not a file", (int)strcspn(names[i], "."), names[i]);
    }
    return CIB_OK;
}

static cib_error_t *expiry(const intake_t *in, apr_time_t *expire_at)
{
    const char *text = NULL;

    CIB_TRY(cib_call_malformed(in->call, cib_params_text(in->call->params, "expire_in", &text)));
    return cib_artifact_expiry(in->call->ctx, text, expire_at);
}

/* The last chance to refuse before anything is stored. */
static cib_error_t *last_look(intake_t *in)
{
    apr_time_t ignored;

    CIB_TRY(open_build(in));
    CIB_TRY(no_impostor(in));
    return expiry(in, &ignored);
}

static cib_error_t *store_part(intake_t *in, const char *name, const char *filename,
                               const cib_sink_t **sink)
{
    const cib_ctx_t *ctx = in->call->ctx;
    const cib_sink_t *file;
    int metadata = !strcmp(name, "metadata");

    if (!in->upload)
        CIB_TRY(cib_upload_begin(ctx, in->build, &in->upload));
    CIB_TRY(cib_upload_file(in->upload, metadata ? "metadata" : in->type,
                            metadata ? "gzip" : in->format, filename, &file));
    in->stored = 1;
    *sink = cib_call_heartbeat(in->call, in->build, file);
    return CIB_OK;
}

static cib_error_t *begin_file(intake_t *in, const char *name, const char *filename,
                               const cib_sink_t **sink)
{
    CIB_TRY(last_look(in));
    in->stored = 0;
    if (strcmp(name, "file") && strcmp(name, "metadata")) {
        *sink = &cib_call_discard;
        return CIB_OK;
    }
    /* as a browser's form sends it where nothing was chosen */
    if (!*filename)
        return cib_error(in->call->r->pool, CIB_REASON_MISSING, APR_SUCCESS,
                         "Missing artifacts file!");
    return store_part(in, name, filename, sink);
}

static cib_error_t *begin_part(void *baton, const char *name, const char *filename,
                               const cib_sink_t **sink)
{
    intake_t *in = baton;

    if (!filename)
        return CIB_OK;
    return cib_call_ruled(in->call, begin_file(in, name, filename, sink));
}

static cib_error_t *end_part(void *baton, const char *name)
{
    intake_t *in = baton;

    return in->stored ? cib_call_ruled(in->call, cib_upload_file_end(in->upload)) : CIB_OK;
}

static cib_error_t *commit(intake_t *in)
{
    apr_time_t expire_at = 0;

    /* A token behind the files came too late to count. */
    if (!in->upload)
        CIB_TRY(open_build(in));
    CIB_TRY(no_impostor(in));
    if (!in->upload)
        return cib_error(in->call->r->pool, CIB_REASON_MISSING, APR_SUCCESS,
                         "Missing artifacts file!");
    CIB_TRY(expiry(in, &expire_at));
    return cib_upload_commit(in->upload, in->sha256, expire_at);
}

cib_error_t *cib_call_upload(cib_call_t *call, const cib_route_match_t *match, const char *type,
                             const char *format, cib_build_t **build)
{
    intake_t in = {.call = call, .match = match, .type = type, .format = format};
    const cib_body_plan_t plan = {begin_part, end_part, &in};

    CIB_TRY(first_look(&in));
    CIB_TRY(cib_call_digest(call, &in.sha256));
    CIB_TRY(cib_call_read(call, &plan));
    CIB_TRY(commit(&in));
    *build = in.build;
    return CIB_OK;
}

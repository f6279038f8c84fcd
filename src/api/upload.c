/* Uploads: refused before the body is read where that can be, else before the first byte is stored,
 * and visible only as a whole. */
#include <string.h>

#include "core/cib_artifact.h"
#include "internal.h"
#include "util/cib_text.h"

/* What multipart framing may add to a file, at most, before Content-Length speaks against it. */
#define FRAMING APR_INT64_C(65536)

#define ARCHIVE "archive"
#define METADATA "metadata"

typedef struct intake_t {
    cib_call_t *call;
    const cib_route_match_t *match;
    const char *type;   /* of the part `file`, as it is known now */
    const char *format; /* likewise */
    const char *sha256; /* announced, or NULL */
    const char *token;  /* what `build` was opened with */
    cib_build_t *build; /* NULL: not opened yet */
    cib_upload_t *upload;
    int stored;       /* the part that is being read goes into the upload */
    cib_sink_t waste; /* for files that nobody wants */
    apr_int64_t wasted;
} intake_t;

/* --- what it is ------------------------------------------------------------------------------ */

/* A parameter that has a default. */
static cib_error_t *text_or(cib_call_t *call, const char *name, const char *otherwise,
                            const char **text)
{
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, name, text)));
    if (!*text)
        *text = otherwise;
    return CIB_OK;
}

static cib_error_t *no_such_value(cib_call_t *call, const char *name)
{
    return cib_call_malformed(call, cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS,
                                              "%s does not have a valid value", name));
}

cib_error_t *cib_call_type(cib_call_t *call, const char **type)
{
    *type = ARCHIVE;
    if (!call->manner->typed_artifacts)
        return CIB_OK;
    CIB_TRY(text_or(call, "artifact_type", ARCHIVE, type));
    return cib_artifact_type(*type) ? CIB_OK : no_such_value(call, "artifact_type");
}

cib_error_t *cib_call_kind(cib_call_t *call, const char **type, const char **format)
{
    *format = "zip";
    CIB_TRY(cib_call_type(call, type));
    if (!call->manner->typed_artifacts)
        return CIB_OK;
    /* it comes beside its archive only */
    if (!strcmp(*type, METADATA))
        return no_such_value(call, "artifact_type");
    CIB_TRY(text_or(call, "artifact_format", "zip", format));
    return cib_artifact_is_format(*format) ? CIB_OK : no_such_value(call, "artifact_format");
}

/* Once a file has begun as what it is, it stays that. */
static cib_error_t *no_late_kind(const intake_t *in)
{
    const char *type, *format;

    CIB_TRY(cib_call_kind(in->call, &type, &format));
    if (!strcmp(type, in->type) && !strcmp(format, in->format))
        return CIB_OK;
    return cib_call_malformed(in->call,
                              cib_error(in->call->r->pool, CIB_REASON_INVALID, APR_SUCCESS,
                                        "artifact_type and artifact_format must come before the "
                                        "file"));
}

/* --- may it come? ---------------------------------------------------------------------------- */

static apr_int64_t announced_size(request_rec *r)
{
    apr_int64_t length = cib_body_length(r);

    return length < FRAMING ? (length < 0 ? -1 : 0) : length - FRAMING;
}

static cib_error_t *switched_off(const cib_call_t *call)
{
    if (call->ctx->limits->artifacts)
        return CIB_OK;
    apr_table_setn(call->r->headers_out, "Allow", call->manner->allow_no_upload);
    return cib_error(call->r->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL);
}

/* Open the build with the token as it is known now, and ask whether it may be given files. (The two
 * tokens compared here are both the client's; the build's own is compared below, in constant time.)
 */
static cib_error_t *open_build(intake_t *in)
{
    cib_call_t *call = in->call;
    const char *token;

    CIB_TRY(cib_call_token(call, call->manner->token_header, &token));
    if (in->build && token && !strcmp(token, in->token))
        return CIB_OK;
    CIB_TRY(cib_call_build(call, in->match, &in->build));
    in->token = token;
    return cib_artifact_allowed(call->ctx, in->build, announced_size(call->r));
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
    CIB_TRY(cib_call_kind(in->call, &in->type, &in->format));
    err = open_build(in);
    if (err && err->reason == CIB_REASON_WRONG_TOKEN && token_may_follow(in->call))
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

    if (!in->upload)
        CIB_TRY(cib_call_kind(in->call, &in->type, &in->format));
    CIB_TRY(open_build(in));
    CIB_TRY(no_impostor(in));
    return expiry(in, &ignored);
}

/* --- taking it ------------------------------------------------------------------------------- */

/* Of what nobody wants there must be an end, too: the one that there is for a file. */
static cib_error_t *waste(void *baton, const char *data, apr_size_t len)
{
    intake_t *in = baton;
    const cib_ctx_t *ctx = in->call->ctx;
    apr_int64_t most = ctx->limits->max_artifact_size;

    in->wasted += (apr_int64_t)len;
    if (most == CIB_UNLIMITED || in->wasted <= most)
        return CIB_OK;
    return cib_call_ruled(in->call, cib_artifact_allowed(ctx, in->build, in->wasted));
}

static cib_error_t *store_part(intake_t *in, const char *name, const char *filename,
                               const cib_sink_t **sink)
{
    const cib_ctx_t *ctx = in->call->ctx;
    const cib_sink_t *file;
    int metadata = !strcmp(name, METADATA);

    if (!in->upload)
        CIB_TRY(cib_upload_begin(ctx, in->build, &in->upload));
    CIB_TRY(cib_upload_file(in->upload, metadata ? METADATA : in->type,
                            metadata ? "gzip" : in->format, filename, &file));
    in->stored = 1;
    *sink = file;
    return cib_call_heartbeat(in->call, in->build, sink);
}

static cib_error_t *begin_file(intake_t *in, const char *name, const char *filename,
                               const cib_sink_t **sink)
{
    CIB_TRY(last_look(in));
    in->stored = 0;
    if (strcmp(name, "file") && strcmp(name, METADATA)) {
        *sink = &in->waste;
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
    CIB_TRY(no_late_kind(in));
    CIB_TRY(expiry(in, &expire_at));
    return cib_upload_commit(in->upload, in->sha256, expire_at, !in->call->manner->typed_artifacts);
}

/* It ended while the bytes came: the runner is told how. */
static cib_error_t *tell_status(intake_t *in, cib_error_t *err)
{
    cib_build_t *build;

    if (!err || err->reason != CIB_REASON_NOT_RUNNING || !in->call->manner->only_running)
        return err;
    CIB_TRY(cib_call_build(in->call, in->match, &build));
    return err;
}

cib_error_t *cib_call_upload(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build)
{
    intake_t in = {.call = call, .match = match, .waste = {waste, &in}};
    const cib_body_plan_t plan = {begin_part, end_part, &in, &in.waste};

    CIB_TRY(first_look(&in));
    CIB_TRY(cib_call_digest(call, &in.sha256));
    CIB_TRY(cib_call_read(call, &plan));
    CIB_TRY(tell_status(&in, commit(&in)));
    *build = in.build;
    return CIB_OK;
}

/* Answers: the one place where a reason becomes a status, a body and a log line. */
#include <string.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_log.h>
#include <http_protocol.h>

#include "exchange.h"
#include "http/cib_reply.h"
#include "send.h"
#include "util/cib_text.h"

void cib_reply_about(request_rec *r, apr_int64_t build_id)
{
    cib_exchange_t *exchange = cib_exchange(r);

    exchange->about_build = 1;
    exchange->build_id = build_id;
}

/* ---- sending ---- */

/* Send `len` bytes as the whole body. */
static int send_bytes(request_rec *r, const char *data, apr_size_t len)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, alloc);

    if (len)
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(data, len, alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    return cib_send(r, bb);
}

static int send_typed(request_rec *r, int status, const char *type, const char *data,
                      apr_size_t len)
{
    r->status = status;
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)len);
    return send_bytes(r, data, len);
}

int cib_reply_json(request_rec *r, int status, json_object *object)
{
    return cib_reply_json_as(r, status, "application/json", object);
}

int cib_reply_json_as(request_rec *r, int status, const char *type, json_object *object)
{
    size_t len = 0;
    const char *text = json_object_to_json_string_length(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    int result;

    if (text)
        result = send_typed(r, status, type, text, len);
    else
        result = cib_reply_error(
            r, cib_error_detail(r->pool, cib_error(r->pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL),
                                "write an answer as JSON"));
    json_object_put(object);
    return result;
}

int cib_reply_text(request_rec *r, int status, const char *text)
{
    return send_typed(r, status, "text/plain", text, strlen(text));
}

int cib_reply_empty(request_rec *r, int status)
{
    r->status = status;
    if (status != HTTP_NO_CONTENT && status != HTTP_NOT_MODIFIED)
        ap_set_content_length(r, 0);
    return send_bytes(r, NULL, 0);
}

/* ---- errors ---- */

typedef struct answer_t {
    int status;
    int level;
    const char *id;       /* of the log line */
    const char *text;     /* of the body; `%` stands for nothing, messages are put behind it */
    const char *fallback; /* the message where the error has none, NULL: the text alone */
    const char *retry_after;
} answer_t;

static const answer_t answers[] = {
    [CIB_REASON_INTERNAL] = {500, APLOG_ERR, "CIB0100", "500 Internal Server Error", NULL, NULL},
    [CIB_REASON_UNAVAILABLE] = {503, APLOG_WARNING, "CIB0101", "503 Service Unavailable",
                                "the database cannot be reached, try again", "5"},
    [CIB_REASON_NO_SPACE] = {507, APLOG_ERR, "CIB0102", "507 Insufficient Storage",
                             "the storage directory is full", "60"},
    [CIB_REASON_INVALID] = {400, APLOG_DEBUG, "CIB0103", "400 (Bad request)", NULL, NULL},
    [CIB_REASON_MISSING] = {400, APLOG_DEBUG, "CIB0104", "400 (Bad request)", NULL, NULL},
    /* there may be many: CIB0260 tells of them */
    [CIB_REASON_WRONG_TOKEN] = {403, APLOG_TRACE1, "CIB0117", "403 Forbidden", NULL, NULL},
    [CIB_REASON_FORBIDDEN] = {403, APLOG_DEBUG, "CIB0105", "403 Forbidden", NULL, NULL},
    [CIB_REASON_NOT_RUNNING] = {403, APLOG_DEBUG, "CIB0114", "403 Forbidden", NULL, NULL},
    [CIB_REASON_ERASED] = {403, APLOG_DEBUG, "CIB0115", "403 Forbidden", NULL, NULL},
    [CIB_REASON_NOTHING] = {404, APLOG_DEBUG, "CIB0106", "404 Not Found", NULL, NULL},
    [CIB_REASON_NO_RECORD] = {404, APLOG_DEBUG, "CIB0107", "404 Not found", NULL, NULL},
    [CIB_REASON_NOT_ALLOWED] = {405, APLOG_DEBUG, "CIB0108", "405 Method Not Allowed", NULL, NULL},
    [CIB_REASON_BAD_TYPE] = {406, APLOG_DEBUG, "CIB0109", "", NULL, NULL},
    [CIB_REASON_TOO_LARGE] = {413, APLOG_DEBUG, "CIB0110", "413 Request Entity Too Large", NULL,
                              NULL},
    [CIB_REASON_OUT_OF_RANGE] = {416, APLOG_DEBUG, "CIB0111", "416 Range Not Satisfiable", NULL,
                                 NULL},
    [CIB_REASON_CONFLICT] = {409, APLOG_DEBUG, "CIB0112", "409 Conflict", NULL, NULL},
    [CIB_REASON_DUPLICATE] = {400, APLOG_DEBUG, "CIB0116", "400 (Bad request)", NULL, NULL},
    [CIB_REASON_CLIENT_GONE] = {400, APLOG_DEBUG, "CIB0113", "400 Bad Request", NULL, NULL},
};

static void log_error(request_rec *r, const answer_t *answer, const cib_error_t *err)
{
    const cib_exchange_t *exchange = cib_exchange(r);
    const char *about = "";

    if (exchange->about_build)
        about = apr_psprintf(r->pool, "build %" APR_INT64_T_FMT ": ", exchange->build_id);
    ap_log_rerror(APLOG_MARK, answer->level, 0, r, "%s: %s%s: %s", answer->id, about,
                  *answer->text ? answer->text : "406 Not Acceptable",
                  cib_error_text(err, r->pool));
}

/* What the client is told may be made of what it sent: JSON must be UTF-8 all the same. */
static const char *printable(request_rec *r, const char *text)
{
    char *copy, *at;

    if (cib_is_utf8(text, strlen(text)))
        return text;
    copy = apr_pstrdup(r->pool, text);
    for (at = copy; *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return copy;
}

static int reply_member(request_rec *r, int status, const char *name, const char *text)
{
    json_object *object = json_object_new_object();
    json_object *value = json_object_new_string(printable(r, text));

    if (!object || !value || json_object_object_add(object, name, value)) {
        json_object_put(object);
        json_object_put(value);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return cib_reply_json(r, status, object);
}

/* The text of {"message": ...}. */
static const char *message_text(request_rec *r, const answer_t *answer, const cib_error_t *err)
{
    const char *message = err->message && *err->message ? err->message : answer->fallback;

    switch (err->reason) {
    case CIB_REASON_MISSING:
        return apr_psprintf(r->pool, "%s \"%s\" not given", answer->text, message ? message : "");
    case CIB_REASON_INVALID:
        return message ? apr_psprintf(r->pool, "%s %s", answer->text, message) : answer->text;
    case CIB_REASON_DUPLICATE:
        return message ? message : answer->text;
    case CIB_REASON_FORBIDDEN:
    case CIB_REASON_NOT_RUNNING:
    case CIB_REASON_ERASED:
    case CIB_REASON_TOO_LARGE:
    case CIB_REASON_UNAVAILABLE:
    case CIB_REASON_NO_SPACE:
        return message ? apr_psprintf(r->pool, "%s  - %s", answer->text, message) : answer->text;
    default:
        return answer->text;
    }
}

int cib_reply_status(request_rec *r, int status)
{
    return reply_member(r, status, "message", ap_get_status_line(status));
}

/* The body broke off. Where the filters have answered, nothing may follow. */
static int reply_client_gone(request_rec *r, const cib_error_t *err)
{
    int status = ap_map_http_request_error(err->rv, HTTP_BAD_REQUEST);

    cib_exchange(r)->read = CIB_READ_BROKEN;
    r->connection->keepalive = AP_CONN_CLOSE;
    if (status == AP_FILTER_ERROR)
        return AP_FILTER_ERROR;
    return cib_reply_status(r, status);
}

int cib_reply_error(request_rec *r, const cib_error_t *err)
{
    const answer_t *answer = &answers[err->reason];

    log_error(r, answer, err);
    if (answer->retry_after)
        apr_table_setn(r->headers_out, "Retry-After", answer->retry_after);
    switch (err->reason) {
    case CIB_REASON_CLIENT_GONE:
        return reply_client_gone(r, err);
    case CIB_REASON_OUT_OF_RANGE:
        return cib_reply_text(r, answer->status, answer->text);
    case CIB_REASON_BAD_TYPE:
        return reply_member(r, answer->status, "error",
                            apr_psprintf(r->pool,
                                         "The requested content-type '%s' is not supported.",
                                         err->message ? err->message : ""));
    default:
        return reply_member(r, answer->status, "message", message_text(r, answer, err));
    }
}

int cib_reply_parse_error(request_rec *r, const cib_error_t *err)
{
    const answer_t *answer = &answers[err->reason];

    if (err->reason != CIB_REASON_INVALID && err->reason != CIB_REASON_OUT_OF_RANGE)
        return cib_reply_error(r, err);
    log_error(r, answer, err);
    if (err->reason == CIB_REASON_OUT_OF_RANGE)
        return reply_member(r, answer->status, "error", answer->text);
    return reply_member(r, answer->status, "error",
                        err->message ? err->message : "invalid request");
}

int cib_reply_bad_request(request_rec *r, const char *words, const cib_error_t *err)
{
    const answer_t *answer = &answers[err->reason];

    log_error(r, answer, err);
    return reply_member(r, answer->status, "message",
                        apr_pstrcat(r->pool, words, err->message, NULL));
}

int cib_reply_wrong_method(request_rec *r, const char *allow)
{
    apr_table_set(r->headers_out, "Allow", allow);
    return cib_reply_error(
        r, cib_error_detail(r->pool, cib_error(r->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL),
                            "the path serves %s", allow));
}

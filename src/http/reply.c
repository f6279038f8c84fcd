/* Answers: the one place where a reason becomes a status, a body and a log line. */
#include <string.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <util_filter.h>

#include "exchange.h"
#include "http/cib_body.h"
#include "http/cib_reply.h"
#include "util/cib_text.h"

/* What may still come of a body that nobody wants: so much is read to keep the connection, */
#define KEEP_ALIVE_REST (64 * 1024)
/* and so much, for so long, after an answer that closes it. */
#define DRAIN_BYTES (8 * 1024 * 1024)
#define DRAIN_TIME apr_time_from_sec(2)

void cib_reply_about(request_rec *r, apr_int64_t build_id)
{
    cib_exchange_t *exchange = cib_exchange(r);

    exchange->about_build = 1;
    exchange->build_id = build_id;
}

/* ---- bodies that were not read ---- */

/* Is the rest of the body so small that httpd may read it, and keep the connection? */
static int rest_is_small(request_rec *r)
{
    apr_int64_t length = cib_body_length(r);

    return length >= 0 && length <= KEEP_ALIVE_REST;
}

/* Decide before the headers are made whether the connection ends with this answer; returns whether
 * to drain the body after it. A stream of HTTP/2 is reset by mod_http2, its connection is not ours.
 */
static int close_unread(request_rec *r)
{
    cib_exchange_t *exchange = cib_exchange(r);
    conn_rec *c = r->connection;

    if (c->master)
        return 0;
    if (exchange->read == CIB_READ_BROKEN) {
        c->keepalive = AP_CONN_CLOSE;
        return 0;
    }
    if (!cib_exchange_unread(r))
        return 0;
    if (r->expecting_100 && exchange->read == CIB_READ_NOTHING) {
        c->keepalive = AP_CONN_CLOSE;
        return 0; /* it was never asked to send */
    }
    if (rest_is_small(r))
        return 0;
    c->keepalive = AP_CONN_CLOSE;
    return 1;
}

/* Read and drop what the client still sends, for a while: one that only looks for an answer when it
 * has sent all would otherwise see a reset instead. httpd's lingering close does the rest. */
static void drain(request_rec *r)
{
    conn_rec *c = r->connection;
    apr_socket_t *socket = ap_get_conn_socket(c);
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_time_t end = apr_time_now() + DRAIN_TIME;
    apr_interval_time_t timeout = 0;
    apr_off_t drained = 0;

    apr_socket_timeout_get(socket, &timeout);
    while (cib_exchange(r)->read != CIB_READ_ALL && drained < DRAIN_BYTES) {
        apr_interval_time_t left = end - apr_time_now();
        apr_off_t len = 0;

        if (left <= 0)
            break;
        apr_socket_timeout_set(socket, left);
        if (ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ,
                           KEEP_ALIVE_REST))
            break;
        apr_brigade_length(bb, 1, &len);
        drained += len;
        if (!APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb)))
            cib_exchange(r)->read = CIB_READ_ALL;
        apr_brigade_cleanup(bb);
    }
    apr_brigade_destroy(bb);
    apr_socket_timeout_set(socket, timeout);
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                  "CIB0120: dropped %" APR_OFF_T_FMT " bytes of a body that is not wanted",
                  drained);
}

/* ---- sending ---- */

int cib_reply_flush(request_rec *r)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    rv = ap_pass_brigade(c->output_filters, bb);
    apr_brigade_destroy(bb);
    return !rv && !c->aborted;
}

/* Send the headers and `len` bytes, and see to the rest of the request's body. */
static int send_answer(request_rec *r, const char *data, apr_size_t len)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, alloc);
    int unwanted = close_unread(r);

    if (len)
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(data, len, alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    ap_pass_brigade(r->output_filters, bb);
    if (unwanted && cib_reply_flush(r))
        drain(r);
    return OK;
}

static int send_typed(request_rec *r, int status, const char *type, const char *data,
                      apr_size_t len)
{
    r->status = status;
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)len);
    return send_answer(r, data, len);
}

int cib_reply_json(request_rec *r, int status, json_object *object)
{
    size_t len = 0;
    const char *text = json_object_to_json_string_length(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    int result;

    if (text)
        result = send_typed(r, status, "application/json", text, len);
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
    return send_answer(r, NULL, 0);
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
    [CIB_REASON_FORBIDDEN] = {403, APLOG_DEBUG, "CIB0105", "403 Forbidden", NULL, NULL},
    [CIB_REASON_NOTHING] = {404, APLOG_DEBUG, "CIB0106", "404 Not Found", NULL, NULL},
    [CIB_REASON_NO_RECORD] = {404, APLOG_DEBUG, "CIB0107", "404 Not found", NULL, NULL},
    [CIB_REASON_NOT_ALLOWED] = {405, APLOG_DEBUG, "CIB0108", "405 Method Not Allowed", NULL, NULL},
    [CIB_REASON_BAD_TYPE] = {406, APLOG_DEBUG, "CIB0109", "", NULL, NULL},
    [CIB_REASON_TOO_LARGE] = {413, APLOG_DEBUG, "CIB0110", "413 Request Entity Too Large", NULL,
                              NULL},
    [CIB_REASON_OUT_OF_RANGE] = {416, APLOG_DEBUG, "CIB0111", "416 Range Not Satisfiable", NULL,
                                 NULL},
    [CIB_REASON_CONFLICT] = {409, APLOG_DEBUG, "CIB0112", "409 Conflict", NULL, NULL},
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
    case CIB_REASON_FORBIDDEN:
    case CIB_REASON_TOO_LARGE:
    case CIB_REASON_UNAVAILABLE:
    case CIB_REASON_NO_SPACE:
        return message ? apr_psprintf(r->pool, "%s  - %s", answer->text, message) : answer->text;
    default:
        return answer->text;
    }
}

/* The body broke off. Where the filters have answered, nothing may follow. */
static int reply_client_gone(request_rec *r, const cib_error_t *err)
{
    int status = ap_map_http_request_error(err->rv, HTTP_BAD_REQUEST);

    cib_exchange(r)->read = CIB_READ_BROKEN;
    r->connection->keepalive = AP_CONN_CLOSE;
    if (status == AP_FILTER_ERROR)
        return AP_FILTER_ERROR;
    return reply_member(r, status, "message", ap_get_status_line(status));
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

    if (err->reason != CIB_REASON_INVALID)
        return cib_reply_error(r, err);
    log_error(r, answer, err);
    return reply_member(r, answer->status, "error",
                        err->message ? err->message : "invalid request");
}

int cib_reply_wrong_method(request_rec *r, const char *allow)
{
    apr_table_set(r->headers_out, "Allow", allow);
    return cib_reply_error(r, cib_error(r->pool, CIB_REASON_NOT_ALLOWED, APR_SUCCESS, NULL));
}

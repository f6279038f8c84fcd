/* An answer on its way out, and the rest of the request's body. */
#include <httpd.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <util_filter.h>

#include "exchange.h"
#include "http/cib_body.h"
#include "http/cib_reply.h"
#include "send.h"

/* What may still come of a body that nobody wants: so much is read to keep the connection, */
#define KEEP_ALIVE_REST 65536
/* and so much, for so long, after an answer that closes it. */
#define DRAIN_BYTES 8388608
#define DRAIN_TIME apr_time_from_sec(2)
#define POLL_TIME apr_time_from_msec(20)

/* ---- bodies that were not read ---- */

/* Is the rest of the body so small that httpd may read it, and keep the connection? */
static int rest_is_small(request_rec *r)
{
    apr_int64_t length = cib_body_length(r);

    return length >= 0 && length <= KEEP_ALIVE_REST;
}

/* Was the client never asked to send? */
static int is_waiting(request_rec *r)
{
    return r->expecting_100 && cib_exchange(r)->read == CIB_READ_NOTHING;
}

/* Decide before the headers are made whether the connection ends with this answer; returns whether
 * to drain the body after it. */
static int close_unread(request_rec *r)
{
    cib_exchange_t *exchange = cib_exchange(r);
    conn_rec *c = r->connection;

    if (exchange->read == CIB_READ_BROKEN) {
        c->keepalive = AP_CONN_CLOSE;
        return 0;
    }
    if (!cib_exchange_unread(r))
        return 0;
    if (is_waiting(r)) {
        c->keepalive = AP_CONN_CLOSE;
        return 0;
    }
    if (rest_is_small(r))
        return 0;
    c->keepalive = AP_CONN_CLOSE;
    return 1;
}

/* Read what is there of the body, waiting for it no longer than `patience`. A stream of HTTP/2 has
 * no socket whose timeout could be set: ask it now and then. */
static apr_status_t read_some(request_rec *r, apr_bucket_brigade *bb, apr_interval_time_t patience)
{
    apr_socket_t *socket = ap_get_conn_socket(r->connection);
    apr_interval_time_t timeout = 0;
    apr_status_t rv;

    if (r->connection->master) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_NONBLOCK_READ,
                            KEEP_ALIVE_REST);
        if (!APR_STATUS_IS_EAGAIN(rv) && (rv || !APR_BRIGADE_EMPTY(bb)))
            return rv;
        apr_sleep(patience < POLL_TIME ? patience : POLL_TIME);
        return APR_SUCCESS;
    }
    apr_socket_timeout_get(socket, &timeout);
    apr_socket_timeout_set(socket, patience);
    rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, KEEP_ALIVE_REST);
    apr_socket_timeout_set(socket, timeout);
    return rv;
}

/* Read and drop what the client still sends, for a while: one that only looks for an answer when it
 * has sent all would otherwise see a reset instead. httpd's lingering close does the rest. */
static void drain(request_rec *r)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_time_t end = apr_time_now() + DRAIN_TIME;
    apr_off_t drained = 0;
    int ended = 0;

    while (!ended && drained < DRAIN_BYTES) {
        apr_interval_time_t left = end - apr_time_now();
        apr_off_t len = 0;

        if (left <= 0 || read_some(r, bb, left))
            break;
        apr_brigade_length(bb, 1, &len);
        drained += len;
        ended = !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        apr_brigade_cleanup(bb);
    }
    apr_brigade_destroy(bb);
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                  "CIB0120: dropped %" APR_OFF_T_FMT " bytes of a body that is not wanted",
                  drained);
}

static int flush(request_rec *r)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    rv = ap_pass_brigade(c->output_filters, bb);
    apr_brigade_destroy(bb);
    return !rv && !c->aborted;
}

int cib_reply_flush(request_rec *r)
{
    return r->connection->master ? cib_exchange(r)->delivered : flush(r);
}

/* ---- streams of HTTP/2 ---- */

/* Once mod_http2 has sent the end of an answer it may mark the stream aborted, as over, or reset it
 * where the request's body has not ended, which some clients take for an error. So whether the
 * answer went out is asked, and the body drained, before the end is said. */
static int send_on_stream(request_rec *r, apr_bucket_brigade *bb)
{
    conn_rec *c = r->connection;
    apr_bucket *end = APR_BRIGADE_LAST(bb);
    int unwanted = cib_exchange_unread(r) && !is_waiting(r);

    APR_BUCKET_REMOVE(end);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    cib_exchange(r)->delivered = !ap_pass_brigade(r->output_filters, bb) && !c->aborted;
    if (unwanted && cib_exchange(r)->delivered)
        drain(r);
    apr_brigade_cleanup(bb);
    APR_BRIGADE_INSERT_TAIL(bb, end);
    ap_pass_brigade(r->output_filters, bb);
    return OK;
}

int cib_send(request_rec *r, apr_bucket_brigade *bb)
{
    int unwanted;

    if (r->connection->master)
        return send_on_stream(r, bb);
    unwanted = close_unread(r);
    ap_pass_brigade(r->output_filters, bb);
    if (unwanted && flush(r))
        drain(r);
    return OK;
}

int cib_send_whole(request_rec *r, apr_bucket_brigade *bb)
{
    if (!r->connection->master)
        return cib_send(r, bb);
    ap_pass_brigade(r->output_filters, bb);
    return OK;
}

/* Request bodies, from the brigades to the parsers. */
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_protocol.h>
#include <util_filter.h>

#include "exchange.h"
#include "http/cib_body.h"

/* What one turn asks of the input filters: the more, the fewer and larger the writes below. */
#define READ_SIZE 1048576

/* ---- reading ---- */

static cib_error_t *client_gone(request_rec *r, apr_status_t rv)
{
    cib_exchange(r)->read = CIB_READ_BROKEN;
    return cib_error_detail(r->pool, cib_error(r->pool, CIB_REASON_CLIENT_GONE, rv, NULL),
                            "read the body of the request");
}

/* Give one brigade's bytes to the sink. */
static cib_error_t *pass_brigade(request_rec *r, apr_bucket_brigade *bb, const cib_sink_t *sink)
{
    apr_bucket *e;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
        const char *data;
        apr_size_t len;
        apr_status_t rv;

        if (APR_BUCKET_IS_EOS(e)) {
            cib_exchange(r)->read = CIB_READ_ALL;
            return CIB_OK;
        }
        if (APR_BUCKET_IS_METADATA(e))
            continue;
        rv = apr_bucket_read(e, &data, &len, APR_BLOCK_READ);
        if (rv)
            return client_gone(r, rv);
        if (len)
            CIB_TRY(sink->write(sink->baton, data, len));
    }
    return CIB_OK;
}

/* Read to the end of the body, or to the first error. Only an end that was seen is an end: whatever
 * else stops the reading leaves a body that is not whole. */
static cib_error_t *read_body(request_rec *r, const cib_sink_t *sink)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    cib_exchange_t *exchange = cib_exchange(r);
    cib_error_t *err = CIB_OK;

    exchange->read = CIB_READ_PART;
    while (!err && exchange->read == CIB_READ_PART) {
        apr_status_t rv =
            ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, READ_SIZE);

        err = rv ? client_gone(r, rv) : pass_brigade(r, bb, sink);
        apr_brigade_cleanup(bb);
    }
    apr_brigade_destroy(bb);
    return err;
}

/* ---- what kind of body it is ---- */

/* The media type in lower case, without parameters; "" where there is none. */
static char *media_type(request_rec *r)
{
    const char *header = apr_table_get(r->headers_in, "Content-Type");
    char *type;

    if (!header)
        return apr_pstrdup(r->pool, "");
    while (apr_isspace(*header))
        header++;
    type = apr_pstrmemdup(r->pool, header, strcspn(header, "; \t"));
    ap_str_tolower(type);
    return type;
}

static cib_error_t *bad_type(request_rec *r, const char *type)
{
    return cib_error(r->pool, CIB_REASON_BAD_TYPE, APR_SUCCESS, "%s", type);
}

/* What is packed would have to be unpacked, to any size: no client of ours does it. */
static cib_error_t *check_encoding(request_rec *r)
{
    const char *encoding = apr_table_get(r->headers_in, "Content-Encoding");

    if (!encoding || !*encoding || !ap_cstr_casecmp(encoding, "identity"))
        return CIB_OK;
    return cib_error_detail(r->pool, bad_type(r, media_type(r)), "a body with Content-Encoding");
}

/* The parser for this type; NULL where there is no type: then not a byte may come. */
static cib_error_t *choose_parser(request_rec *r, cib_params_t *params, const cib_body_plan_t *plan,
                                  cib_parser_t **parser, apr_pool_t *pool)
{
    const char *type = media_type(r);

    *parser = NULL;
    if (!strcmp(type, "application/json"))
        *parser = cib_parser_json(params, plan, pool);
    else if (!strcmp(type, "application/x-www-form-urlencoded"))
        *parser = cib_parser_form(params, plan, pool);
    else if (!strcmp(type, "multipart/form-data"))
        return cib_parser_multipart(parser, apr_table_get(r->headers_in, "Content-Type"), params,
                                    plan, pool);
    else if (*type || cib_body_length(r) > 0)
        return bad_type(r, type);
    return CIB_OK;
}

static cib_error_t *write_to_parser(void *baton, const char *data, apr_size_t len)
{
    cib_parser_t *parser = baton;

    return parser->feed(parser, data, len);
}

static cib_error_t *refuse_byte(void *baton, const char *data, apr_size_t len)
{
    return bad_type(baton, "");
}

static cib_error_t *parse_body(request_rec *r, cib_params_t *params, const cib_body_plan_t *plan,
                               apr_pool_t *pool)
{
    cib_parser_t *parser;
    cib_sink_t sink = {refuse_byte, r};

    CIB_TRY(choose_parser(r, params, plan, &parser, pool));
    if (parser) {
        sink.write = write_to_parser;
        sink.baton = parser;
    }
    CIB_TRY(read_body(r, &sink));
    return parser ? parser->finish(parser) : CIB_OK;
}

/* What the parser took is given back at once, for the request may wait for long. Not after an
 * error, whose words are in there; nor where a plan was told what is. */
cib_error_t *cib_body_params(request_rec *r, cib_params_t *params, const cib_body_plan_t *plan)
{
    apr_pool_t *pool;

    CIB_TRY(cib_body_query(r, params));
    if (!ap_request_has_body(r))
        return CIB_OK;
    CIB_TRY(check_encoding(r));
    apr_pool_create(&pool, r->pool);
    apr_pool_tag(pool, "cib_parser");
    CIB_TRY(parse_body(r, params, plan, pool));
    if (!plan)
        apr_pool_destroy(pool);
    return CIB_OK;
}

cib_error_t *cib_body_query(request_rec *r, cib_params_t *params)
{
    return cib_params_add_encoded(params, r->args, r->args ? strlen(r->args) : 0);
}

/* ---- bytes of any type ---- */

typedef struct bounded_t {
    request_rec *r;
    const cib_sink_t *sink;
    apr_int64_t limit;
    apr_int64_t seen;
} bounded_t;

static cib_error_t *too_large(request_rec *r, apr_int64_t limit)
{
    return cib_error(r->pool, CIB_REASON_TOO_LARGE, APR_SUCCESS,
                     "the body is limited to %" APR_INT64_T_FMT " bytes", limit);
}

static cib_error_t *write_bounded(void *baton, const char *data, apr_size_t len)
{
    bounded_t *bounded = baton;

    if (bounded->limit >= 0 && (apr_int64_t)len > bounded->limit - bounded->seen)
        return too_large(bounded->r, bounded->limit);
    bounded->seen += (apr_int64_t)len;
    return bounded->sink->write(bounded->sink->baton, data, len);
}

cib_error_t *cib_body_raw(request_rec *r, const cib_sink_t *sink, apr_int64_t limit)
{
    bounded_t bounded = {r, sink, limit, 0};
    cib_sink_t counting = {write_bounded, &bounded};

    if (!ap_request_has_body(r))
        return CIB_OK;
    CIB_TRY(check_encoding(r));
    if (limit >= 0 && cib_body_length(r) > limit)
        return too_large(r, limit);
    return read_body(r, &counting);
}

apr_int64_t cib_body_length(request_rec *r)
{
    const char *header = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t length;

    if (apr_table_get(r->headers_in, "Transfer-Encoding"))
        return -1;
    return header && ap_parse_strict_length(&length, header) ? length : 0;
}

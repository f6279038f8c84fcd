/* Request bodies, from the brigades to the parsers. */
#ifndef CIB_BODY_H
#define CIB_BODY_H

#include <httpd.h>
#include "http/cib_parser.h"

/* Put the query into the params (the path's are added by whoever has them, before this), then read
 * the body to its end through the parser that its type asks for: JSON, form, multipart; none
 * without type or body. BAD_TYPE: any other type. CLIENT_GONE: the body broke off; the input
 * filters may have answered already, reply.c knows. The parsed query is there even when the body
 * fails. */
cib_error_t *cib_body_params(request_rec *r, cib_params_t *params, const cib_body_plan_t *plan);

/* The query alone; the body stays unread. */
cib_error_t *cib_body_query(request_rec *r, cib_params_t *params);

/* Read a body of any or no type as bytes into `sink`. `limit` < 0: none. TOO_LARGE beyond it. */
cib_error_t *cib_body_raw(request_rec *r, const cib_sink_t *sink, apr_int64_t limit);

/* The body's announced length, -1 where it is chunked. INVALID headers never get this far. */
apr_int64_t cib_body_length(request_rec *r);

#endif

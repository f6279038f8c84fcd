/* Bodies parsed as they arrive, in constant memory. No httpd here: the fuzzers and the unit tests
 * feed these by hand, src/http/body.c from the brigades.
 *
 * What a parser finds goes into the params, but for those fields that the plan takes away: their
 * bytes go to the plan's sink, decoded, whatever their size. Everything else in a body together is
 * at most CIB_PARAMS_LIMIT (multipart: 8 KiB of headers a part, 64 parts; preamble and epilogue
 * count for nothing but are read and dropped): TOO_LARGE beyond it.
 */
#ifndef CIB_PARSER_H
#define CIB_PARSER_H

#include "http/cib_params.h"
#include "util/cib_sink.h"

/* What to do with a field whose value may be large. */
typedef struct cib_body_plan_t {
    /* A field begins: a multipart part (`filename` NULL where it has none, as sent otherwise: data,
     * never a path), a form field or a member of the top-level JSON object that is a string. Set
     * `*sink` to take its bytes, leave it NULL for the params. What was parsed before it is in the
     * params already. An error ends the parsing. A further field of a name that was taken goes to
     * `further` without asking: the first stays here too. */
    cib_error_t *(*begin)(void *baton, const char *name, const char *filename,
                          const cib_sink_t **sink);
    /* A field taken by `begin` is complete. */
    cib_error_t *(*end)(void *baton, const char *name);
    void *baton;
    const cib_sink_t *further; /* NULL: it is dropped */
} cib_body_plan_t;

typedef struct cib_parser_t cib_parser_t;
struct cib_parser_t {
    /* The next bytes of the body. INVALID: malformed. */
    cib_error_t *(*feed)(cib_parser_t *parser, const char *data, apr_size_t len);
    /* The body is at its end. INVALID: it is not whole. Only then are the last fields in the
     * params. */
    cib_error_t *(*finish)(cib_parser_t *parser);
};

/* `plan` may be NULL: everything into the params. A parser lives in `pool`. */

/* application/json: one object (nothing at all is an empty one); arrays and scalars are INVALID,
 * so is nesting beyond CIB_JSON_DEPTH, broken UTF-8 and NUL. Escapes of a streamed member are
 * decoded to UTF-8 (a lone surrogate to U+FFFD). */
cib_parser_t *cib_parser_json(cib_params_t *params, const cib_body_plan_t *plan, apr_pool_t *pool);

/* application/x-www-form-urlencoded. */
cib_parser_t *cib_parser_form(cib_params_t *params, const cib_body_plan_t *plan, apr_pool_t *pool);

/* multipart/form-data; `content_type` is the header's value. INVALID here: no boundary, or one that
 * is empty, over 70 characters or of characters that RFC 2046 does not allow. Strict: CRLF line
 * ends, each part with a form-data disposition and a name, the closing delimiter required.
 * `filename*` (RFC 5987) goes before `filename`. */
cib_error_t *cib_parser_multipart(cib_parser_t **parser, const char *content_type,
                                  cib_params_t *params, const cib_body_plan_t *plan,
                                  apr_pool_t *pool);

/* The start of a trace's Content-Range ("100-200", "0-99", "12-12/12"): the digits before the first
 * "-", junk is 0 (GitLab's rule); what does not fit in an int64 is APR_INT64_MAX. */
apr_int64_t cib_content_range_start(const char *header);

/* The SHA-256, in lower case hex, that a Repr-Digest or Content-Digest (NULL: there is none) names;
 * other algorithms are nothing to us. `*sha256`: what is known already, or NULL; left alone where
 * none is named. 0: it is malformed, or names another. In `pool`. */
int cib_digest_sha256(const char *header, const char **sha256, apr_pool_t *pool);

#endif

/* One field of a body on its way: to the params, to a sink that the plan named, or nowhere. The
 * parsers say what begins, what its bytes are (decoded) and when it ends; where they go is decided
 * here, alike for all of them.
 */
#ifndef CIB_HTTP_FIELD_H
#define CIB_HTTP_FIELD_H

#include "buffer.h"
#include "http/cib_parser.h"

typedef enum {
    CIB_FIELD_KEPT,   /* for the params */
    CIB_FIELD_TAKEN,  /* the plan's sink gets it */
    CIB_FIELD_DROPPED /* one of this name was taken before: the first stays, as in the params */
} cib_field_e;

typedef struct cib_field_t {
    apr_pool_t *pool;
    cib_params_t *params;
    const cib_body_plan_t *plan; /* or NULL */
    cib_field_e where;
    const char *name;
    const cib_sink_t *sink;
    cib_buffer_t value; /* of a field that is kept */
    apr_size_t spent;   /* of CIB_PARAMS_LIMIT, by names and kept values */
    char *gathered;     /* small pieces of a taken field, before they go to the sink */
    apr_size_t gathered_len;
    apr_array_header_t *taken; /* names the plan has taken: const char * */
} cib_field_t;

void cib_field_init(cib_field_t *field, cib_params_t *params, const cib_body_plan_t *plan,
                    apr_pool_t *pool);

/* Count `len` bytes that are held, or were, against CIB_PARAMS_LIMIT: TOO_LARGE. */
cib_error_t *cib_field_spend(cib_field_t *field, apr_size_t len);

/* A field begins; `name` must stay good to its end. Sets `where`. */
cib_error_t *cib_field_begin(cib_field_t *field, const char *name, const char *filename);
cib_error_t *cib_field_write(cib_field_t *field, const char *data, apr_size_t len);
cib_error_t *cib_field_end(cib_field_t *field);

#endif

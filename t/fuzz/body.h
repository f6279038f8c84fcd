/* For the targets that parse request bodies: one parsing with all that it told, and what must be
 * equal in two of them. The names "file" and "trace" are taken, as is every part with a file name;
 * what repeats them goes `further`.
 */
#ifndef CIB_FUZZ_BODY_H
#define CIB_FUZZ_BODY_H

#include <apr_tables.h>

#include "fuzz.h"
#include "http/cib_parser.h"

typedef struct bytes_t {
    char *data; /* malloc's; freed with the pool */
    apr_size_t len, room;
} bytes_t;

/* A field that began. */
typedef struct body_field_t {
    const char *name;
    const char *filename; /* or NULL */
    const char *probe;    /* what the params said of `token` at that moment */
    int taken;
    int ended;
    bytes_t bytes; /* of one that is taken */
} body_field_t;

typedef struct body_t {
    apr_pool_t *pool;
    cib_params_t *params;
    cib_body_plan_t plan;
    cib_sink_t further_sink;
    apr_array_header_t *fields; /* body_field_t * */
    bytes_t further;
    int calls;            /* of the plan and its sinks */
    int fail_at;          /* this one of them fails; 0: none */
    cib_error_t *failure; /* the error that it gave */
    cib_error_t *err;
} body_t;

/* Makes the parser; an error is that of the whole parsing. */
typedef cib_error_t *(*body_parser_fn)(cib_parser_t **parser, body_t *body, int planned,
                                       const void *baton);

/* Parse, cut as `how` says, each piece in memory of its own. Without `planned` everything goes into
 * the params, and no field is told. */
body_t *body_parse(body_parser_fn make, const void *baton, int planned, const char *data,
                   apr_size_t len, fuzz_cut_e how, apr_pool_t *pool);

/* The same with a plan of which the call `fail_at` fails, which must end the parsing. */
void body_parse_failing(body_parser_fn make, const void *baton, int fail_at, const char *data,
                        apr_size_t len, apr_pool_t *pool);

/* Two parsings of one body told the same. */
void body_same(const body_t *one, const body_t *other);

/* Parse in every way there is, with a plan, and hold each against the first, which is returned. One
 * more time one call of the plan fails. */
body_t *body_parse_all(body_parser_fn make, const void *baton, const char *data, apr_size_t len,
                       apr_pool_t *pool);

/* All that the params know of a name, as text. */
const char *body_dump(const cib_params_t *params, const char *name, apr_pool_t *pool);

void bytes_add(bytes_t *bytes, const char *data, apr_size_t len, apr_pool_t *pool);

/* The reason of an error, -1 for none. */
int body_reason(const body_t *body);

#endif

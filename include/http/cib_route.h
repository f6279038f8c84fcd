/* The route table: which function answers which path. */
#ifndef CIB_ROUTE_H
#define CIB_ROUTE_H

#include <httpd.h>
#include "util/cib_error.h"

typedef struct cib_route_match_t {
    apr_int64_t id;      /* the number for ":id", possibly negative; see id_text where it is none */
    const char *id_text; /* as it stood in the path */
    int id_is_number;    /* it was an integer that fits */
} cib_route_match_t;

/* The number for ":id"; NOTHING (404) where it is none: no such thing can exist. */
cib_error_t *cib_route_id(const cib_route_match_t *match, apr_int64_t *id, apr_pool_t *pool);

typedef int (*cib_route_fn)(request_rec *r, const cib_route_match_t *match);

typedef struct cib_route_t {
    const char *method; /* "GET" serves HEAD too */
    const char *path;   /* below the prefix: "builds/:id/artifacts"; each also with ".json" */
    cib_route_fn handle;
} cib_route_t;

/* One dialect: a prefix ("/ci/api/v1/") and its routes, ended by a NULL path. */
typedef struct cib_dialect_t {
    const char *prefix;
    const cib_route_t *routes;
} cib_dialect_t;

/* Is `uri` (decoded, as r->uri) at or below the prefix of one of `dialects` (ended by NULL)? */
const cib_dialect_t *cib_route_dialect(const cib_dialect_t *const *dialects, const char *uri);

/* Answer the request: the route's function, 405 with Allow for a known path, 404 for any other. */
int cib_route_run(const cib_dialect_t *dialect, request_rec *r);

#endif

/* A request's parameters, whatever brought them: path, query, form, multipart fields and JSON are
 * one name space. For a repeated name the first that was added stays, so the order of adding is the
 * order of precedence. A name of the shape `info[name]` is a member of the object `info`. No httpd
 * here. Everything lives in the pool given to cib_params_create; a json_object handed out is the
 * params' own and is freed with that pool.
 */
#ifndef CIB_PARAMS_H
#define CIB_PARAMS_H

#include <apr_tables.h>
#include <json-c/json.h>
#include "util/cib_error.h"

/* How deep JSON may nest, and how large everything but a streamed field may be. */
#define CIB_JSON_DEPTH 32
#define CIB_PARAMS_LIMIT 65536

typedef struct cib_params_t cib_params_t;

cib_params_t *cib_params_create(apr_pool_t *pool);

/* Add one text. INVALID: it is not UTF-8, or holds NUL. */
cib_error_t *cib_params_add(cib_params_t *params, const char *name, const char *value,
                            apr_size_t len);

/* Add application/x-www-form-urlencoded text: a query or a form (NULL is none). INVALID: a broken
 * escape; TOO_LARGE: it is over CIB_PARAMS_LIMIT. */
cib_error_t *cib_params_add_encoded(cib_params_t *params, const char *text, apr_size_t len);

/* Add the members of a JSON object, merging objects that both have; takes the reference. */
cib_error_t *cib_params_add_json(cib_params_t *params, json_object *object);

/* The getters, for `info[name]` too. Absent (or JSON null) is no error: NULL, -1, or `*value` left
 * alone. INVALID ("<name> is invalid") where the value has another type. Of a plain name, nothing
 * is allocated for a text, a flag, a number or an object. */
int cib_params_has(const cib_params_t *params, const char *name);
cib_error_t *cib_params_text(const cib_params_t *params, const char *name, const char **value);
/* As text, but MISSING where it is absent or empty. */
cib_error_t *cib_params_required(const cib_params_t *params, const char *name, const char **value);
/* true/false, "true"/"false", 1/0, "1"/"0". -1: absent, or an empty text (a form's blank field). */
cib_error_t *cib_params_flag(const cib_params_t *params, const char *name, int *value);
/* An integer or its decimal text. An empty text counts as absent. */
cib_error_t *cib_params_int(const cib_params_t *params, const char *name, apr_int64_t *value);
/* A list of texts or one text with commas; blanks around each and empty ones are dropped. NULL:
 * absent. Elements are `const char *`. */
cib_error_t *cib_params_list(const cib_params_t *params, const char *name,
                             apr_array_header_t **value);
/* An object, NULL: absent. */
cib_error_t *cib_params_object(const cib_params_t *params, const char *name, json_object **value);

#endif

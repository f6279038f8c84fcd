/* A build's options: a JSON object whose known keys have the types that runners insist on. */
#ifndef CIB_CORE_OPTIONS_H
#define CIB_CORE_OPTIONS_H

#include <json-c/json.h>

#include "util/cib_error.h"

/* Parse, check, and bring into the one form that cib_description_t has. The object is freed with
 * `pool`. INVALID says which key is wrong. */
cib_error_t *cib_options_parse(const char *text, json_object **options, apr_pool_t *pool);

#endif

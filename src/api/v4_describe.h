/* The parts of a build's description in v4. */
#ifndef CIB_API_V4_DESCRIBE_H
#define CIB_API_V4_DESCRIBE_H

#include "v4.h"
#include "variables.h"

/* v4_variables.c */
void cib_v4_put_variables(cib_json_t *json, const cib_description_t *about, apr_pool_t *pool);
void cib_v4_append_variable(cib_json_t *json, json_object *list, const cib_told_t *variable);
/* v4_options.c: image, services, artifacts and cache */
void cib_v4_put_image(cib_json_t *json, const cib_description_t *about);
void cib_v4_put_services(cib_json_t *json, const cib_description_t *about);
void cib_v4_put_artifacts(cib_json_t *json, const cib_description_t *about);
void cib_v4_put_caches(cib_json_t *json, const cib_description_t *about);

#endif

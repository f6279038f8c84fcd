/* The options allow several forms of one thing; what reads them wants one. */
#ifndef CIB_CORE_FORMS_H
#define CIB_CORE_FORMS_H

#include <json-c/json.h>

#include "util/cib_error.h"

/* A report that says which of two types it is, unlike all others. */
#define CIB_COVERAGE_REPORT "coverage_report"

/* Bring options that were checked into the form that cib_description_t has. INVALID: two archives
 * or two reports of one type, of which a runner could upload only one. INTERNAL: no memory. */
cib_error_t *cib_forms_unify(json_object *options, apr_pool_t *pool);

/* Of options in that form: the entry of `artifacts` that asks for an archive; NULL: none. */
json_object *cib_forms_archive(json_object *options);

#endif

/* What httpd refuses on its own, before a handler of ours or in its place.
 */
#ifndef CIB_REFUSAL_H
#define CIB_REFUSAL_H

#include <httpd.h>

/* Once per configuration, while hooks are registered. */
void cib_refusal_register(void);

/* From insert_error_filter: the page that is about to be sent becomes {"message":"<status>"}. */
void cib_refusal_in_json(request_rec *r);

#endif

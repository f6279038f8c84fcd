/* The dialects: which paths there are, and what each answers. */
#ifndef CIB_API_H
#define CIB_API_H

#include "core/cib_ctx.h"
#include "http/cib_route.h"
#include "server/cib_instance.h"

/* /ci/api/v1/: builds and runners, as runners 0.5 to 1.11 speak it. */
extern const cib_dialect_t cib_v1;
/* /api/v4/: jobs and runners, as runners since 9.0 speak it. */
extern const cib_dialect_t cib_v4;

/* Once per configuration, while hooks are registered: what the dialects want made beforehand. */
void cib_api_register(apr_pool_t *pool);

/* The rules' context of a request, from its virtual host; UNAVAILABLE where the storage cannot be
 * opened. */
cib_error_t *cib_api_ctx(request_rec *r, const cib_ctx_t **ctx);
/* The same for a turn of upkeep. */
const cib_ctx_t *cib_api_server_ctx(server_rec *s, apr_pool_t *pool);

/* What runners of the instance may be given has changed: wake those that wait and may be concerned.
 */
void cib_api_raised(cib_instance_t *instance);

#endif

/* Whether there is room for artifacts. */
#ifndef CIB_CORE_SPACE_H
#define CIB_CORE_SPACE_H

#include "core/cib_ctx.h"

/* NO_SPACE when less than CIBuildsMinFree is left. */
cib_error_t *cib_space_check(const cib_ctx_t *ctx);
/* TOO_LARGE, naming the limit. */
cib_error_t *cib_space_too_large(const cib_ctx_t *ctx);
/* Has it expired by `now`? */
int cib_artifact_expired(const cib_artifact_t *artifact, apr_time_t now);

#endif

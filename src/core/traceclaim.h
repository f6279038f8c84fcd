/* Whose bytes a trace takes. */
#ifndef CIB_CORE_TRACECLAIM_H
#define CIB_CORE_TRACECLAIM_H

#include "core/cib_ctx.h"
#include "files/cib_tracefile.h"

/* Are bytes for this build still kept? Not before it was claimed, nor long after its end. */
int cib_trace_takes(const cib_build_t *build, apr_time_t now);

/* Lock the trace for this claim of the build: what an older claim left is gone. FORBIDDEN: a newer
 * claim has begun to write. The lock is let go with `pool`; errors are in the context's. */
cib_error_t *cib_trace_lock_claim(const cib_ctx_t *ctx, const cib_build_t *build,
                                  cib_tracefile_t **trace, cib_trace_state_t *state,
                                  apr_pool_t *pool);

#endif

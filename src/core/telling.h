/* What the database says of a build that a runner is told: the half of cib_describe that asks, for
 * whoever has a section already (src/core/description.c). */
#ifndef CIB_CORE_TELLING_H
#define CIB_CORE_TELLING_H

#include "core/cib_queue.h"
#include "store/cib_questions.h"

/* To be asked for a build; lives in ctx->pool. */
cib_telling_t *cib_telling_create(const cib_ctx_t *ctx, apr_int64_t build_id);

/* Ask, within a section. What keeps the build from being described is kept for cib_describe_claim,
 * and no error of the section's; a question that fails is, UNAVAILABLE. */
cib_error_t *cib_telling_ask(cib_db_t *db, cib_telling_t *telling, apr_pool_t *pool);

#endif

/* Removing builds whole, some at a time in one transaction. */
#ifndef CIB_CORE_REMOVAL_H
#define CIB_CORE_REMOVAL_H

#include "core/cib_ctx.h"

/* At most so many rows are written in one transaction, so that httpd is served in between. */
#define CIB_BATCH 500

/* Remove these builds (ids) with their files: rows first, because a file without a row is found
 * again and a row without a file is a fault. Those that have not ended are left alone. `removed`
 * and `freed` (or NULL) grow. */
cib_error_t *cib_builds_remove(const cib_ctx_t *ctx, const apr_array_header_t *ids, int *removed,
                               apr_int64_t *freed);

#endif

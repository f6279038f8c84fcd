/* Removing builds whole, some at a time in one transaction. */
#ifndef CIB_CORE_REMOVAL_H
#define CIB_CORE_REMOVAL_H

#include "core/cib_ctx.h"

/* At most so many rows are written in one transaction, so that httpd is served in between. */
#define CIB_BATCH 500

/* Of those asked for, which? */
typedef enum {
    CIB_REMOVE_ENDED,
    CIB_REMOVE_UNNEEDED /* ended, and no build that waits or runs needs it */
} cib_remove_e;

/* Remove these builds (ids) with their files: rows first, because a file without a row is found
 * again and a row without a file is a fault. Tag sets that no build names any more go with them.
 * The others are left alone. `removed` and `freed` (or NULL) grow. */
cib_error_t *cib_builds_remove(const cib_ctx_t *ctx, const apr_array_header_t *ids,
                               cib_remove_e which, int *removed, apr_int64_t *freed);

#endif

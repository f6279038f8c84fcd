/* Tag lists. Canonical: trimmed, without empty ones and repetitions, sorted byte by byte, joined by
 * commas; "" for none. Tags are compared byte by byte. */
#ifndef CIB_TAGS_H
#define CIB_TAGS_H

#include <apr_tables.h>
#include "util/cib_error.h"

/* `tags`: const char *, each possibly with commas itself. INVALID: over 255 bytes, or control
 * characters, in one tag; over 100 tags. */
cib_error_t *cib_tags_canonical(const apr_array_header_t *tags, const char **canonical,
                                apr_pool_t *pool);
/* The single tags of a canonical list: const char *. */
apr_array_header_t *cib_tags_split(const char *canonical, apr_pool_t *pool);

#endif

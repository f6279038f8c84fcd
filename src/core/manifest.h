/* What a backup says of itself, as JSON. */
#ifndef CIB_CORE_MANIFEST_H
#define CIB_CORE_MANIFEST_H

#include "core/cib_backup.h"

#define CIB_MANIFEST "manifest.json"
#define CIB_MANIFEST_MAX (64 * 1024)

/* In `pool`. */
const char *cib_manifest_text(const cib_manifest_t *manifest, apr_pool_t *pool);

/* CONFLICT: it cannot be understood, or is of a newer format or schema. */
cib_error_t *cib_manifest_parse(const char *text, apr_size_t len, const cib_manifest_t **manifest,
                                apr_pool_t *pool);

#endif

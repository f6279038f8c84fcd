/* One folder of the storage directory held against the database. */
#ifndef CIB_CORE_FOLDER_H
#define CIB_CORE_FOLDER_H

#include "core/cib_ctx.h"

/* A file that no row knows. */
typedef struct cib_orphan_t {
    const char *name;
    apr_int64_t build_id; /* 0: an unfinished file */
    apr_int64_t size;
} cib_orphan_t;

/* The orphans (cib_orphan_t) among the files of the folder that begins with `first_id`. Files that
 * somebody is still making are none. */
cib_error_t *cib_folder_orphans(const cib_ctx_t *ctx, cib_area_e area, apr_int64_t first_id,
                                apr_array_header_t **orphans);

/* Remove one. What fails is logged; `freed` grows. */
void cib_folder_remove(const cib_ctx_t *ctx, cib_area_e area, const cib_orphan_t *orphan,
                       apr_int64_t *freed);

/* One folder of an area that is drawn by lot; below 0: there is none. */
cib_error_t *cib_folder_draw(const cib_ctx_t *ctx, cib_area_e area, apr_int64_t *first_id);

/* The folders of an area, by their first ids. */
cib_error_t *cib_folder_list(const cib_ctx_t *ctx, cib_area_e area, apr_array_header_t **first_ids);

#endif

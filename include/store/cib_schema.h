/* The schema and its versions. Migrations are a list of statements per version and driver; each
 * version is applied in one transaction that ends by recording it.
 */
#ifndef CIB_SCHEMA_H
#define CIB_SCHEMA_H

#include "store/cib_db.h"

/* The version this program was made for. */
int cib_schema_version(void);

/* What a database holds: 0 and NULL where it has no schema of ours. */
typedef struct cib_schema_state_t {
    int version;
    const char *instance_id;
} cib_schema_state_t;
cib_error_t *cib_schema_state(cib_store_t *store, const cib_source_t *source,
                              cib_schema_state_t *state, apr_pool_t *pool);

/* Bring the database to cib_schema_version() for the instance `id`; `from` takes the version it
 * had. Safe to run by two at once. CONFLICT: it belongs to another instance, or is newer than the
 * program. */
cib_error_t *cib_schema_upgrade(cib_store_t *store, const cib_source_t *source, const char *id,
                                int *from, apr_pool_t *pool);

/* For who fills a new database in the transaction that makes it: what has to come before that, and
 * all versions at once for the instance `id`, within a writing section. */
cib_error_t *cib_schema_prepare(cib_store_t *store, const cib_source_t *source, apr_pool_t *pool);
cib_error_t *cib_schema_make(cib_db_t *db, const char *id, apr_pool_t *pool);

#endif

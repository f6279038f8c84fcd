/* The config file of a storage directory: JSON, mode 0600. */
#ifndef CIB_FILES_CONFIG_H
#define CIB_FILES_CONFIG_H

#include "files/cib_storage.h"

/* Read DIR/config into `storage`, whose `dir` is set; everything in `pool`. APR_ENOENT, or
 * APR_EINVAL where it cannot be understood. */
apr_status_t cib_config_read(cib_storage_t *storage, apr_pool_t *pool);

/* Write it, durably and all at once. APR_EEXIST: there is one. */
apr_status_t cib_config_write(const cib_storage_t *storage, apr_pool_t *pool);

/* Where the database is when nobody says so: NULL for a driver that is not known. */
const char *cib_config_default_params(const char *dir, const char *driver, apr_pool_t *pool);

#endif

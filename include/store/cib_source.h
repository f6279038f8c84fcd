/* Connections for programs without httpd: ci-builds, the start-up check, the unit tests. Each is
 * opened when it is asked for and none is free, kept when it is given back, and closed with the
 * source. Threads may share a source; it must not cross a fork.
 */
#ifndef CIB_SOURCE_H
#define CIB_SOURCE_H

#include "store/cib_db.h"

/* Make a source for `driver` ("sqlite3" or "pgsql") and its parameters. It lives in `pool`, and so
 * do its connections. `create`: make the SQLite file where it is not, which `init` alone wants;
 * otherwise opening gives APR_ENOENT then. Errors: APR_ENOTIMPL for another driver, and what
 * apr_dbd_get_driver says where the driver is not installed. */
apr_status_t cib_source_own(const cib_source_t **source, const char *driver, const char *params,
                            int create, apr_pool_t *pool);

#endif

/* Start-up: errors of configuration are one line that says what to do.
 *
 * check_config: what can be said without opening anything (configtest shows it): a missing
 * directive, mod_dbd or mod_watchdog, a storage directory that is none, its owner. post_config:
 * what opens the storage or the database, in a short-lived fork as httpd's User; at a start in the
 * first pass over the configuration, while `apachectl start` still waits for the verdict.
 */
#ifndef CIB_STARTUP_H
#define CIB_STARTUP_H

#include <httpd.h>

int cib_startup_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
int cib_startup_open(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

#endif

/* A trial of what parking rests on. */
#ifndef CIB_HTTP_TRIAL_H
#define CIB_HTTP_TRIAL_H

#include <apr_pools.h>

/* Can a descriptor be put into the place of a socket's, and is it then the one that APR polls? Done
 * once, with a socket of nobody's. */
apr_status_t cib_trial(apr_pool_t *pool);

#endif

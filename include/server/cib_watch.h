/* Turns of upkeep: mod_watchdog calls, in one process of this server at a time; whoever then holds
 * the lease in the database works. What a turn does is given by mod_ci_builds.c (the rules are
 * core's). */
#ifndef CIB_WATCH_H
#define CIB_WATCH_H

#include "server/cib_instance.h"

/* One turn for one instance; `pool` is cleared after it. */
typedef void (*cib_watch_turn_fn)(cib_instance_t *instance, apr_time_t now, apr_pool_t *pool);

/* post_config: register with mod_watchdog, a turn each second. HTTP status or OK. */
int cib_watch_register(apr_pool_t *pconf, server_rec *s, cib_watch_turn_fn turn);

#endif

/* Turns of upkeep: mod_watchdog calls, for each instance in one process of this server at a time;
 * whoever then holds the lease in the database works. What a turn does is given by mod_ci_builds.c
 * (the rules are core's). */
#ifndef CIB_WATCH_H
#define CIB_WATCH_H

#include "server/cib_instance.h"

/* One turn for one instance. `holder` names this host and process for the lease; `since` is when
 * the server began to hear its runners (cib_board_turn_begins); `pool` is cleared after the turn.
 * An error is logged, once a minute; UNAVAILABLE is an outage. */
typedef cib_error_t *(*cib_watch_turn_fn)(cib_instance_t *instance, const char *holder,
                                          apr_time_t since, apr_pool_t *pool);

/* post_config, after cib_instances_declare: register with mod_watchdog, a turn each second. OK or
 * an HTTP status, logged. */
int cib_watch_register(apr_pool_t *pconf, server_rec *s, cib_watch_turn_fn turn);

#endif

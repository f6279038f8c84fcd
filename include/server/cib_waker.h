/* Wakers: a thread for each instance in which requests are parked, asleep until some process of
 * this host raises a generation. What is then to be done is given by mod_ci_builds.c.
 */
#ifndef CIB_WAKER_H
#define CIB_WAKER_H

#include "server/cib_instance.h"

/* Some generation of the instance was raised; quick, for the next raise waits for it. */
typedef void (*cib_waker_fn)(cib_instance_t *instance);

/* child_init: no threads yet. Those that begin end with `pool`. */
void cib_waker_open(apr_pool_t *pool, cib_waker_fn raised);

/* From now on raises of the instance are heard. 0: they cannot be, logged. */
int cib_waker_listen(cib_instance_t *instance);

/* Does any virtual host want requests parked? Good once the configuration is read. */
int cib_waker_is_wanted(server_rec *main_server);

/* How many requests one process may park: so many that it goes on accepting connections and opening
 * files. post_config only for the first; the number holds for its children. */
void cib_waker_measure(server_rec *main_server, apr_pool_t *ptemp);
int cib_waker_capacity(void);

/* Say in the log how many that is, and what to raise: a warning where nobody has thought of it. */
void cib_waker_tell(const server_rec *main_server);

#endif

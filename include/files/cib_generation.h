/* Generations: what tells a runner, without a question to the database, that nothing has changed
 * for it. One mapped file per host and instance, hosts/<host name>, shared by httpd's processes and
 * ci-builds. A runner's value is an opaque text made of the file's epoch and a counter found by the
 * runner's id (two runners may share one: that only makes a value change too often).
 *
 * A process may be killed between the commit of what concerns a runner and the raise that says so.
 * Hence `intend` before the commit (under the instance's writer lock) and `settle` after the raise:
 * while an intention stands nobody may trust a value, and who next intends and finds one standing
 * raises everything first.
 *
 * The file is never synced; with each boot of the system it begins a new epoch. Hosts that share a
 * storage directory must have different names.
 */
#ifndef CIB_GENERATION_H
#define CIB_GENERATION_H

#include "files/cib_storage.h"

typedef struct cib_generation_t cib_generation_t;

/* Map this host's file, making it where it is not (half a megabyte, all of it at once: APR_ENOSPC
 * is told here). Unmapped with `pool`; good in children of a fork, too. */
apr_status_t cib_generation_open(cib_generation_t **gen, const cib_storage_t *storage,
                                 apr_pool_t *pool);

/* The runner's value now, to be read before the database is: at most 40 characters, in `pool`. */
const char *cib_generation_value(cib_generation_t *gen, apr_int64_t runner_id, apr_pool_t *pool);

/* Is `value` the runner's value now, and no intention standing? */
int cib_generation_is_current(cib_generation_t *gen, apr_int64_t runner_id, const char *value);

/* Before a commit that will raise, and after the raise. Only under the instance's writer lock. */
void cib_generation_intend(cib_generation_t *gen);
void cib_generation_settle(cib_generation_t *gen);

/* Change one runner's value; change everybody's. Who waits learns of it by cib_generation_announce.
 */
void cib_generation_raise(cib_generation_t *gen, apr_int64_t runner_id);
void cib_generation_raise_all(cib_generation_t *gen);

/* For who waits in this process until a raise, by any process of this host:
 *
 *     for (;;) {
 *         apr_uint32_t seen = cib_generation_announced(gen);
 *         ... look at everybody's count ...
 *         cib_generation_wait(gen, seen);
 *     }
 *
 * A runner's count is the number behind its value: only for comparing it with an earlier one. */
apr_uint64_t cib_generation_count(cib_generation_t *gen, apr_int64_t runner_id);

/* The number of announcements, and: sleep until it is not `seen` any more (or for no reason). */
apr_uint32_t cib_generation_announced(cib_generation_t *gen);
void cib_generation_wait(cib_generation_t *gen, apr_uint32_t seen);

/* Wake all who wait, in all processes: after raises (and settle), once for all of them. */
void cib_generation_announce(cib_generation_t *gen);

/* --- Where other hosts write too (PostgreSQL) a value is good only as long as one process of this
 * host, the listener, hears what they tell (see store/cib_listener.h). */

/* Become it, until `pool` ends or the process does. APR_EAGAIN: another one is. */
apr_status_t cib_generation_take_ear(cib_generation_t *gen, apr_pool_t *pool);

/* All that was committed anywhere before `when` has been raised here; since when that is so, 0 for
 * never in this boot. Times are cib_generation_clock's, which goes on in one boot, for all of its
 * processes, in microseconds. */
void cib_generation_hear(cib_generation_t *gen, apr_time_t when);
apr_time_t cib_generation_heard(cib_generation_t *gen);
apr_time_t cib_generation_clock(void);

/* Note that what `mark`, never 0, stands for has been raised in this host; was that so of late? */
void cib_generation_mark(cib_generation_t *gen, apr_uint64_t mark);
int cib_generation_is_marked(cib_generation_t *gen, apr_uint64_t mark);

#endif

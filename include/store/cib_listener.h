/* Listening: what other hosts write into a PostgreSQL changes what runners are answered here.
 *
 * A writing section that raises something says so with NOTIFY in its transaction, so whoever
 * listens hears of it if and only if it was committed, also when the writer was killed right after.
 * One process of each host listens, on a connection of its own, raises what it hears in the
 * generations of the host, and asks the database a few times a second whether it still hears: all
 * that was committed before it asked has arrived with the answer. For a moment after that the
 * generations can be trusted without a question.
 *
 * A pooler that gives each transaction another backend loses notices. So a listener first tells
 * itself something, and does not trust what it does not hear.
 */
#ifndef CIB_LISTENER_H
#define CIB_LISTENER_H

#include "store/cib_db.h"

/* Have this process listen for its host, or stand by until the one that does so ends. On SQLite,
 * which lives on one host, nothing is needed: APR_SUCCESS. After the last fork; the thread and its
 * connection end with `pool`. `store` must have its generations. */
apr_status_t cib_listener_begin(cib_store_t *store, apr_pool_t *pool);

/* Are the host's generations to be trusted now: has nothing been committed anywhere, for longer
 * than a second, that they do not know? Costs no system call but the clock. */
int cib_store_hears(const cib_store_t *store);

#endif

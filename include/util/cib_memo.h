/* Memos: numbers noted down for a while under digests, in a table of a fixed size. For what is
 * cheaper to ask for again than to keep in order: a note may be forgotten at any time, for another
 * that falls on its place.
 */
#ifndef CIB_MEMO_H
#define CIB_MEMO_H

#include <apr_pools.h>
#include <apr_time.h>
#include "util/cib_crypto.h"

typedef struct cib_memo_t cib_memo_t;

/* Make a table, empty, with some thousands of places in memory that is not touched before it is
 * used (less than a megabyte). Threads may share it; it lives in `pool`. */
apr_status_t cib_memo_create(cib_memo_t **memo, apr_pool_t *pool);

/* Note `number`, not 0, under the CIB_SHA256_LEN bytes of `digest`, good until then. */
void cib_memo_put(cib_memo_t *memo, const unsigned char *digest, apr_int64_t number,
                  apr_time_t until);

/* What is noted there; 0: nothing, or it is good no more at `now`, or for longer than `most` from
 * then: a clock that was set back makes nothing good for longer than it was meant to be. */
apr_int64_t cib_memo_get(cib_memo_t *memo, const unsigned char *digest, apr_time_t now,
                         apr_interval_time_t most);

#endif

/* The queue: a runner asks, one build is handed out or none. */
#ifndef CIB_QUEUE_H
#define CIB_QUEUE_H

#include "core/cib_ctx.h"

/* What the database says of a build, for cib_describe_claim. */
typedef struct cib_telling_t cib_telling_t;

typedef struct cib_claim_t {
    apr_int64_t build_id; /* 0: nothing to do */
    const char
        *last_update;   /* the queue's value read before the search; to be sent with "nothing" */
    int current;        /* what the runner sent is the value now: it may wait until that changes */
    apr_uint64_t count; /* cib_generation_count, read before the search, too */
    cib_telling_t *telling; /* on SQLite, asked for with the claim; NULL: not yet */
} cib_claim_t;

/* Claim for an authenticated runner. NOTHING: it is paused (no value is sent then). `last_update`
 * (or NULL) is what the runner sent: where it is current, and the instance can know that, there is
 * nothing and no search. A search without a result costs no write. */
cib_error_t *cib_queue_claim(const cib_ctx_t *ctx, const cib_runner_t *runner,
                             const char *last_update, cib_claim_t *claim);

/* The queue's value for a runner now. */
const char *cib_queue_value(const cib_ctx_t *ctx, const cib_runner_t *runner);

#endif

/* What every rule needs at hand: one object per request, command or turn of upkeep. */
#ifndef CIB_CTX_H
#define CIB_CTX_H

#include "files/cib_generation.h"
#include "files/cib_storage.h"
#include "store/cib_db.h"
#include "store/cib_records.h"
#include "util/cib_memo.h"

/* The settings of a virtual host that rules look at (the command line has the defaults). Sizes in
 * bytes, CIB_UNLIMITED where allowed; durations in microseconds. */
typedef struct cib_limits_t {
    int artifacts;                       /* CIBuildsArtifacts */
    apr_int64_t max_artifact_size;       /* CIBuildsMaxArtifactSize, 0 refuses all */
    apr_int64_t max_trace_size;          /* CIBuildsMaxTraceSize */
    apr_int64_t min_free;                /* CIBuildsMinFree */
    apr_interval_time_t artifact_expire; /* CIBuildsArtifactExpire, CIB_UNLIMITED: never */
    apr_interval_time_t stuck_timeout;   /* CIBuildsStuckTimeout */
    apr_interval_time_t ack_timeout;     /* CIBuildsAckTimeout, 0: Off */
    apr_interval_time_t history;         /* CIBuildsHistory, CIB_UNLIMITED: never */
} cib_limits_t;

/* The defaults of DESIGN's directive table. */
extern const cib_limits_t cib_limits_default;

typedef enum { CIB_LOG_ERROR, CIB_LOG_WARNING, CIB_LOG_INFO, CIB_LOG_DEBUG } cib_log_e;
/* `line` begins with a message id ("CIB0301: "), names the build, and holds no token. */
typedef void (*cib_log_fn)(void *baton, cib_log_e level, apr_status_t rv, const char *line);

typedef struct cib_ctx_t {
    const cib_storage_t *storage;
    cib_store_t *store;
    const cib_source_t *source;
    cib_generation_t *gen;
    cib_memo_t *idle; /* see core/cib_idle.h; NULL: no runner is remembered */
    const cib_limits_t *limits;
    cib_log_fn log; /* never NULL */
    void *log_baton;
    apr_pool_t *pool; /* what rules return lives here unless they say otherwise */
} cib_ctx_t;

#endif

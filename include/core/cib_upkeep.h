/* Upkeep: what time does to builds and files. One bounded turn at a time; each turn goes on where
 * the one before stopped, so that every row and file is reached in the end. */
#ifndef CIB_UPKEEP_H
#define CIB_UPKEEP_H

#include "core/cib_ctx.h"

typedef struct cib_upkeep_report_t {
    int requeued;      /* claims that were never acknowledged */
    int failed;        /* lost, stuck or over their time */
    int expired;       /* builds whose artifacts went */
    int removed;       /* builds beyond CIBuildsHistory */
    int orphans;       /* files without a row */
    apr_int64_t freed; /* bytes */
} cib_upkeep_report_t;

/* One turn of at most `batch` of each kind. `since`: when this server began to hear (its start, or
 * the end of an outage): silence before that does not count. `dry`: only count. What fails does not
 * keep the rest, unless the database is away; the first error is returned. */
cib_error_t *cib_upkeep_turn(const cib_ctx_t *ctx, apr_time_t now, apr_time_t since, int batch,
                             int dry, cib_upkeep_report_t *report);

/* Take the lease for this holder (host and process) until now + a few seconds. Whatever fails is
 * UNAVAILABLE, a full disk too: where this cannot be written no runner's word could be. */
cib_error_t *cib_upkeep_lease(const cib_ctx_t *ctx, const char *holder, apr_time_t now, int *mine);

/* Orphans among the files: all of them, as `ci-builds gc` does. */
cib_error_t *cib_upkeep_orphans(const cib_ctx_t *ctx, int dry, cib_upkeep_report_t *report);

/* `check`: hold database and files against each other. Each fault is told to `tell` as one line.
 * `repair` removes orphans and rows without a file (but not where the whole folder is missing, for
 * it may not be mounted), never what a row needs. */
typedef void (*cib_check_fn)(void *baton, const char *kind, apr_int64_t build_id, const char *line);
cib_error_t *cib_check(const cib_ctx_t *ctx, int repair, cib_check_fn tell, void *baton,
                       int *faults);

#endif

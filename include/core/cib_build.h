/* Builds: how they begin, and every step they take.
 *
 *   created -> pending -> running -> success | failed | canceled
 *   created -> skipped | canceled     pending -> canceled | failed
 *   running -> pending (a claim undone)     skipped -> created (what it waited for is retried)
 *
 * src/core/transition.c owns every step: guarded by the state it comes from, in one transaction
 * with all that follows from it (dependents that become pending or skipped), so that a late or
 * repeated request cannot resurrect a build.
 */
#ifndef CIB_BUILD_H
#define CIB_BUILD_H

#include "core/cib_ctx.h"

typedef struct cib_build_new_t {
    apr_int64_t project_id;
    const char *ref;        /* NULL: "master" */
    const char *sha;        /* 40 or 64 hex digits */
    const char *before_sha; /* NULL: forty zeros */
    const char *name;       /* NULL: "build" */
    const char *stage;      /* NULL: "test" */
    int tag;
    const apr_array_header_t *tags;      /* const char *; NULL: none */
    const char *commands;                /* may be empty */
    const char *options;                 /* a JSON object's text, NULL: {} */
    const apr_array_header_t *variables; /* cib_variable_t with plain values; NULL: none */
    const apr_array_header_t *needs;     /* apr_int64_t; NULL: none */
    int timeout;                         /* seconds; 0: the project's */
} cib_build_new_t;

/* Add `count` equal builds, in batches of at most 500 a transaction; `ids` (apr_int64_t) takes
 * those made, also when an error ends it half way. A build with needs is created, pending at once
 * when all are success, skipped when one of them ended otherwise. INVALID, NO_RECORD (project or a
 * need), CONFLICT (project being removed or builds switched off). */
cib_error_t *cib_build_add(const cib_ctx_t *ctx, const cib_build_new_t *fresh, int count,
                           apr_array_header_t *ids);

/* NO_RECORD where there is none. */
cib_error_t *cib_build_get(const cib_ctx_t *ctx, apr_int64_t id, cib_build_t **build);
cib_error_t *cib_build_list(const cib_ctx_t *ctx, cib_status_e status, apr_int64_t project_id,
                            apr_int64_t after, int limit, apr_array_header_t **builds);
/* apr_int64_t. */
cib_error_t *cib_build_needs(const cib_ctx_t *ctx, apr_int64_t id, apr_array_header_t **ids);
/* Why nothing takes a pending build: const char *, in plain English; empty for all others. */
cib_error_t *cib_build_pending_reasons(const cib_ctx_t *ctx, const cib_build_t *build,
                                       apr_array_header_t **reasons);

/* Look a build up for the artifact and trace routes and check the token: the build's own of its
 * current claim, or its project's where `project_token_ok` (v1). In order: NOTHING (no such build),
 * FORBIDDEN (token; "Project has been deleted!"; "Build has been erased!" where `erased_matters`).
 */
cib_error_t *cib_build_authenticate(const cib_ctx_t *ctx, apr_int64_t id, const char *token,
                                    int project_token_ok, int erased_matters, cib_build_t **build);

/* The runner's word: finish its running build. `state` is "success", "failed", or anything else
 * (nothing moves). `*moved`: a transition happened. The trace is synced before a final state
 * commits. `failure_reason` NULL: script_failure for a failed one. */
cib_error_t *cib_build_finish(const cib_ctx_t *ctx, const cib_build_t *build, const char *state,
                              const char *failure_reason, int has_exit_code, int exit_code,
                              int *moved);
/* How often a runner's words are written down: once a minute, and often enough that one that speaks
 * does not look silent to CIBuildsStuckTimeout. */
apr_interval_time_t cib_build_heard_every(const cib_ctx_t *ctx);
/* Renew heard_at: at once for the first word of a claim, else when older than that. Failing is
 * logged, not returned. */
void cib_build_heard(const cib_ctx_t *ctx, const cib_build_t *build);

/* Whatever has not ended can be canceled, and whatever has can be retried; a retry reopens what was
 * skipped for it. CONFLICT says why it cannot be. */
cib_error_t *cib_build_cancel(const cib_ctx_t *ctx, apr_int64_t id);
cib_error_t *cib_build_retry(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *new_id);
/* Trace and artifacts go, erased_at is set. Only ended builds that are not erased yet. */
cib_error_t *cib_build_erase(const cib_ctx_t *ctx, apr_int64_t id);
/* A claim came to nothing: back to pending, or failed as runner_lost after the third time. Nothing
 * happens when the claim is over. */
cib_error_t *cib_build_requeue(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim);
/* End a running build of this claim as failed for `reason` (runner_lost, stuck, timeout ...). */
cib_error_t *cib_build_fail(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim,
                            const char *reason);
/* Remove an ended build with its trace and artifacts: `freed` takes the bytes. */
cib_error_t *cib_build_remove(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *freed);

int cib_status_ended(cib_status_e status);

#endif

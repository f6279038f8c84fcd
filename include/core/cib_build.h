/* Builds: how they begin, and every step they take.
 *
 *   created -> pending -> running -> success | failed | canceled
 *   created -> skipped | canceled     pending -> canceled | failed
 *   running -> pending (a claim undone)     skipped -> created (what it waited for is retried)
 *
 * src/core/transition.c owns every step: guarded by the state it comes from, in one transaction
 * with all that follows from it (dependents that become pending or skipped, in a few statements
 * however many they are), so that a late or repeated request cannot resurrect a build.
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

/* Whose token opens a build, besides its own of the current claim. */
#define CIB_OPEN_PROJECT 1 /* its project's (v1) */
#define CIB_OPEN_DEPENDENT                                                                         \
    2 /* that of a running build that needs it (v4, to fetch its artifacts) */

/* Look a build up and check the token. `also`: CIB_OPEN_..., or 0. In order: NOTHING (no such
 * build), WRONG_TOKEN, FORBIDDEN ("Project has been deleted!"), ERASED ("Build has been erased!").
 */
cib_error_t *cib_build_authenticate(const cib_ctx_t *ctx, apr_int64_t id, const char *token,
                                    int also, cib_build_t **build);

/* Look a runner up by its token, and a build with its project, at once: WRONG_TOKEN, then NO_RECORD
 * with the runner set. Whether it is the runner's is not looked at. */
cib_error_t *cib_build_spoken_of(const cib_ctx_t *ctx, const char *token, apr_int64_t id,
                                 cib_runner_t **runner, cib_build_t **build,
                                 cib_project_t **project);

/* A runner's last word of its build. */
typedef struct cib_ending_t {
    const char *state;          /* "success" or "failed"; with any other nothing moves */
    const char *failure_reason; /* counts for a failed one only: one of cib_failure_reasons, any
                                   other word and NULL are unknown_failure */
    int has_exit_code;
    int exit_code;
    const char *checksum; /* of the trace as sent, "crc32:<8 hex digits>"; NULL or anything else:
                             it says nothing */
    apr_int64_t bytesize; /* of the trace as sent; -1: it says nothing */
} cib_ending_t;
/* Does it end the build at all? */
int cib_ending_is_final(const cib_ending_t *ending);

typedef enum {
    CIB_ENDED_NOT,     /* no transition: no state to move to, or not running this claim any more */
    CIB_ENDED,         /* one happened */
    CIB_ENDED_TOO_SOON /* bytes of the trace are missing: the runner is to send them first. Twice
                          per claim at most; after that its word is taken as it is */
} cib_ended_e;

/* Finish a running build. The trace is synced before a final state commits. A checksum that differs
 * from that of the bytes received is recorded on the build (trace_checksum), not refused. */
cib_error_t *cib_build_finish(const cib_ctx_t *ctx, const cib_build_t *build,
                              const cib_ending_t *ending, cib_ended_e *ended);
/* The words for failure that a runner may use, ended by NULL: GitLab's, and those of runners up to
 * 19 that they say only where they are asked for. */
extern const char *const cib_failure_reasons[];

/* Somebody watches the trace of a running build: to be said again within CIB_FOLLOW_EVERY.
 * Failing is logged, not returned. */
#define CIB_FOLLOW_EVERY apr_time_from_sec(10)
void cib_build_follow(const cib_ctx_t *ctx, apr_int64_t id);
/* After how many seconds its runner is to send more of the trace: soon in the first minute and
 * while it is watched. */
#define CIB_UPDATE_SOON 3
#define CIB_UPDATE_CALM 15
int cib_build_update_interval(const cib_build_t *build, apr_time_t now);

/* How often a runner's words are written down: once a minute, and often enough that one that speaks
 * does not look silent to CIBuildsStuckTimeout. */
apr_interval_time_t cib_build_heard_every(const cib_ctx_t *ctx);
/* Renew heard_at: at once for the first word of a claim, else when older than that. Of a first word
 * that cannot be written down nothing may be taken, and the failure is returned; FORBIDDEN where
 * the claim has just been taken back. Later it is logged. */
cib_error_t *cib_build_heard(const cib_ctx_t *ctx, const cib_build_t *build);

/* Whatever has not ended can be canceled, and whatever has can be retried. CONFLICT says why it
 * cannot be.
 *
 * A retry takes the place of what it is a copy of: who waits for that one, or was skipped for it,
 * waits for the retry now. One that was skipped and retried itself is not among them, for its own
 * retry is; so it does not run beside it. The retry of a skipped build begins as any build with
 * these needs: as skipped, while one of them has failed; and the retry of that one reopens it. */
cib_error_t *cib_build_cancel(const cib_ctx_t *ctx, apr_int64_t id);
cib_error_t *cib_build_retry(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *new_id);
/* Trace and artifacts go, erased_at is set. Only ended builds that are not erased yet. */
cib_error_t *cib_build_erase(const cib_ctx_t *ctx, apr_int64_t id);
/* A claim came to nothing: back to pending, or failed as runner_lost after the third time. Nothing
 * happens when the claim is over. */
cib_error_t *cib_build_requeue(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim);
/* A claim that no runner was told of: back to pending, however often. */
cib_error_t *cib_build_put_back(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim);
/* End a running build of this claim as failed for `reason` (runner_lost, stuck, timeout ...). */
cib_error_t *cib_build_fail(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t claim,
                            const char *reason);
/* Remove an ended build with its trace and artifacts: `freed` takes the bytes. */
cib_error_t *cib_build_remove(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t *freed);

int cib_status_ended(cib_status_e status);

#endif

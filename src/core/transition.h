/* The one owner of every state step. All but cib_transition_end are called inside a
 * writing section. */
#ifndef CIB_CORE_TRANSITION_H
#define CIB_CORE_TRANSITION_H

#include "core/cib_ctx.h"
#include "store/cib_questions.h"

/* Is this a step at all? Reopening a skipped build is, but only cib_transition_retried makes it. */
int cib_transition_allowed(cib_status_e from, cib_status_e to);

/* Take the step if the build still is where it comes from, with all that follows from it: the
 * queue's row, who is told, dependents that become pending or are skipped. `*moved` 0: it was not
 * there any more, or there is no such step. */
cib_error_t *cib_transition(cib_db_t *db, apr_int64_t id, const cib_move_t *move, int *moved,
                            apr_pool_t *pool);

/* Likewise of several running builds that end, each by a move of its own. */
cib_error_t *cib_transition_ends(cib_db_t *db, cib_end_t *const *ends, int count, apr_pool_t *pool);

/* End a running build in a section of its own (src/core/build.c), its trace on disk first. `from`
 * and `now` of the move are filled in. */
cib_error_t *cib_transition_end(const cib_ctx_t *ctx, apr_int64_t id, const cib_move_t *move,
                                int *moved);

/* Read a build (NULL: none) that nobody else changes until the section ends. */
cib_error_t *cib_transition_lock(cib_db_t *db, apr_int64_t id, cib_build_t **build,
                                 apr_pool_t *pool);

/* May its claim come to nothing once more? */
int cib_transition_again(const cib_build_t *build);

/* The claim of a locked running build came to nothing: pending again, or failed after the third
 * time. `*to`: which. */
cib_error_t *cib_transition_requeue(cib_db_t *db, const cib_build_t *build, apr_time_t now,
                                    cib_status_e *to, int *moved, apr_pool_t *pool);

/* Hand the first build that suits to each of these runners, which may all take the same. */
cib_error_t *cib_transition_claim(cib_db_t *db, cib_claiming_t *const *claimings, int count,
                                  apr_time_t now, apr_pool_t *pool);

/* How a build with these needs (cib_build_t *) begins: pending, created or skipped. The needs must
 * be locked by the caller. */
cib_status_e cib_transition_first(const apr_array_header_t *needs);

/* A build was added in its first state (its id known): queue it where it is pending. */
cib_error_t *cib_transition_added(cib_db_t *db, const cib_build_t *build, apr_pool_t *pool);

/* `to` is the retry of `from`: who waits for `from`, or was skipped for it and not retried itself,
 * waits for `to`. */
cib_error_t *cib_transition_retried(cib_db_t *db, apr_int64_t from, apr_int64_t to,
                                    apr_pool_t *pool);

/* Step a created build whose needs have all ended, or one of them badly. */
cib_error_t *cib_transition_settle(cib_db_t *db, apr_int64_t id, apr_time_t now, apr_pool_t *pool);

#endif

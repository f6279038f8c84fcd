/* The questions the program asks of its database, one function each. All are called inside a
 * section (store/cib_db.h); those marked W change something and need a writing one. Results live in
 * `pool`. A record that is not there is no error: the out pointer is NULL (or `changed` 0).
 */
#ifndef CIB_QUESTIONS_H
#define CIB_QUESTIONS_H

#include "store/cib_db.h"
#include "store/cib_records.h"

/* --- settings of the instance (src/store/settings.c) --------------------------------------------
 */

/* How often the registration token was rotated. */
cib_error_t *cib_q_registration_rotation(cib_db_t *db, int *rotation, apr_pool_t *pool);
cib_error_t *cib_q_registration_rotate(cib_db_t *db, int *rotation, apr_pool_t *pool); /* W */

/* Take or renew the lease `name` until `until` for `holder`, if nobody else holds it at `now`. W */
cib_error_t *cib_q_lease_take(cib_db_t *db, const char *name, const char *holder, apr_time_t now,
                              apr_time_t until, int *taken, apr_pool_t *pool);

cib_error_t *cib_q_stats(cib_db_t *db, apr_time_t now, cib_stats_t *stats, apr_pool_t *pool);
/* The cheap part of it, for mod_status: pending, running, runners_online (CIB_RUNNER_SEEN). */
cib_error_t *cib_q_load(cib_db_t *db, apr_time_t now, cib_stats_t *stats, apr_pool_t *pool);

/* --- projects (src/store/projects.c) ------------------------------------------------------------
 */

/* Add one, without a token: that is set afterwards, when the id is known. W */
cib_error_t *cib_q_project_add(cib_db_t *db, const cib_project_t *project, apr_time_t now,
                               apr_int64_t *id, apr_pool_t *pool);
/* `sealed` NULL: a derived token of `rotation`. CONFLICT: it is another project's. W */
cib_error_t *cib_q_project_set_token(cib_db_t *db, apr_int64_t id, const char *token_sha256,
                                     const char *sealed, int rotation, apr_pool_t *pool);
cib_error_t *cib_q_project(cib_db_t *db, apr_int64_t id, cib_project_t **project, apr_pool_t *pool);
/* The same, held as it is until the section's end. W */
cib_error_t *cib_q_project_hold(cib_db_t *db, apr_int64_t id, cib_project_t **project,
                                apr_pool_t *pool);
cib_error_t *cib_q_project_by_token(cib_db_t *db, const char *token_sha256, cib_project_t **project,
                                    apr_pool_t *pool);
/* An array of cib_project_t *, by id. */
cib_error_t *cib_q_projects(cib_db_t *db, apr_array_header_t **projects, apr_pool_t *pool);
/* Everything but the token. W */
cib_error_t *cib_q_project_update(cib_db_t *db, const cib_project_t *project, apr_pool_t *pool);
/* Mark it as being removed: from then on nothing is taken and its builds answer 403. W */
cib_error_t *cib_q_project_mark_removing(cib_db_t *db, apr_int64_t id, int *changed,
                                         apr_pool_t *pool);
/* Remove the row and its bindings to runners. CONFLICT: it has builds still. W */
cib_error_t *cib_q_project_remove(cib_db_t *db, apr_int64_t id, apr_pool_t *pool);

/* --- runners (src/store/runners.c) --------------------------------------------------------------
 */

/* Add one, with its tags made known to the queue. CONFLICT: the token is another runner's. W */
cib_error_t *cib_q_runner_add(cib_db_t *db, const cib_runner_t *runner, const char *token_sha256,
                              apr_time_t now, apr_int64_t *id, apr_pool_t *pool);
cib_error_t *cib_q_runner(cib_db_t *db, apr_int64_t id, cib_runner_t **runner, apr_pool_t *pool);
/* The same, held as it is until the section's end. W */
cib_error_t *cib_q_runner_hold(cib_db_t *db, apr_int64_t id, cib_runner_t **runner,
                               apr_pool_t *pool);
cib_error_t *cib_q_runner_by_token(cib_db_t *db, const char *token_sha256, cib_runner_t **runner,
                                   apr_pool_t *pool);
/* The same of several at once (on SQLite of one), on PostgreSQL in one statement: each owner goes
 * to its own pool. */
typedef struct cib_token_owner_t {
    const char *token_sha256;
    cib_runner_t *runner; /* NULL: none */
    apr_pool_t *pool;
} cib_token_owner_t;
cib_error_t *cib_q_runners_by_token(cib_db_t *db, cib_token_owner_t *const *owners, int count,
                                    apr_pool_t *pool);
cib_error_t *cib_q_runners(cib_db_t *db, apr_array_header_t **runners, apr_pool_t *pool);
/* Description, active, is_shared, locked, run_untagged, tags, maximum_timeout; makes the tags known
 * to the queue. W */
cib_error_t *cib_q_runner_update(cib_db_t *db, const cib_runner_t *runner, apr_pool_t *pool);
/* contacted_at, the five texts of `info`, info_changes, info_changed_at. W */
cib_error_t *cib_q_runner_contact(cib_db_t *db, const cib_runner_t *runner, apr_pool_t *pool);
/* The machine of that name, NULL: not known; and all of a runner, cib_machine_t *, the last heard
 * of first. */
cib_error_t *cib_q_machine(cib_db_t *db, apr_int64_t runner_id, const char *system_id,
                           cib_machine_t **machine, apr_pool_t *pool);
cib_error_t *cib_q_machines(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **machines,
                            apr_pool_t *pool);
cib_error_t *cib_q_machines_count(cib_db_t *db, apr_int64_t runner_id, int *count,
                                  apr_pool_t *pool);
/* Put a row in, or in the place of the one there (created_at stays); nothing where there is no such
 * runner. W */
cib_error_t *cib_q_machine_put(cib_db_t *db, const cib_machine_t *machine, apr_pool_t *pool);
/* Forget the runner's machines that were not heard of since `before`, and all but the `most` last
 * heard of. W */
cib_error_t *cib_q_machines_trim(cib_db_t *db, apr_int64_t runner_id, apr_time_t before, int most,
                                 apr_pool_t *pool);
cib_error_t *cib_q_machine_remove(cib_db_t *db, apr_int64_t runner_id, const char *system_id,
                                  int *changed, apr_pool_t *pool); /* W */
/* CONFLICT: the token is another runner's. W */
cib_error_t *cib_q_runner_set_token(cib_db_t *db, apr_int64_t id, const char *token_sha256,
                                    apr_pool_t *pool);
/* The same, if the token is still the old one: `*changed`. For a token that nobody can have. W */
cib_error_t *cib_q_runner_change_token(cib_db_t *db, apr_int64_t id, const char *old_sha256,
                                       const char *token_sha256, int *changed, apr_pool_t *pool);
/* The row, its tags and bindings go; builds keep runner_id; the id is never used again. W */
cib_error_t *cib_q_runner_remove(cib_db_t *db, apr_int64_t id, int *changed, apr_pool_t *pool);
cib_error_t *cib_q_runner_bind(cib_db_t *db, apr_int64_t runner_id, apr_int64_t project_id,
                               apr_pool_t *pool); /* W */
/* Arrays of apr_int64_t. */
cib_error_t *cib_q_runner_projects(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **ids,
                                   apr_pool_t *pool);
/* Runners that may take builds of this project and tag set as things are set (bound to it, or
 * shared where it takes such; tags fit), paused ones included: ids. */
cib_error_t *cib_q_runners_for(cib_db_t *db, apr_int64_t project_id, apr_int64_t tagset_id,
                               apr_array_header_t **ids, apr_pool_t *pool);
/* Runners bound to the project, and all shared ones, whatever their tags: cib_runner_t *, by id. */
cib_error_t *cib_q_project_runners(cib_db_t *db, apr_int64_t project_id,
                                   apr_array_header_t **runners, apr_pool_t *pool);

/* --- builds (src/store/builds.c, parts.c)
 * ----------------------------------------------------------------
 */

/* The id of a canonical tag list, making it (and who can take it) where it is new. W */
cib_error_t *cib_q_tagset(cib_db_t *db, const char *tags, apr_int64_t *id, apr_pool_t *pool);
/* Forget one (and who can take it) that no build names any more; nothing happens to others. W */
cib_error_t *cib_q_tagset_forget(cib_db_t *db, apr_int64_t id, apr_pool_t *pool);

/* Add a build with the status it says (its id, claim and times but created_at are not read). Ids
 * are never reused. It is not in the queue until cib_q_enqueue. W */
cib_error_t *cib_q_build_add(cib_db_t *db, const cib_build_t *build, const cib_build_spec_t *spec,
                             apr_int64_t *id, apr_pool_t *pool);
cib_error_t *cib_q_variable_add(cib_db_t *db, apr_int64_t build_id, int position,
                                const cib_variable_t *variable, apr_pool_t *pool); /* W */
cib_error_t *cib_q_need_add(cib_db_t *db, apr_int64_t build_id, apr_int64_t needs_id,
                            apr_pool_t *pool); /* W */

cib_error_t *cib_q_build(cib_db_t *db, apr_int64_t id, cib_build_t **build, apr_pool_t *pool);
/* Hold these builds (ids, apr_int64_t) as they are until the section's end: what is read of them
 * afterwards stays true. Locked in the order of their ids, whatever the array's, each row of the
 * queue before its build's, as a claim does. Nothing on SQLite, where only one writes. W */
cib_error_t *cib_q_builds_lock(cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool);
cib_error_t *cib_q_build_spec(cib_db_t *db, apr_int64_t id, cib_build_spec_t **spec,
                              apr_pool_t *pool);
/* All of a build that a runner is told, in one statement; of several at once on PostgreSQL (on
 * SQLite of one). A record that is not there is NULL; each goes to its own pool. */
typedef struct cib_whole_t {
    apr_int64_t id;
    apr_pool_t *pool;
    cib_build_t *build;
    cib_project_t *project;
    cib_build_parts_t *parts;
    cib_runner_t *runner;
} cib_whole_t;
cib_error_t *cib_q_wholes(cib_db_t *db, cib_whole_t *const *wholes, int count, apr_pool_t *pool);
/* Likewise the build and its project. */
cib_error_t *cib_q_owned(cib_db_t *db, cib_whole_t *const *wholes, int count, apr_pool_t *pool);
/* cib_variable_t *, in order. */
cib_error_t *cib_q_variables(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **variables,
                             apr_pool_t *pool);
/* Builds that `build_id` needs, cib_build_t *, by id; and the ids of those that need one of these
 * (apr_int64_t). */
cib_error_t *cib_q_needs(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **builds,
                         apr_pool_t *pool);
cib_error_t *cib_q_needed_by(cib_db_t *db, const apr_array_header_t *needs,
                             apr_array_header_t **ids, apr_pool_t *pool);
/* Those of these builds (ids) that are created, and what they wait for: cib_waiting_t, by id. */
typedef struct cib_waiting_t {
    apr_int64_t id;
    apr_int64_t project_id;
    apr_int64_t tagset_id;
    unsigned needs; /* 1 << status for each that there is among its needs */
} cib_waiting_t;
cib_error_t *cib_q_waiting(cib_db_t *db, const apr_array_header_t *ids, apr_array_header_t **builds,
                           apr_pool_t *pool);
/* The same of those that are skipped, without the erased and those that there is a retry of. */
cib_error_t *cib_q_skipped(cib_db_t *db, const apr_array_header_t *ids, apr_array_header_t **builds,
                           apr_pool_t *pool);
/* Builds that run now and need `build_id`: cib_build_t *, by id. */
cib_error_t *cib_q_running_needing(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **builds,
                                   apr_pool_t *pool);
/* Those created or skipped who needed `from` need `to` instead; those that ran or were retried keep
 * what they had. W */
cib_error_t *cib_q_needs_move(cib_db_t *db, apr_int64_t from, apr_int64_t to, apr_pool_t *pool);

/* Oldest first. `status` CIB_STATUSES: any; project_id 0: any; limit < 0: all, else the oldest
 * `limit`; `after`: only ids above it. cib_build_t *. */
cib_error_t *cib_q_builds(cib_db_t *db, cib_status_e status, apr_int64_t project_id,
                          apr_int64_t after, int limit, apr_array_header_t **builds,
                          apr_pool_t *pool);

/* Pending, into the queue; the caller raises. W */
cib_error_t *cib_q_enqueue(cib_db_t *db, const cib_build_t *build, apr_pool_t *pool);
/* Those of these (ids) that are pending. W */
cib_error_t *cib_q_enqueue_all(cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool);
cib_error_t *cib_q_dequeue(cib_db_t *db, apr_int64_t build_id, apr_pool_t *pool); /* W */

/* A guarded move: `to`, and what a transition writes, only if the status is still `from` (and the
 * claim still `claim`, where that is not 0). W */
typedef struct cib_move_t {
    cib_status_e from, to;
    apr_int64_t claim;          /* 0: any */
    apr_time_t now;             /* finished_at of an end, queued_at of pending; created (a skipped
                                   build reopened) clears finished_at and failure_reason */
    const char *failure_reason; /* NULL: none */
    int has_exit_code;
    int exit_code;
    const char *trace_checksum; /* see cib_build_t */
    int requeue;                /* running to pending: runner, started_at, heard_at and what
                                   cib_q_build_short counted cleared, and that counted (requeues) */
    int uncounted;              /* or not */
} cib_move_t;
cib_error_t *cib_q_build_move(cib_db_t *db, apr_int64_t id, const cib_move_t *move, int *changed,
                              apr_pool_t *pool);

/* Moves of running builds to their ends, each guarded as above. On PostgreSQL one statement for
 * all, which locks them in the order of their ids. W */
typedef struct cib_end_t {
    apr_int64_t id;
    cib_move_t move;
    int moved;
} cib_end_t;
cib_error_t *cib_q_builds_end(cib_db_t *db, cib_end_t *const *ends, int count, apr_pool_t *pool);

/* A guarded move of many (ids): those that are created become pending, in the queue too, or
 * skipped. The caller raises. W */
cib_error_t *cib_q_builds_settle(cib_db_t *db, const apr_array_header_t *ids, cib_status_e to,
                                 apr_time_t now, apr_pool_t *pool);

/* Likewise: those that are skipped are created again. W */
cib_error_t *cib_q_builds_reopen(cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool);

/* The runner was heard of now. Only while running and of this claim. W */
cib_error_t *cib_q_build_heard(cib_db_t *db, apr_int64_t id, apr_int64_t claim, apr_time_t now,
                               int *changed, apr_pool_t *pool);
/* Count that this claim's last word was sent back, if that was less than `most` times: `*counted`.
 * Only while running. W */
cib_error_t *cib_q_build_short(cib_db_t *db, apr_int64_t id, apr_int64_t claim, int most,
                               int *counted, apr_pool_t *pool);
/* Somebody watches the trace of a running build until then. W */
cib_error_t *cib_q_build_follow(cib_db_t *db, apr_int64_t id, apr_time_t until, apr_pool_t *pool);
cib_error_t *cib_q_build_erase(cib_db_t *db, apr_int64_t id, apr_time_t now,
                               apr_pool_t *pool); /* W */
/* The row and all that hangs on it. W */
cib_error_t *cib_q_build_remove(cib_db_t *db, apr_int64_t id, apr_pool_t *pool);

/* --- the queue (src/store/queue.c) ---------------------------------------------------------------
 */

/* Is there anything this runner could take? By the same rules as the claim, without a lock. Its
 * cost grows neither with ended builds nor with pending ones it cannot take. */
cib_error_t *cib_q_can_claim(cib_db_t *db, const cib_runner_t *runner, int *yes, apr_pool_t *pool);

/* Hand the first build that suits to the runner: running, runner_id, on_shared_runner, started_at =
 * now, heard_at cleared, claim + 1, out of the queue. A specific runner: oldest id first over its
 * projects. A shared one: by (builds of that project now running on shared runners), then id; none
 * where it is locked. Lost races are tried again inside: `*id` 0 only when nothing is left. W
 * (CIB_WRITE_ONE) */
cib_error_t *cib_q_claim(cib_db_t *db, const cib_runner_t *runner, apr_time_t now, apr_int64_t *id,
                         apr_pool_t *pool);

/* The same for several at once, whose runners have the same key: runners that may take the same
 * builds. On PostgreSQL it is one statement, or a few where others claim too; they get the builds
 * that they would get one after the other, in their order; but shared runners where one project has
 * more tag sets waiting than the statement looks at (8, and 4 for each of them) may all get that
 * project's. Where it fails, who has an `id` by then has a claim that is committed
 * (CIB_WRITE_ONE). W */
typedef struct cib_claiming_t {
    const cib_runner_t *runner;
    apr_int64_t id; /* 0: nothing was left */
} cib_claiming_t;
cib_error_t *cib_q_claims(cib_db_t *db, cib_claiming_t *const *claimings, int count, apr_time_t now,
                          apr_pool_t *pool);
const char *cib_q_claims_key(const cib_runner_t *runner, apr_pool_t *pool);

/* --- artifacts (src/store/artifacts.c)
 * ------------------------------------------------------------ */

cib_error_t *cib_q_artifact(cib_db_t *db, apr_int64_t build_id, const char *type,
                            cib_artifact_t **artifact, apr_pool_t *pool);
cib_error_t *cib_q_artifacts(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **artifacts,
                             apr_pool_t *pool);
/* Put a row in the place of the one of its type; `old_blob` takes the file that nobody names now.
 * NO_RECORD: there is no such build. W */
cib_error_t *cib_q_artifact_put(cib_db_t *db, const cib_artifact_t *artifact, const char **old_blob,
                                apr_pool_t *pool);
/* All artifacts of a build; `blobs`: const char *, the files that nobody names now. W */
cib_error_t *cib_q_artifacts_remove(cib_db_t *db, apr_int64_t build_id, apr_array_header_t **blobs,
                                    apr_pool_t *pool);
/* Does a row name this blob? */
cib_error_t *cib_q_blob_known(cib_db_t *db, const char *blob, int *known, apr_pool_t *pool);
/* Rows in batches for `check`: by (build_id, type), after the given ones. cib_artifact_t *. */
cib_error_t *cib_q_artifacts_after(cib_db_t *db, apr_int64_t build_id, const char *type, int limit,
                                   apr_array_header_t **artifacts, apr_pool_t *pool);
cib_error_t *cib_q_artifact_remove(cib_db_t *db, apr_int64_t build_id, const char *type,
                                   apr_pool_t *pool); /* W */

/* --- upkeep (src/store/upkeep.c): what is due, at most `limit`, the longest due first
 * ------------- */

/* Builds with an artifact that expired by `now`: ids. */
cib_error_t *cib_q_expired(cib_db_t *db, apr_time_t now, int limit, apr_array_header_t **ids,
                           apr_pool_t *pool);
/* Running builds: claimed before `unheard_before` and never heard of; heard of (or started) before
 * `silent_before`, but for those whose runner names no version or one below 1.1 (such are silent
 * while the trace does not grow); started more than their timeout, or their runner's limit (as it
 * is now), + `grace` ago; or of a runner that is not there. Each 0 is never. cib_build_t *, their
 * `timeout` the shorter of the two. */
cib_error_t *cib_q_overdue(cib_db_t *db, apr_time_t now, apr_time_t unheard_before,
                           apr_time_t silent_before, apr_interval_time_t grace, int limit,
                           apr_array_header_t **builds, apr_pool_t *pool);
/* Builds that ended before `before` and that nobody created, pending or running needs: ids. */
cib_error_t *cib_q_ended_before(cib_db_t *db, apr_time_t before, int limit,
                                apr_array_header_t **ids, apr_pool_t *pool);
/* Does a build that is created, pending or running need it? */
cib_error_t *cib_q_build_needed(cib_db_t *db, apr_int64_t id, int *yes, apr_pool_t *pool);
/* Running builds of a runner: ids. */
cib_error_t *cib_q_running_of(cib_db_t *db, apr_int64_t runner_id, apr_array_header_t **ids,
                              apr_pool_t *pool);

/* Who is expected in one folder of the storage directory, `from` <= build id < `to`: the builds
 * that are not erased (ids), and the blobs that rows name (const char *). */
cib_error_t *cib_q_build_ids(cib_db_t *db, apr_int64_t from, apr_int64_t to,
                             apr_array_header_t **ids, apr_pool_t *pool);
cib_error_t *cib_q_blob_names(cib_db_t *db, apr_int64_t from, apr_int64_t to,
                              apr_array_header_t **blobs, apr_pool_t *pool);

/* What the queue and the builds disagree about: pending builds that are not in the queue where they
 * belong, or rows of the queue that are no pending build's, or not where that one belongs. */
typedef enum { CIB_STRAY_NOT_QUEUED, CIB_STRAY_QUEUED } cib_stray_e;
typedef struct cib_stray_t {
    apr_int64_t build_id;
    apr_int64_t tagset_id; /* of the row, or of the one that is missing */
    apr_int64_t project_id;
    int pending; /* the build is */
} cib_stray_t;
/* cib_stray_t, by id. */
cib_error_t *cib_q_queue_strays(cib_db_t *db, cib_stray_e which, int limit,
                                apr_array_header_t **strays, apr_pool_t *pool);
/* Take this very row out. W */
cib_error_t *cib_q_dequeue_stray(cib_db_t *db, const cib_stray_t *stray, apr_pool_t *pool);

#endif

/* The state machine.
 *
 * What one build's end means for another is decided under the locks of the rows it is decided by:
 * whoever ends a build locks those that need it before it looks at their other needs. When two
 * needs end at one moment in two transactions, the second waits for the first there and then sees
 * it. Likewise who adds a build locks its needs first, so that none of them ends unseen meanwhile.
 */
#include "core/cib_build.h"
#include "transition.h"

/* A claim that was not acknowledged goes back so often. */
#define REQUEUES 3

static const unsigned char allowed[CIB_STATUSES][CIB_STATUSES] = {
    [CIB_CREATED] = {[CIB_PENDING] = 1, [CIB_SKIPPED] = 1, [CIB_CANCELED] = 1},
    [CIB_PENDING] = {[CIB_RUNNING] = 1, [CIB_CANCELED] = 1, [CIB_FAILED] = 1},
    [CIB_RUNNING] = {[CIB_SUCCESS] = 1, [CIB_FAILED] = 1, [CIB_CANCELED] = 1, [CIB_PENDING] = 1},
    [CIB_SKIPPED] = {[CIB_CREATED] = 1},
};

int cib_transition_allowed(cib_status_e from, cib_status_e to)
{
    return (unsigned)from < CIB_STATUSES && (unsigned)to < CIB_STATUSES && allowed[from][to];
}

int cib_status_ended(cib_status_e status)
{
    return status == CIB_SUCCESS || status == CIB_FAILED || status == CIB_CANCELED ||
           status == CIB_SKIPPED;
}

/* Where a build goes whose needs have these statuses, each a bit. */
static cib_status_e first_of(unsigned statuses)
{
    const unsigned success = 1U << CIB_SUCCESS;
    const unsigned live = 1U << CIB_CREATED | 1U << CIB_PENDING | 1U << CIB_RUNNING;

    if (statuses & ~(success | live))
        return CIB_SKIPPED;
    return statuses & live ? CIB_CREATED : CIB_PENDING;
}

cib_status_e cib_transition_first(const apr_array_header_t *needs)
{
    unsigned statuses = 0;

    for (int i = 0; i < needs->nelts; i++)
        statuses |= 1U << APR_ARRAY_IDX(needs, i, cib_build_t *)->status;
    return first_of(statuses);
}

static cib_error_t *queue(cib_db_t *db, const cib_build_t *build, apr_pool_t *pool)
{
    CIB_TRY(cib_q_enqueue(db, build, pool));
    return cib_db_raise_queue(db, build->project_id, build->tagset_id, pool);
}

/* One build's own step, without what it means for others. */
static cib_error_t *step(cib_db_t *db, apr_int64_t id, const cib_move_t *move, int *moved,
                         apr_pool_t *pool)
{
    cib_build_t *build;

    *moved = 0;
    if (!cib_transition_allowed(move->from, move->to))
        return CIB_OK;
    CIB_TRY(cib_q_build_move(db, id, move, moved, pool));
    if (!*moved)
        return CIB_OK;
    if (move->from == CIB_PENDING)
        return cib_q_dequeue(db, id, pool);
    if (move->to != CIB_PENDING)
        return CIB_OK;
    CIB_TRY(cib_q_build(db, id, &build, pool));
    return build ? queue(db, build, pool) : CIB_OK;
}

static apr_array_header_t *one_id(apr_int64_t id, apr_pool_t *pool)
{
    apr_array_header_t *ids = apr_array_make(pool, 1, sizeof(apr_int64_t));

    APR_ARRAY_PUSH(ids, apr_int64_t) = id;
    return ids;
}

/* Those that need one of these builds, locked. */
static cib_error_t *lock_needing(cib_db_t *db, const apr_array_header_t *needs,
                                 apr_array_header_t **ids, apr_pool_t *pool)
{
    CIB_TRY(cib_q_needed_by(db, needs, ids, pool));
    return cib_q_builds_lock(db, *ids, pool);
}

/* Take the locked builds that are created where their needs let them go now: all in a few
 * statements, for there may be thousands. `*skipped`: who was. */
static cib_error_t *settle(cib_db_t *db, const apr_array_header_t *ids, apr_time_t now,
                           apr_array_header_t **skipped, apr_pool_t *pool)
{
    apr_array_header_t *ready = apr_array_make(pool, 4, sizeof(apr_int64_t));
    apr_array_header_t *builds;

    *skipped = apr_array_make(pool, 4, sizeof(apr_int64_t));
    if (!ids->nelts)
        return CIB_OK;
    CIB_TRY(cib_q_waiting(db, ids, &builds, pool));
    for (int i = 0; i < builds->nelts; i++) {
        const cib_waiting_t *build = &APR_ARRAY_IDX(builds, i, cib_waiting_t);
        cib_status_e to = first_of(build->needs);

        if (to == CIB_SKIPPED)
            APR_ARRAY_PUSH(*skipped, apr_int64_t) = build->id;
        if (to != CIB_PENDING)
            continue;
        APR_ARRAY_PUSH(ready, apr_int64_t) = build->id;
        CIB_TRY(cib_db_raise_queue(db, build->project_id, build->tagset_id, pool));
    }
    CIB_TRY(cib_q_builds_settle(db, *skipped, CIB_SKIPPED, now, pool));
    return cib_q_builds_settle(db, ready, CIB_PENDING, now, pool);
}

/* These builds ended: settle those that need them, and in turn those that need what was skipped. */
static cib_error_t *follow(cib_db_t *db, const apr_array_header_t *ended, apr_time_t now,
                           apr_pool_t *pool)
{
    while (ended->nelts) {
        apr_array_header_t *ids, *skipped;

        CIB_TRY(lock_needing(db, ended, &ids, pool));
        CIB_TRY(settle(db, ids, now, &skipped, pool));
        ended = skipped;
    }
    return CIB_OK;
}

cib_error_t *cib_transition(cib_db_t *db, apr_int64_t id, const cib_move_t *move, int *moved,
                            apr_pool_t *pool)
{
    *moved = 0;
    if (move->from == CIB_SKIPPED)
        return CIB_OK;
    CIB_TRY(step(db, id, move, moved, pool));
    if (!*moved || !cib_status_ended(move->to))
        return CIB_OK;
    return follow(db, one_id(id, pool), move->now, pool);
}

cib_error_t *cib_transition_ends(cib_db_t *db, cib_end_t *const *ends, int count, apr_pool_t *pool)
{
    apr_array_header_t *ended = apr_array_make(pool, count, sizeof(apr_int64_t));

    CIB_TRY(cib_q_builds_end(db, ends, count, pool));
    for (int i = 0; i < count; i++)
        if (ends[i]->moved)
            APR_ARRAY_PUSH(ended, apr_int64_t) = ends[i]->id;
    return follow(db, ended, ends[0]->move.now, pool);
}

cib_error_t *cib_transition_settle(cib_db_t *db, apr_int64_t id, apr_time_t now, apr_pool_t *pool)
{
    const apr_array_header_t *self = one_id(id, pool);
    apr_array_header_t *skipped;

    CIB_TRY(cib_q_builds_lock(db, self, pool));
    CIB_TRY(settle(db, self, now, &skipped, pool));
    return follow(db, skipped, now, pool);
}

cib_error_t *cib_transition_lock(cib_db_t *db, apr_int64_t id, cib_build_t **build,
                                 apr_pool_t *pool)
{
    CIB_TRY(cib_q_builds_lock(db, one_id(id, pool), pool));
    return cib_q_build(db, id, build, pool);
}

int cib_transition_again(const cib_build_t *build)
{
    return build->requeues < REQUEUES;
}

cib_error_t *cib_transition_requeue(cib_db_t *db, const cib_build_t *build, apr_time_t now,
                                    cib_status_e *to, int *moved, apr_pool_t *pool)
{
    int again = cib_transition_again(build);
    cib_move_t move = {.from = CIB_RUNNING,
                       .to = again ? CIB_PENDING : CIB_FAILED,
                       .claim = build->claim,
                       .now = now,
                       .failure_reason = again ? NULL : "runner_lost",
                       .requeue = again};

    *to = move.to;
    return cib_transition(db, build->id, &move, moved, pool);
}

cib_error_t *cib_transition_claim(cib_db_t *db, cib_claiming_t *const *claimings, int count,
                                  apr_time_t now, apr_pool_t *pool)
{
    return cib_q_claims(db, claimings, count, now, pool);
}

cib_error_t *cib_transition_added(cib_db_t *db, const cib_build_t *build, apr_pool_t *pool)
{
    return build->status == CIB_PENDING ? queue(db, build, pool) : CIB_OK;
}

/* Reopen those of the locked builds that are skipped, unless another of their needs ended badly as
 * well, or a retry has taken their place: all at once, as in settle. `*open`: which. */
static cib_error_t *reopen(cib_db_t *db, const apr_array_header_t *ids, apr_array_header_t **open,
                           apr_pool_t *pool)
{
    apr_array_header_t *builds;

    *open = apr_array_make(pool, 4, sizeof(apr_int64_t));
    if (!ids->nelts)
        return CIB_OK;
    CIB_TRY(cib_q_skipped(db, ids, &builds, pool));
    for (int i = 0; i < builds->nelts; i++) {
        const cib_waiting_t *build = &APR_ARRAY_IDX(builds, i, cib_waiting_t);

        if (first_of(build->needs) != CIB_SKIPPED)
            APR_ARRAY_PUSH(*open, apr_int64_t) = build->id;
    }
    return cib_q_builds_reopen(db, *open, pool);
}

/* Whom one round passes over because a need of it is skipped still, the next one looks at again if
 * that need was reopened. */
cib_error_t *cib_transition_retried(cib_db_t *db, apr_int64_t from, apr_int64_t to,
                                    apr_pool_t *pool)
{
    apr_array_header_t *open = one_id(to, pool);
    apr_array_header_t *ids;

    CIB_TRY(lock_needing(db, one_id(from, pool), &ids, pool));
    CIB_TRY(cib_q_needs_move(db, from, to, pool));
    while (open->nelts) {
        CIB_TRY(lock_needing(db, open, &ids, pool));
        CIB_TRY(reopen(db, ids, &open, pool));
    }
    return CIB_OK;
}

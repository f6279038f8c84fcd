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

cib_status_e cib_transition_first(const apr_array_header_t *needs)
{
    cib_status_e first = CIB_PENDING;

    for (int i = 0; i < needs->nelts; i++) {
        cib_status_e status = APR_ARRAY_IDX(needs, i, cib_build_t *)->status;

        if (status != CIB_SUCCESS && cib_status_ended(status))
            return CIB_SKIPPED;
        if (status != CIB_SUCCESS)
            first = CIB_CREATED;
    }
    return first;
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

/* Where a created build goes now that its needs have changed. */
static cib_error_t *settle(cib_db_t *db, apr_int64_t id, apr_time_t now, cib_status_e *to,
                           int *moved, apr_pool_t *pool)
{
    cib_move_t move = {.from = CIB_CREATED, .now = now};
    apr_array_header_t *needs;

    *moved = 0;
    CIB_TRY(cib_q_needs(db, id, &needs, pool));
    *to = cib_transition_first(needs);
    if (*to == CIB_CREATED)
        return CIB_OK;
    move.to = *to;
    return step(db, id, &move, moved, pool);
}

static cib_error_t *lock_needing(cib_db_t *db, apr_int64_t id, apr_array_header_t **ids,
                                 apr_pool_t *pool)
{
    CIB_TRY(cib_q_needed_by(db, id, ids, pool));
    return (*ids)->nelts ? cib_q_builds_lock(db, *ids, pool) : CIB_OK;
}

/* A build ended: settle those that need it, and in turn those that need what was skipped. */
static cib_error_t *follow(cib_db_t *db, apr_int64_t ended, apr_time_t now, apr_pool_t *pool)
{
    apr_array_header_t *work = apr_array_make(pool, 4, sizeof(apr_int64_t));

    APR_ARRAY_PUSH(work, apr_int64_t) = ended;
    while (work->nelts) {
        apr_int64_t id = *(apr_int64_t *)apr_array_pop(work);
        apr_array_header_t *ids;

        CIB_TRY(lock_needing(db, id, &ids, pool));
        for (int i = 0; i < ids->nelts; i++) {
            apr_int64_t dependent = APR_ARRAY_IDX(ids, i, apr_int64_t);
            cib_status_e to;
            int moved;

            CIB_TRY(settle(db, dependent, now, &to, &moved, pool));
            if (moved && to == CIB_SKIPPED)
                APR_ARRAY_PUSH(work, apr_int64_t) = dependent;
        }
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
    return *moved && cib_status_ended(move->to) ? follow(db, id, move->now, pool) : CIB_OK;
}

cib_error_t *cib_transition_settle(cib_db_t *db, apr_int64_t id, apr_time_t now, int *moved,
                                   apr_pool_t *pool)
{
    cib_status_e to;

    CIB_TRY(settle(db, id, now, &to, moved, pool));
    return *moved && to == CIB_SKIPPED ? follow(db, id, now, pool) : CIB_OK;
}

cib_error_t *cib_transition_lock(cib_db_t *db, apr_int64_t id, cib_build_t **build,
                                 apr_pool_t *pool)
{
    apr_array_header_t *self = apr_array_make(pool, 1, sizeof(apr_int64_t));

    APR_ARRAY_PUSH(self, apr_int64_t) = id;
    CIB_TRY(cib_q_builds_lock(db, self, pool));
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

cib_error_t *cib_transition_claim(cib_db_t *db, const cib_runner_t *runner, apr_time_t now,
                                  apr_int64_t *id, apr_pool_t *pool)
{
    return cib_q_claim(db, runner, now, id, pool);
}

cib_error_t *cib_transition_added(cib_db_t *db, const cib_build_t *build, apr_pool_t *pool)
{
    return build->status == CIB_PENDING ? queue(db, build, pool) : CIB_OK;
}

/* Reopen a skipped build unless another of its needs ended badly as well. */
static cib_error_t *reopen(cib_db_t *db, apr_int64_t id, apr_time_t now, int *reopened,
                           apr_pool_t *pool)
{
    const cib_move_t move = {.from = CIB_SKIPPED, .to = CIB_CREATED, .now = now};
    apr_array_header_t *needs;
    cib_build_t *build;

    *reopened = 0;
    CIB_TRY(cib_q_build(db, id, &build, pool));
    if (!build || build->status != CIB_SKIPPED || build->erased_at)
        return CIB_OK;
    CIB_TRY(cib_q_needs(db, id, &needs, pool));
    if (cib_transition_first(needs) == CIB_SKIPPED)
        return CIB_OK;
    return step(db, id, &move, reopened, pool);
}

cib_error_t *cib_transition_retried(cib_db_t *db, apr_int64_t from, apr_int64_t to, apr_time_t now,
                                    apr_pool_t *pool)
{
    apr_array_header_t *work = apr_array_make(pool, 4, sizeof(apr_int64_t));
    apr_array_header_t *ids;

    CIB_TRY(lock_needing(db, from, &ids, pool));
    CIB_TRY(cib_q_needs_move(db, from, to, pool));
    APR_ARRAY_PUSH(work, apr_int64_t) = to;
    while (work->nelts) {
        apr_int64_t id = *(apr_int64_t *)apr_array_pop(work);

        CIB_TRY(lock_needing(db, id, &ids, pool));
        for (int i = 0; i < ids->nelts; i++) {
            apr_int64_t dependent = APR_ARRAY_IDX(ids, i, apr_int64_t);
            int reopened;

            CIB_TRY(reopen(db, dependent, now, &reopened, pool));
            if (reopened)
                APR_ARRAY_PUSH(work, apr_int64_t) = dependent;
        }
    }
    return CIB_OK;
}

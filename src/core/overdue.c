/* Running builds whose time is up: never acknowledged, silent, over their own timeout, or claimed
 * while their runner was being removed. */
#include "core/cib_build.h"
#include "core/cib_trace.h"
#include "internal.h"
#include "overdue.h"
#include "transition.h"

/* What a build gets beyond its timeout (or the shorter one that its runner was told), which is the
 * runner's to keep. */
#define GRACE apr_time_from_sec(300)

/* Each a time before which it had to be; 0: no such deadline now. */
typedef struct deadlines_t {
    apr_time_t now;
    apr_time_t unheard_before;
    apr_time_t silent_before;
    apr_interval_time_t grace;
} deadlines_t;

typedef enum { ABANDONED, UNHEARD, SILENT, OVER_TIME } verdict_e;

/* Silence before `since` is our own: until a deadline's length has passed since then there is none.
 */
static apr_time_t before(apr_time_t now, apr_time_t since, apr_interval_time_t length)
{
    return length > 0 && now - since >= length ? now - length : 0;
}

static deadlines_t deadlines(const cib_ctx_t *ctx, apr_time_t now, apr_time_t since)
{
    deadlines_t due = {.now = now,
                       .unheard_before = before(now, since, ctx->limits->ack_timeout),
                       .silent_before = before(now, since, ctx->limits->stuck_timeout),
                       .grace = now - since >= GRACE ? GRACE : 0};

    return due;
}

/* Of a build that was found for these: where it is in time, its runner is gone. */
static verdict_e judge(const cib_build_t *build, const deadlines_t *due)
{
    apr_time_t last_word = build->heard_at ? build->heard_at : build->started_at;

    if (due->grace &&
        build->started_at + apr_time_from_sec((apr_time_t)build->timeout) + due->grace < due->now)
        return OVER_TIME;
    if (!build->heard_at && build->started_at < due->unheard_before)
        return UNHEARD;
    return last_word < due->silent_before ? SILENT : ABANDONED;
}

typedef struct overdue_t {
    deadlines_t due;
    int batch;
    apr_array_header_t *builds; /* cib_build_t * */
    const cib_build_t *build;   /* as it was judged */
    verdict_e verdict;
    int moved;
    cib_status_e to;
} overdue_t;

static cib_error_t *find(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    overdue_t *overdue = baton;
    const deadlines_t *due = &overdue->due;

    return cib_q_overdue(db, due->now, due->unheard_before, due->silent_before, due->grace,
                         overdue->batch, &overdue->builds, pool);
}

static const char *reason_of(verdict_e verdict)
{
    return verdict == OVER_TIME ? "job_execution_timeout" : "runner_lost";
}

static int is_silence(verdict_e verdict)
{
    return verdict == UNHEARD || verdict == SILENT;
}

/* Unless it was for silence, and its runner was heard of after it was judged. */
static cib_error_t *act(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    overdue_t *overdue = baton;
    const cib_build_t *judged = overdue->build;
    cib_move_t move = {.from = CIB_RUNNING,
                       .to = CIB_FAILED,
                       .claim = judged->claim,
                       .now = apr_time_now(),
                       .failure_reason = reason_of(overdue->verdict)};
    cib_build_t *build;

    overdue->moved = 0;
    CIB_TRY(cib_transition_lock(db, judged->id, &build, pool));
    if (!build || build->status != CIB_RUNNING || build->claim != judged->claim)
        return CIB_OK;
    if (is_silence(overdue->verdict) && build->heard_at != judged->heard_at)
        return CIB_OK;
    overdue->to = CIB_FAILED;
    if (overdue->verdict == UNHEARD)
        return cib_transition_requeue(db, build, move.now, &overdue->to, &overdue->moved, pool);
    return cib_transition(db, build->id, &move, &overdue->moved, pool);
}

static void tell(const cib_ctx_t *ctx, const overdue_t *overdue)
{
    const cib_build_t *build = overdue->build;

    if (overdue->to == CIB_PENDING)
        cib_log(ctx, CIB_LOG_WARNING, APR_SUCCESS,
                "CIB0331: build %" APR_INT64_T_FMT ": runner %" APR_INT64_T_FMT
                " took it and was not heard of again, it is pending once more",
                build->id, build->runner_id);
    else
        cib_log(ctx, CIB_LOG_WARNING, APR_SUCCESS,
                "CIB0332: build %" APR_INT64_T_FMT " of runner %" APR_INT64_T_FMT " failed: %s",
                build->id, build->runner_id, reason_of(overdue->verdict));
}

static void count(cib_upkeep_report_t *report, int requeued)
{
    if (requeued)
        report->requeued++;
    else
        report->failed++;
}

/* What is due for one of them. */
static cib_error_t *act_on(const cib_ctx_t *ctx, overdue_t *overdue, int dry,
                           cib_upkeep_report_t *report)
{
    overdue->verdict = judge(overdue->build, &overdue->due);
    if (dry) {
        count(report, cib_transition_again(overdue->build) && overdue->verdict == UNHEARD);
        return CIB_OK;
    }
    /* a trace that cannot be synced must not keep a dead build alive */
    cib_log_error(ctx, "CIB0333", cib_trace_sync(ctx, overdue->build->id));
    CIB_TRY(cib_write(ctx, act, overdue));
    if (overdue->moved) {
        tell(ctx, overdue);
        count(report, overdue->to == CIB_PENDING);
    }
    return CIB_OK;
}

/* One that cannot be moved does not keep the others. */
cib_error_t *cib_overdue_turn(const cib_ctx_t *ctx, apr_time_t now, apr_time_t since, int batch,
                              int dry, cib_upkeep_report_t *report)
{
    overdue_t overdue = {.due = deadlines(ctx, now, since), .batch = batch};
    cib_error_t *first = CIB_OK;

    CIB_TRY(cib_read(ctx, find, &overdue));
    for (int i = 0; i < overdue.builds->nelts; i++) {
        cib_error_t *err;

        overdue.build = APR_ARRAY_IDX(overdue.builds, i, cib_build_t *);
        err = act_on(ctx, &overdue, dry, report);
        if (err && err->reason == CIB_REASON_UNAVAILABLE)
            return err;
        if (!first)
            first = err;
    }
    return first;
}

/* A runner's last word of its build, and how often it is to speak before. */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "core/cib_build.h"
#include "core/cib_trace.h"
#include "internal.h"
#include "transition.h"

/* How often a claim's last word is sent back for what is missing of its trace. */
#define SENT_BACK 2

#define CHECKSUM "crc32:"

#define FIRST_MINUTE apr_time_from_sec(60)

const char *const cib_failure_reasons[] = {
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "stale_schedule",
    "job_execution_timeout",
    "archived_failure",
    "unmet_prerequisites",
    "scheduler_failure",
    "data_integrity_failure",
    "trace_size_exceeded",
    "image_pull_failure",
    "job_canceled",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
    NULL,
};

/* --- the reason ------------------------------------------------------------------------------ */

static const char *reason_of(const char *said)
{
    for (int i = 0; said && cib_failure_reasons[i]; i++) {
        if (strcmp(said, cib_failure_reasons[i]) == 0)
            return cib_failure_reasons[i];
    }
    return cib_failure_reasons[0];
}

static int says(const cib_ending_t *ending, const char *state)
{
    return ending->state && strcmp(ending->state, state) == 0;
}

int cib_ending_is_final(const cib_ending_t *ending)
{
    return says(ending, "success") || says(ending, "failed");
}

static void choose_end(const cib_ending_t *ending, cib_move_t *move)
{
    move->to = CIB_SUCCESS;
    if (says(ending, "success"))
        return;
    move->to = CIB_FAILED;
    move->failure_reason = reason_of(ending->failure_reason);
}

/* --- the trace ------------------------------------------------------------------------------- */

/* Is it a checksum at all, and which? */
static int parse_checksum(const char *text, apr_uint32_t *crc)
{
    apr_size_t prefix = strlen(CHECKSUM);

    if (!text || strncmp(text, CHECKSUM, prefix) != 0 || strlen(text) != prefix + 8 ||
        strspn(text + prefix, "0123456789abcdefABCDEF") != 8)
        return 0;
    *crc = (apr_uint32_t)strtoul(text + prefix, NULL, 16);
    return 1;
}

typedef struct sending_back_t {
    const cib_build_t *build;
    int counted;
} sending_back_t;

static cib_error_t *count(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    sending_back_t *back = baton;

    return cib_q_build_short(db, back->build->id, back->build->claim, SENT_BACK, &back->counted,
                             pool);
}

/* Hold what the runner says of its trace against what was received of it. */
static cib_error_t *check_trace(const cib_ctx_t *ctx, const cib_build_t *build,
                                const cib_ending_t *ending, cib_move_t *move, int *too_soon)
{
    sending_back_t back = {build, 0};
    apr_uint32_t announced, crc;
    apr_int64_t received;
    int has_crc = parse_checksum(ending->checksum, &announced);

    *too_soon = 0;
    if (!has_crc && ending->bytesize < 0)
        return CIB_OK;
    CIB_TRY(cib_trace_digest(ctx, build, &received, &crc));
    if (received < ending->bytesize) {
        CIB_TRY(cib_write_one(ctx, count, &back));
        *too_soon = back.counted;
    }
    if (has_crc && announced != crc)
        move->trace_checksum = ending->checksum;
    return CIB_OK;
}

/* --- the end --------------------------------------------------------------------------------- */

static void tell(const cib_ctx_t *ctx, const cib_build_t *build, const cib_move_t *move)
{
    if (move->trace_checksum)
        cib_log(ctx, CIB_LOG_WARNING, APR_SUCCESS,
                "CIB0305: build %" APR_INT64_T_FMT
                ": its trace is not what its runner says it sent (%s)",
                build->id, move->trace_checksum);
}

cib_error_t *cib_build_finish(const cib_ctx_t *ctx, const cib_build_t *build,
                              const cib_ending_t *ending, cib_ended_e *ended)
{
    cib_move_t move = {.claim = build->claim,
                       .has_exit_code = ending->has_exit_code,
                       .exit_code = ending->exit_code};
    int moved, too_soon;

    *ended = CIB_ENDED_NOT;
    if (build->claim <= 0 || !cib_ending_is_final(ending))
        return CIB_OK;
    choose_end(ending, &move);
    CIB_TRY(check_trace(ctx, build, ending, &move, &too_soon));
    if (too_soon) {
        *ended = CIB_ENDED_TOO_SOON;
        return CIB_OK;
    }
    CIB_TRY(cib_transition_end(ctx, build->id, &move, &moved));
    if (!moved)
        return CIB_OK;
    *ended = CIB_ENDED;
    tell(ctx, build, &move);
    return CIB_OK;
}

/* --- before it ------------------------------------------------------------------------------- */

static cib_error_t *follow(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const apr_int64_t *id = baton;

    /* it may come late by a whole turn */
    return cib_q_build_follow(db, *id, apr_time_now() + 3 * CIB_FOLLOW_EVERY, pool);
}

void cib_build_follow(const cib_ctx_t *ctx, apr_int64_t id)
{
    cib_log_error(ctx, "CIB0306", cib_write_one(ctx, follow, &id));
}

int cib_build_update_interval(const cib_build_t *build, apr_time_t now)
{
    int live = now - build->started_at < FIRST_MINUTE || now < build->followed_until;

    return live ? CIB_UPDATE_SOON : CIB_UPDATE_CALM;
}

/* /api/v4/jobs/request and jobs/:id */
#include <string.h>

#include <apr_strings.h>

#include "v4.h"

#define NO_EXIT_CODE APR_INT64_MIN

/* --- request: a job for a runner --- */

static int reply_nothing(request_rec *r)
{
    return cib_reply_empty(r, HTTP_NO_CONTENT);
}

int cib_v4_jobs_request(request_rec *r, const cib_route_match_t *match)
{
    static const cib_asking_manner_t asked = {
        .describe = cib_v4_describe, .nothing = reply_nothing, .paused_is_told = 1};

    return cib_call_ask(r, &cib_v4_manner, &asked);
}

/* --- update: what a runner says of its job --- */

static cib_error_t *identify(cib_word_t *word)
{
    const char *token;

    CIB_TRY(cib_call_required_token(&word->call, &token));
    return cib_call_build(&word->call, word->match, &word->build);
}

static cib_error_t *invalid(const cib_call_t *call, const char *name)
{
    return cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is invalid", name);
}

static cib_error_t *read_exit_code(const cib_call_t *call, cib_ending_t *ending)
{
    apr_int64_t code = NO_EXIT_CODE;

    CIB_TRY(cib_params_int(call->params, "exit_code", &code));
    if (code == NO_EXIT_CODE)
        return CIB_OK;
    ending->has_exit_code = 1;
    ending->exit_code = (int)code;
    return ending->exit_code == code ? CIB_OK : invalid(call, "exit_code");
}

/* Of the trace as sent. What the member says goes before the older parameter. */
static cib_error_t *read_output(const cib_call_t *call, cib_ending_t *ending)
{
    json_object *output;

    CIB_TRY(cib_params_object(call->params, "output", &output));
    CIB_TRY(cib_params_int(call->params, "output[bytesize]", &ending->bytesize));
    CIB_TRY(cib_params_text(call->params, "output[checksum]", &ending->checksum));
    if (ending->checksum)
        return CIB_OK;
    return cib_params_text(call->params, "checksum", &ending->checksum);
}

static cib_error_t *read_ending(const cib_call_t *call, cib_ending_t *ending)
{
    CIB_TRY(cib_params_text(call->params, "state", &ending->state));
    CIB_TRY(cib_params_text(call->params, "failure_reason", &ending->failure_reason));
    CIB_TRY(read_exit_code(call, ending));
    return read_output(call, ending);
}

/* The token is the job's: its runner is looked for only where it has something to say of itself. */
static cib_error_t *hear_runner(cib_word_t *word)
{
    const cib_ctx_t *ctx = word->call.ctx;
    cib_runner_info_t *info;
    cib_error_t *err;

    CIB_TRY(cib_call_info(&word->call, &info));
    if (!info)
        return CIB_OK;
    err = cib_runner_get(ctx, word->build->runner_id, &word->runner);
    if (err && err->reason == CIB_REASON_NO_RECORD)
        return CIB_OK; /* removed in this moment */
    CIB_TRY(err);
    return cib_runner_contact(ctx, word->runner, info);
}

static int is_running(const char *state)
{
    return state && !strcmp(state, "running");
}

/* Why it comes too late is what the runner would be told now. */
static cib_error_t *too_late(cib_word_t *word)
{
    CIB_TRY(identify(word));
    return cib_error(word->call.r->pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, NULL);
}

static cib_error_t *update(cib_word_t *word, int *status)
{
    CIB_TRY(cib_word_read(word, &cib_v4_manner));
    CIB_TRY(cib_call_malformed(&word->call, read_ending(&word->call, &word->ending)));
    if (!cib_ending_is_final(&word->ending) && !is_running(word->ending.state)) {
        *status = HTTP_BAD_REQUEST;
        return CIB_OK;
    }
    CIB_TRY(hear_runner(word));
    CIB_TRY(cib_word_take(word));
    *status = word->ended == CIB_ENDED_TOO_SOON ? HTTP_PRECONDITION_FAILED : HTTP_OK;
    return word->late ? too_late(word) : CIB_OK;
}

static void tell_interval(request_rec *r, int seconds)
{
    apr_table_setn(r->headers_out, "X-GitLab-Trace-Update-Interval", apr_itoa(r->pool, seconds));
}

void cib_v4_tell_interval(request_rec *r, const cib_build_t *build)
{
    tell_interval(r, cib_build_update_interval(build, r->request_time));
}

/* The status is the body, too. */
static int reply_status(const cib_word_t *word, int status)
{
    request_rec *r = word->call.r;

    /* as it was when this was said: who reads that its job failed takes it for somebody else's
     * doing, even with a 200 */
    apr_table_setn(r->headers_out, word->call.manner->status_header,
                   cib_status_name(word->build->status));
    cib_v4_tell_interval(r, word->build);
    /* nothing is gained by waiting to send what is missing */
    if (word->ended == CIB_ENDED_TOO_SOON)
        tell_interval(r, CIB_UPDATE_SOON);
    return cib_reply_json(r, status, json_object_new_string(apr_itoa(r->pool, status)));
}

int cib_v4_job_update(request_rec *r, const cib_route_match_t *match)
{
    cib_word_t word = {
        .call.r = r, .match = match, .identify = identify, .ending = {.bytesize = -1}};
    int status = HTTP_OK;
    cib_error_t *err = update(&word, &status);

    return err ? cib_call_fail(&word.call, err) : reply_status(&word, status);
}

/* What a runner says of its build: a state, and maybe the whole trace, decoded out of the body as
 * it comes. The token may come after the trace. */
#include <string.h>

#include "internal.h"

/* --- the build */

/* The build of the path, whoever asks. */
static cib_error_t *find(cib_word_t *word)
{
    cib_call_t *call = &word->call;

    if (!word->match->id_is_number || word->match->id <= 0)
        return cib_error(call->r->pool, CIB_REASON_NO_RECORD, APR_SUCCESS, NULL);
    cib_reply_about(call->r, word->match->id);
    return cib_build_get(call->ctx, word->match->id, &word->build);
}

/* Where a trace goes whose token is yet to come: to the build of the path if it runs, unseen until
 * the token is right; and nowhere else. */
static cib_error_t *find_unidentified(cib_word_t *word, int *running)
{
    cib_error_t *err = find(word);

    *running = !err && word->build->status == CIB_RUNNING;
    return err && err->reason != CIB_REASON_NO_RECORD ? err : CIB_OK;
}

/* --- the trace */

static cib_error_t *begin_trace(cib_word_t *word, const cib_sink_t **sink)
{
    cib_call_t *call = &word->call;
    int identified = cib_params_has(call->params, "token");
    int running = 1;

    if (identified)
        CIB_TRY(word->identify(word));
    else
        CIB_TRY(find_unidentified(word, &running));
    *sink = &cib_call_discard;
    if (!running)
        return CIB_OK;
    CIB_TRY(cib_trace_replace_begin(call->ctx, word->build, &word->replace, sink));
    word->claim = word->build->claim;
    if (identified)
        return cib_call_heartbeat(call, word->build, sink);
    cib_trace_replace_unproven(word->replace);
    return CIB_OK;
}

static cib_error_t *begin_field(void *baton, const char *name, const char *filename,
                                const cib_sink_t **sink)
{
    cib_word_t *word = baton;
    cib_call_t *call = &word->call;

    if (strcmp(name, "trace"))
        return CIB_OK;
    if (filename)
        return cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "trace is invalid");
    if (!word->replace && !cib_params_has(call->params, "trace"))
        return cib_call_ruled(call, begin_trace(word, sink));
    *sink = &cib_call_discard; /* the first of a name is the one that counts */
    return CIB_OK;
}

/* A trace that came among the parameters, out of the query. */
static cib_error_t *take_text(cib_word_t *word, const char *trace)
{
    const cib_sink_t *sink;

    CIB_TRY(cib_trace_replace_begin(word->call.ctx, word->build, &word->replace, &sink));
    word->claim = word->build->claim;
    return sink->write(sink->baton, trace, strlen(trace));
}

static cib_error_t *take_trace(cib_word_t *word)
{
    cib_call_t *call = &word->call;
    const char *trace = NULL;

    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "trace", &trace)));
    if (trace && !word->replace)
        CIB_TRY(take_text(word, trace));
    if (!word->replace)
        return CIB_OK;
    /* it was another's when the trace began to arrive */
    word->late = word->claim != word->build->claim;
    return word->late ? CIB_OK : cib_trace_replace_finish(word->replace);
}

/* --- the whole of it */

cib_error_t *cib_word_read(cib_word_t *word, const cib_manner_t *manner)
{
    const cib_body_plan_t plan = {.begin = begin_field, .baton = word};

    CIB_TRY(cib_call_begin(&word->call, word->call.r, manner));
    CIB_TRY(cib_call_read(&word->call, &plan));
    return word->identify(word);
}

cib_error_t *cib_word_take(cib_word_t *word)
{
    const cib_ctx_t *ctx = word->call.ctx;

    CIB_TRY(take_trace(word));
    if (word->late)
        return CIB_OK;
    CIB_TRY(cib_build_finish(ctx, word->build, &word->ending, &word->ended));
    /* it ran when this request looked, and somebody else was quicker to end it */
    word->late = word->ended == CIB_ENDED_NOT && cib_ending_is_final(&word->ending);
    if (word->ended != CIB_ENDED && !word->late)
        return cib_build_heard(ctx, word->build);
    return CIB_OK;
}

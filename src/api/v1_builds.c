/* /ci/api/v1/builds/register and builds/:id */
#include <string.h>

#include "core/cib_project.h"
#include "core/cib_trace.h"
#include "v1.h"

/* --- register: a build for a runner --- */

/* GitLab 8.12's rule: runners that know what 204 means say who they are, with their version. */
static int knows_204(request_rec *r)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");
    ap_regex_t *pattern;

    if (!agent)
        return 0;
    pattern = ap_pregcomp(r->pool,
                          "gitlab-(ci-multi-)?runner "
                          "[0-9]+\\.[0-9]+\\.[0-9]+(~beta\\.[0-9]+\\.g[0-9a-f]+)? ",
                          0);
    return pattern && !ap_regexec(pattern, agent, 0, NULL, 0);
}

static int reply_nothing(const cib_asking_t *asking)
{
    request_rec *r = asking->call.r;

    if (asking->claim.last_update)
        apr_table_setn(r->headers_out, "X-GitLab-Last-Update", asking->claim.last_update);
    if (knows_204(r))
        return cib_reply_empty(r, HTTP_NO_CONTENT);
    return cib_reply_error(r, cib_error(r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL));
}

static int answer(cib_asking_t *asking, cib_error_t *err)
{
    cib_call_t *call = &asking->call;
    json_object *object = NULL;
    int result;

    if (err)
        return cib_call_fail(call, err);
    if (!asking->description)
        return reply_nothing(asking);
    err = cib_v1_describe(asking->description, &object, call->r->pool);
    if (err) {
        cib_call_take_back(call, asking->description->build, err);
        return cib_call_fail(call, err);
    }
    result = cib_reply_json(call->r, HTTP_CREATED, object);
    cib_call_handed_out(call, asking->description->build);
    return result;
}

int cib_v1_builds_register(request_rec *r, const cib_route_match_t *match)
{
    return cib_call_ask(r, &cib_v1_manner, answer);
}

/* --- update: what a runner says of its build --- */

typedef struct update_t {
    cib_call_t *call;
    const cib_route_match_t *match;
    cib_runner_t *runner;
    cib_build_t *build;
    cib_trace_replace_t *replace; /* NULL: no trace is taken */
    apr_int64_t claim;            /* whose trace it is */
} update_t;

static cib_error_t *not_found(const update_t *update)
{
    return cib_error(update->call->r->pool, CIB_REASON_NO_RECORD, APR_SUCCESS, NULL);
}

static cib_error_t *find_build(update_t *update)
{
    if (!update->match->id_is_number || update->match->id <= 0)
        return not_found(update);
    cib_reply_about(update->call->r, update->match->id);
    return cib_build_get(update->call->ctx, update->match->id, &update->build);
}

/* The runner's own build, running: what is erased or goes with its project is said to its runner
 * only. */
static cib_error_t *check_build(const update_t *update)
{
    const cib_build_t *build = update->build;
    apr_pool_t *pool = update->call->r->pool;
    cib_project_t *project;

    if (build->runner_id != update->runner->id)
        return not_found(update);
    CIB_TRY(cib_project_get(update->call->ctx, build->project_id, &project));
    if (project->removing)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Project has been deleted!");
    if (build->erased_at)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Build has been erased!");
    return build->status == CIB_RUNNING ? CIB_OK : not_found(update);
}

/* Who speaks, and of what: the runner first, so that `builds/-1` tells it whether it is known. */
static cib_error_t *identify(update_t *update)
{
    CIB_TRY(cib_call_runner(update->call, &update->runner));
    CIB_TRY(find_build(update));
    return check_build(update);
}

/* Where a trace goes whose token is yet to come: to the build of the path if it runs, unseen until
 * the token is right; and nowhere else. */
static cib_error_t *find_unidentified(update_t *update, int *running)
{
    cib_error_t *err = find_build(update);

    *running = !err && update->build->status == CIB_RUNNING;
    return err && err->reason != CIB_REASON_NO_RECORD ? err : CIB_OK;
}

static cib_error_t *begin_trace(update_t *update, const cib_sink_t **sink)
{
    int identified = cib_params_has(update->call->params, "token");
    int running = 1;

    if (identified)
        CIB_TRY(identify(update));
    else
        CIB_TRY(find_unidentified(update, &running));
    *sink = &cib_call_discard;
    if (!running)
        return CIB_OK;
    CIB_TRY(cib_trace_replace_begin(update->call->ctx, update->build, &update->replace, sink));
    update->claim = update->build->claim;
    if (identified)
        *sink = cib_call_heartbeat(update->call, update->build, *sink);
    return CIB_OK;
}

static cib_error_t *begin_field(void *baton, const char *name, const char *filename,
                                const cib_sink_t **sink)
{
    update_t *update = baton;
    cib_call_t *call = update->call;

    if (strcmp(name, "trace"))
        return CIB_OK;
    if (filename)
        return cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "trace is invalid");
    if (!update->replace && !cib_params_has(call->params, "trace"))
        return cib_call_ruled(call, begin_trace(update, sink));
    *sink = &cib_call_discard; /* the first of a name is the one that counts */
    return CIB_OK;
}

/* A trace that came among the parameters, out of the query. */
static cib_error_t *take_text(update_t *update, const char *trace)
{
    const cib_sink_t *sink;

    CIB_TRY(cib_trace_replace_begin(update->call->ctx, update->build, &update->replace, &sink));
    update->claim = update->build->claim;
    return sink->write(sink->baton, trace, strlen(trace));
}

static cib_error_t *take_trace(update_t *update)
{
    const char *trace = NULL;

    CIB_TRY(
        cib_call_malformed(update->call, cib_params_text(update->call->params, "trace", &trace)));
    if (trace && !update->replace)
        CIB_TRY(take_text(update, trace));
    if (!update->replace)
        return CIB_OK;
    /* It was another's when the trace began to arrive. */
    if (update->claim != update->build->claim)
        return not_found(update);
    return cib_trace_replace_finish(update->replace);
}

static int is_final(const char *state)
{
    return !strcmp(state, "success") || !strcmp(state, "failed");
}

static cib_error_t *take_word(update_t *update, int *moved)
{
    cib_call_t *call = update->call;
    cib_runner_info_t *info;
    const char *state = NULL;

    CIB_TRY(identify(update));
    CIB_TRY(cib_call_info(call, &info));
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "state", &state)));
    CIB_TRY(cib_runner_contact(call->ctx, update->runner, info));
    CIB_TRY(take_trace(update));
    if (state)
        CIB_TRY(cib_build_finish(call->ctx, update->build, state, NULL, 0, 0, moved));
    /* it ran when this request looked, and somebody else was quicker to end it */
    if (state && !*moved && is_final(state))
        return not_found(update);
    if (!*moved)
        cib_build_heard(call->ctx, update->build);
    return CIB_OK;
}

static cib_error_t *update_build(update_t *update, int *moved)
{
    const cib_body_plan_t plan = {begin_field, NULL, update};

    CIB_TRY(cib_call_begin(update->call, update->call->r, &cib_v1_manner));
    CIB_TRY(cib_call_read(update->call, &plan));
    return take_word(update, moved);
}

int cib_v1_build_update(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    update_t update = {.call = &call, .match = match};
    int moved = 0;
    cib_error_t *err = update_build(&update, &moved);

    if (err)
        return cib_call_fail(&call, err);
    return cib_reply_json(r, HTTP_OK, moved ? json_object_new_boolean(1) : NULL);
}

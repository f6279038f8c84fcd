/* /ci/api/v1/builds/register and builds/:id */
#include "core/cib_project.h"
#include "v1.h"

/* --- register: a build for a runner --- */

static ap_regex_t *knowing_204;

/* GitLab 8.12's rule: runners that know what 204 means say who they are, with their version. */
void cib_api_register(apr_pool_t *pool)
{
    knowing_204 = ap_pregcomp(pool,
                              "gitlab-(ci-multi-)?runner "
                              "[0-9]+\\.[0-9]+\\.[0-9]+(~beta\\.[0-9]+\\.g[0-9a-f]+)? ",
                              0);
}

static int knows_204(request_rec *r)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    return agent && knowing_204 && !ap_regexec(knowing_204, agent, 0, NULL, 0);
}

static int reply_nothing(request_rec *r)
{
    if (knows_204(r))
        return cib_reply_empty(r, HTTP_NO_CONTENT);
    return cib_reply_error(r, cib_error(r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL));
}

int cib_v1_builds_register(request_rec *r, const cib_route_match_t *match)
{
    static const cib_asking_manner_t asked = {.describe = cib_v1_describe,
                                              .nothing = reply_nothing};

    return cib_call_ask(r, &cib_v1_manner, &asked);
}

/* --- update: what a runner says of its build --- */

static cib_error_t *not_found(const cib_word_t *word)
{
    return cib_error(word->call.r->pool, CIB_REASON_NO_RECORD, APR_SUCCESS, NULL);
}

/* The runner's own build, running: what is erased or goes with its project is said to its runner
 * only. */
static cib_error_t *check_build(const cib_word_t *word, const cib_project_t *project)
{
    const cib_build_t *build = word->build;
    apr_pool_t *pool = word->call.r->pool;

    if (build->runner_id != word->runner->id)
        return not_found(word);
    if (project->removing)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Project has been deleted!");
    if (build->erased_at)
        return cib_error(pool, CIB_REASON_FORBIDDEN, APR_SUCCESS, "Build has been erased!");
    return build->status == CIB_RUNNING ? CIB_OK : not_found(word);
}

/* Who speaks, and of what: the runner first, so that `builds/-1` tells it whether it is known. */
static cib_error_t *identify(cib_word_t *word)
{
    const cib_route_match_t *match = word->match;
    cib_call_t *call = &word->call;
    cib_project_t *project;
    const char *token;
    cib_error_t *err;

    if (!match->id_is_number || match->id <= 0) {
        CIB_TRY(cib_call_runner(call, &word->runner));
        return not_found(word);
    }
    CIB_TRY(cib_call_runner_token(call, &token));
    err = cib_build_spoken_of(call->ctx, token, match->id, &word->runner, &word->build, &project);
    if (err && !word->runner)
        return err;
    cib_reply_about(call->r, match->id);
    CIB_TRY(err);
    return check_build(word, project);
}

static cib_error_t *update(cib_word_t *word)
{
    cib_call_t *call = &word->call;
    cib_runner_info_t *info;

    CIB_TRY(cib_word_read(word, &cib_v1_manner));
    CIB_TRY(cib_call_info(call, &info));
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "state", &word->ending.state)));
    CIB_TRY(cib_runner_contact(call->ctx, word->runner, info));
    CIB_TRY(cib_word_take(word));
    return word->late ? not_found(word) : CIB_OK;
}

int cib_v1_build_update(request_rec *r, const cib_route_match_t *match)
{
    cib_word_t word = {.call.r = r,
                       .match = match,
                       .identify = identify,
                       .ending = {.failure_reason = "script_failure", .bytesize = -1}};
    cib_error_t *err = update(&word);

    if (err)
        return cib_call_fail(&word.call, err);
    return cib_reply_json(r, HTTP_OK, word.ended == CIB_ENDED ? json_object_new_boolean(1) : NULL);
}

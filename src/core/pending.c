/* Why nothing takes a pending build. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_build.h"
#include "core/cib_runner.h"
#include "core/cib_tags.h"
#include "internal.h"

typedef struct asking_t {
    const cib_build_t *build;
    cib_project_t *project;
    apr_array_header_t *runners; /* cib_runner_t *: bound to the project, or shared */
} asking_t;

static cib_error_t *ask(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;

    CIB_TRY(cib_q_project(db, asking->build->project_id, &asking->project, pool));
    return cib_q_project_runners(db, asking->build->project_id, &asking->runners, pool);
}

static int has(const apr_array_header_t *tags, const char *tag)
{
    for (int i = 0; i < tags->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(tags, i, const char *), tag) == 0)
            return 1;
    }
    return 0;
}

static int has_all(const cib_runner_t *runner, const apr_array_header_t *wanted, apr_pool_t *pool)
{
    apr_array_header_t *tags = cib_tags_split(runner->tags, pool);

    if (!wanted->nelts)
        return runner->run_untagged;
    for (int i = 0; i < wanted->nelts; i++) {
        if (!has(tags, APR_ARRAY_IDX(wanted, i, const char *)))
            return 0;
    }
    return 1;
}

/* Those of the build's tags that not one of the runners has; "" when each has some. */
static const char *missing_tags(const apr_array_header_t *runners, const apr_array_header_t *wanted,
                                apr_pool_t *pool)
{
    apr_array_header_t *missing = apr_array_make(pool, 4, sizeof(const char *));

    for (int i = 0; i < wanted->nelts; i++) {
        const char *tag = APR_ARRAY_IDX(wanted, i, const char *);
        int found = 0;

        for (int j = 0; j < runners->nelts && !found; j++)
            found = has(cib_tags_split(APR_ARRAY_IDX(runners, j, cib_runner_t *)->tags, pool), tag);
        if (!found)
            APR_ARRAY_PUSH(missing, const char *) = tag;
    }
    return missing->nelts ? apr_psprintf(pool, "%s", apr_array_pstrcat(pool, missing, ',')) : "";
}

static const char *why_no_tags(const apr_array_header_t *runners, const apr_array_header_t *wanted,
                               apr_pool_t *pool)
{
    const char *missing = missing_tags(runners, wanted, pool);

    if (!wanted->nelts)
        return "no runner of the project takes builds without tags";
    if (*missing)
        return apr_psprintf(pool, "no runner of the project has the tags: %s", missing);
    return "no runner of the project has all of the build's tags";
}

/* Runners that work for the project, by what they are and what it allows. */
static apr_array_header_t *in_scope(const asking_t *asking, int *shared_off, apr_pool_t *pool)
{
    apr_array_header_t *runners = apr_array_make(pool, 4, sizeof(cib_runner_t *));

    *shared_off = 0;
    for (int i = 0; i < asking->runners->nelts; i++) {
        cib_runner_t *runner = APR_ARRAY_IDX(asking->runners, i, cib_runner_t *);

        if (runner->is_shared && runner->locked)
            continue;
        if (runner->is_shared && !asking->project->shared_runners_enabled)
            *shared_off = 1;
        else
            APR_ARRAY_PUSH(runners, cib_runner_t *) = runner;
    }
    return runners;
}

static void push(apr_array_header_t *reasons, const char *reason)
{
    APR_ARRAY_PUSH(reasons, const char *) = reason;
}

/* Of the runners that could take it: is one at work? */
static void judge_readiness(const apr_array_header_t *runners, apr_array_header_t *reasons)
{
    apr_time_t now = apr_time_now();
    int active = 0, online = 0;

    for (int i = 0; i < runners->nelts; i++) {
        const char *status = cib_runner_status(APR_ARRAY_IDX(runners, i, cib_runner_t *), now);

        active += APR_ARRAY_IDX(runners, i, cib_runner_t *)->active != 0;
        online += strcmp(status, "online") == 0;
    }
    if (!active)
        push(reasons, "all runners that could take it are paused");
    else if (!online)
        push(reasons, "no runner that could take it is online");
}

static void judge(const asking_t *asking, apr_array_header_t *reasons, apr_pool_t *pool)
{
    apr_array_header_t *wanted = cib_tags_split(asking->build->tags, pool);
    apr_array_header_t *fit = apr_array_make(pool, 4, sizeof(cib_runner_t *));
    apr_array_header_t *runners;
    int shared_off;

    if (!asking->project || asking->project->removing) {
        push(reasons, "the project is being removed");
        return;
    }
    if (!asking->project->builds_enabled)
        push(reasons, "builds are switched off for the project");
    runners = in_scope(asking, &shared_off, pool);
    if (!runners->nelts) {
        push(reasons, "there is no runner for the project");
        if (shared_off)
            push(reasons, "shared runners are switched off for the project");
        return;
    }
    for (int i = 0; i < runners->nelts; i++) {
        if (has_all(APR_ARRAY_IDX(runners, i, cib_runner_t *), wanted, pool))
            APR_ARRAY_PUSH(fit, cib_runner_t *) = APR_ARRAY_IDX(runners, i, cib_runner_t *);
    }
    if (fit->nelts)
        judge_readiness(fit, reasons);
    else
        push(reasons, why_no_tags(runners, wanted, pool));
}

cib_error_t *cib_build_pending_reasons(const cib_ctx_t *ctx, const cib_build_t *build,
                                       apr_array_header_t **reasons)
{
    asking_t asking = {.build = build};

    *reasons = apr_array_make(ctx->pool, 2, sizeof(const char *));
    if (build->status != CIB_PENDING)
        return CIB_OK;
    CIB_TRY(cib_read(ctx, ask, &asking));
    judge(&asking, *reasons, ctx->pool);
    return CIB_OK;
}

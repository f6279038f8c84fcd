/* An instance with a project and a runner for the tests of the rules, and short ways to builds in
 * any state.
 */
#ifndef CIB_CORE_FIXTURE_H
#define CIB_CORE_FIXTURE_H

#include "core/cib_build.h"
#include "core/cib_project.h"
#include "core/cib_queue.h"
#include "core/cib_runner.h"
#include "core/cib_token.h"
#include "core/cib_trace.h"
#include "store_fixture.h"

#define SHA "0123456789abcdef0123456789abcdef01234567"

typedef struct core_t {
    fixture_t *fx;
    apr_pool_t *pool;
    cib_limits_t limits;
    cib_ctx_t ctx;
    apr_int64_t project;
    const char *project_token;
    apr_int64_t shared; /* a shared runner without tags */
    cib_runner_t *runner;
    const char *runner_token;
    int logged; /* lines at warning or worse */
} core_t;

TAP_UNUSED static void core_log(void *baton, cib_log_e level, apr_status_t rv, const char *line)
{
    core_t *core = baton;

    (void)rv;
    if (level <= CIB_LOG_WARNING)
        core->logged++;
    if (strncmp(line, "CIB03", 5) != 0)
        diag("a line without its id: %s", line);
}

TAP_UNUSED static void fine(const cib_error_t *err, const char *what)
{
    apr_pool_t *pool;

    if (!err)
        return;
    apr_pool_create(&pool, NULL);
    bail_out("%s: reason %d: %s", what, (int)err->reason, cib_error_text(err, pool));
}

TAP_UNUSED static apr_int64_t new_project(core_t *core, const char *url)
{
    cib_project_t row = {.name = "p",
                         .repo_url = url,
                         .timeout = 600,
                         .allow_git_fetch = 1,
                         .shared_runners_enabled = 1,
                         .builds_enabled = 1};
    apr_int64_t id;

    fine(cib_project_add(&core->ctx, &row, NULL, &id, &core->project_token), "add a project");
    return id;
}

TAP_UNUSED static apr_int64_t new_runner(core_t *core, const char *tags, int untagged,
                                         apr_int64_t project, const char **token)
{
    apr_array_header_t *list = apr_array_make(core->pool, 1, sizeof(const char *));
    apr_array_header_t *projects = apr_array_make(core->pool, 1, sizeof(apr_int64_t));
    cib_runner_new_t row = {.description = "r", .tags = list, .run_untagged = untagged};
    apr_int64_t id;

    APR_ARRAY_PUSH(list, const char *) = tags;
    APR_ARRAY_PUSH(projects, apr_int64_t) = project;
    fine(cib_runner_add(&core->ctx, &row, !project, project ? projects : NULL, NULL, &id, token),
         "add a runner");
    return id;
}

TAP_UNUSED static core_t *core_new(const char *driver)
{
    fixture_t *fx = fixture_new(driver);
    core_t *core = apr_pcalloc(fx->pool, sizeof(*core));

    core->fx = fx;
    core->pool = fx->pool;
    core->limits = cib_limits_default;
    core->limits.min_free = 0;
    core->ctx.storage = fx->storage;
    core->ctx.store = fx->store;
    core->ctx.source = fx->source;
    core->ctx.gen = fx->gen;
    core->ctx.limits = &core->limits;
    core->ctx.log = core_log;
    core->ctx.log_baton = core;
    core->ctx.pool = fx->pool;
    core->project = new_project(core, "https://example.org/p.git");
    core->shared = new_runner(core, "", 1, 0, &core->runner_token);
    fine(cib_runner_get(&core->ctx, core->shared, &core->runner), "get the runner");
    return core;
}

TAP_UNUSED static void core_done(core_t *core)
{
    fixture_done(core->fx);
}

/* A build that needs up to two others (0: none). */
TAP_UNUSED static apr_int64_t new_build(core_t *core, apr_int64_t need, apr_int64_t need2)
{
    apr_array_header_t *needs = apr_array_make(core->pool, 2, sizeof(apr_int64_t));
    apr_array_header_t *ids = apr_array_make(core->pool, 2, sizeof(apr_int64_t));
    cib_build_new_t fresh = {
        .project_id = core->project, .sha = SHA, .commands = "true", .needs = needs};

    if (need)
        APR_ARRAY_PUSH(needs, apr_int64_t) = need;
    if (need2)
        APR_ARRAY_PUSH(needs, apr_int64_t) = need2;
    fine(cib_build_add(&core->ctx, &fresh, 1, ids), "add a build");
    return APR_ARRAY_IDX(ids, 0, apr_int64_t);
}

TAP_UNUSED static cib_build_t *build_of(core_t *core, apr_int64_t id)
{
    cib_build_t *build;

    fine(cib_build_get(&core->ctx, id, &build), "get a build");
    return build;
}

TAP_UNUSED static const char *status_of(core_t *core, apr_int64_t id)
{
    return cib_status_name(build_of(core, id)->status);
}

/* What the shared runner is given; 0: nothing. */
TAP_UNUSED static apr_int64_t claim(core_t *core)
{
    cib_claim_t claimed;

    fine(cib_queue_claim(&core->ctx, core->runner, NULL, &claimed), "claim");
    return claimed.build_id;
}

/* Claim until it is this one's turn. */
TAP_UNUSED static void start(core_t *core, apr_int64_t id)
{
    apr_int64_t given;

    do {
        given = claim(core);
        if (!given)
            bail_out("build %d is not to be had", (int)id);
    } while (given != id);
}

TAP_UNUSED static int finish(core_t *core, apr_int64_t id, const char *state)
{
    const cib_ending_t ending = {.state = state, .bytesize = -1};
    cib_ended_e ended;

    fine(cib_build_finish(&core->ctx, build_of(core, id), &ending, &ended), "finish");
    return ended == CIB_ENDED;
}

/* A build that has ended so. */
TAP_UNUSED static apr_int64_t ended_build(core_t *core, const char *state)
{
    apr_int64_t id = new_build(core, 0, 0);

    start(core, id);
    if (!finish(core, id, state))
        bail_out("build %d does not end", (int)id);
    return id;
}

/* Change the database behind everybody's back. */
__attribute__((format(printf, 2, 3))) TAP_UNUSED static void sql(core_t *core, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    outside(core->fx, core->fx->params, apr_pvsprintf(core->pool, fmt, args));
    va_end(args);
}

/* --- somebody who is in the middle of a transaction on PostgreSQL */

typedef struct rival_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_pool_t *pool;
} rival_t;

/* Run one statement: the first column of the last row, as a number. */
__attribute__((format(printf, 2, 3))) TAP_UNUSED static int rival_says(rival_t *rival,
                                                                       const char *fmt, ...)
{
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    const char *text;
    int number = 0;
    va_list args;

    va_start(args, fmt);
    text = apr_pvsprintf(rival->pool, fmt, args);
    va_end(args);
    if (apr_dbd_select(rival->driver, rival->pool, rival->handle, &results, text, 1) != 0)
        bail_out("%s", text);
    while (apr_dbd_get_row(rival->driver, rival->pool, results, &row, -1) == 0)
        number = atoi(apr_dbd_get_entry(rival->driver, row, 0));
    return number;
}

TAP_UNUSED static void rival_begin(core_t *core, rival_t *rival)
{
    must(apr_pool_create(&rival->pool, core->pool), "make a pool");
    must(apr_dbd_get_driver(core->pool, core->fx->driver, &rival->driver), "get the driver");
    must(apr_dbd_open(rival->driver, rival->pool, core->fx->params, &rival->handle), "connect");
    rival_says(rival, "BEGIN");
}

/* Commit as soon as somebody waits for it. */
TAP_UNUSED static void rival_end(rival_t *rival)
{
    while (!rival_says(rival,
                       "SELECT count(*) FROM pg_locks WHERE %d = ANY (pg_blocking_pids(pid))",
                       rival_says(rival, "SELECT pg_backend_pid()")))
        apr_sleep(apr_time_from_msec(5));
    rival_says(rival, "COMMIT");
    apr_dbd_close(rival->driver, rival->handle);
}

typedef struct meanwhile_t {
    core_t core; /* with a pool of its own */
    void (*act)(core_t *core);
} meanwhile_t;

TAP_UNUSED static void *APR_THREAD_FUNC meanwhile_main(apr_thread_t *thread, void *data)
{
    meanwhile_t *meanwhile = data;

    (void)thread;
    meanwhile->act(&meanwhile->core);
    return NULL;
}

/* Let another thread act, which comes to wait for the rival, and then the rival commit. */
TAP_UNUSED static void rival_ends_during(core_t *core, rival_t *rival, void (*act)(core_t *core))
{
    meanwhile_t meanwhile = {*core, act};
    apr_thread_t *thread;
    apr_status_t rv;

    must(apr_pool_create(&meanwhile.core.pool, NULL), "make a pool");
    meanwhile.core.ctx.pool = meanwhile.core.pool;
    must(apr_thread_create(&thread, NULL, meanwhile_main, &meanwhile, core->pool),
         "start a thread");
    rival_end(rival);
    must(apr_thread_join(&rv, thread), "join the thread");
    apr_pool_destroy(meanwhile.core.pool);
}

#endif

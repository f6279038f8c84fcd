/* Adds runners and builds as `ci-builds` does, but without a process for each: what is measured is
 * the time from a commit on, and not that of a program that starts.
 *
 *   adder STORAGE PROJECT        reads lines, and answers each with one:
 *     runner TAG                 a shared runner for that tag: "ID TOKEN"
 *     build TAG                  a build with that tag: "ID BEGUN DONE", microseconds of the
 * monotonic clock; it was committed between the two
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_general.h>

#include "core/cib_build.h"
#include "core/cib_runner.h"
#include "store/cib_source.h"

#define SHA "0123456789012345678901234567890123456789"

static cib_ctx_t ctx;
static apr_pool_t *lasting;

static void die(const char *what)
{
    fprintf(stderr, "adder: %s\n", what);
    exit(1);
}

static void must(cib_error_t *err)
{
    if (err)
        die(cib_error_text(err, ctx.pool));
}

static long long now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void ignore(void *baton, cib_log_e level, apr_status_t rv, const char *line)
{
}

static void open_storage(const char *dir)
{
    cib_storage_t *storage;

    if (cib_storage_open(&storage, dir, lasting))
        die("no storage there");
    ctx.storage = storage;
    ctx.limits = &cib_limits_default;
    ctx.log = ignore;
    ctx.pool = lasting;
    if (cib_generation_open(&ctx.gen, storage, lasting) ||
        cib_store_create(&ctx.store, storage, ctx.gen, lasting) ||
        cib_source_own(&ctx.source, storage->driver, storage->params, 0, lasting))
        die("the storage cannot be opened");
    cib_store_make_sure(ctx.store);
}

static apr_array_header_t *tags_of(const char *tag)
{
    apr_array_header_t *tags = apr_array_make(ctx.pool, 1, sizeof(const char *));

    APR_ARRAY_PUSH(tags, const char *) = tag;
    return tags;
}

static void add_runner(const char *tag)
{
    cib_runner_new_t fresh = {.description = tag, .tags = tags_of(tag)};
    const char *token;
    apr_int64_t id;

    must(cib_runner_add(&ctx, &fresh, 1, NULL, NULL, &id, &token));
    printf("%lld %s\n", (long long)id, token);
}

static void add_build(const char *tag, apr_int64_t project)
{
    cib_build_new_t fresh = {.project_id = project, .sha = SHA, .tags = tags_of(tag)};
    apr_array_header_t *ids = apr_array_make(ctx.pool, 1, sizeof(apr_int64_t));
    long long begun = now();

    must(cib_build_add(&ctx, &fresh, 1, ids));
    printf("%lld %lld %lld\n", (long long)APR_ARRAY_IDX(ids, 0, apr_int64_t), begun, now());
}

int main(int argc, const char *const *argv, const char *const *env)
{
    char line[256], what[16], tag[128];

    if (argc != 3 || apr_app_initialize(&argc, &argv, &env) || apr_pool_create(&lasting, NULL))
        die("adder STORAGE PROJECT");
    open_storage(argv[1]);
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "%15s %127s", what, tag) != 2)
            die("what?");
        apr_pool_create(&ctx.pool, lasting);
        if (!strcmp(what, "runner"))
            add_runner(tag);
        else
            add_build(tag, atoll(argv[2]));
        fflush(stdout);
        apr_pool_destroy(ctx.pool);
    }
    return 0;
}

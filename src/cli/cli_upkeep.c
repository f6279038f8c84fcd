/* ci-builds gc, check, stats, registration-token: the instance as a whole. */
#include <stdio.h>
#include <string.h>
#include <apr_strings.h>
#include "core/cib_token.h"
#include "core/cib_upkeep.h"
#include "output.h"
#include "store/cib_questions.h"
#include "util/cib_text.h"

#define UPKEEP_AT_ONCE 500

/* --- gc --------------------------------------------------------------------------------------- */

/* `none` (or NULL) is the word for "not at all", and gives `*duration` the value `never`. */
static cib_error_t *read_duration(const cli_t *cli, const char *name, const char *none,
                                  apr_interval_time_t never, apr_interval_time_t *duration)
{
    const char *text = cli_text(cli, name);

    if (!text)
        return CIB_OK;
    if (none && !strcasecmp(text, none))
        *duration = never;
    else if (cib_duration_parse(text, duration))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "--%s: '%s' is no duration",
                         name, text);
    return CIB_OK;
}

static void add_up(cib_upkeep_report_t *sum, const cib_upkeep_report_t *turn)
{
    sum->requeued += turn->requeued;
    sum->failed += turn->failed;
    sum->expired += turn->expired;
    sum->removed += turn->removed;
    sum->orphans += turn->orphans;
    sum->freed += turn->freed;
}

static int did_anything(const cib_upkeep_report_t *turn)
{
    return turn->requeued || turn->failed || turn->expired || turn->removed;
}

/* Turn after turn until there is nothing left to do. A dry one changes nothing, so it would find
 * the same again: it is one turn without a bound. */
static cib_error_t *take_turns(const cib_ctx_t *ctx, apr_time_t since, int dry,
                               cib_upkeep_report_t *sum)
{
    cib_ctx_t below = *ctx;
    cib_upkeep_report_t turn;

    apr_pool_create(&below.pool, ctx->pool);
    do {
        apr_pool_clear(below.pool);
        memset(&turn, 0, sizeof(turn));
        CIB_TRY(cib_upkeep_turn(&below, apr_time_now(), since, dry ? APR_INT32_MAX : UPKEEP_AT_ONCE,
                                dry, &turn));
        add_up(sum, &turn);
    } while (!dry && did_anything(&turn));
    return CIB_OK;
}

static void print_report(const cli_t *cli, const cib_upkeep_report_t *report)
{
    json_object *object = json_object_new_object();

    cli_set_int(object, "requeued", report->requeued);
    cli_set_int(object, "failed", report->failed);
    cli_set_int(object, "expired", report->expired);
    cli_set_int(object, "removed", report->removed);
    cli_set_int(object, "orphans", report->orphans);
    cli_set_int(object, "freed", report->freed);
    cli_set_bool(object, "dry_run", cli_given(cli, "dry-run"));
    cli_print(cli, object);
}

/* While httpd runs it looks after silent runners itself, and knows since when it hears them; while
 * it is down silence is no runner's fault. So here it counts only where it is asked for. */
static cib_error_t *read_limits(const cli_t *cli, cib_limits_t *limits, apr_time_t *since)
{
    *since = cli_given(cli, "stuck-timeout") || cli_given(cli, "ack-timeout") ? 0 : apr_time_now();
    limits->stuck_timeout = limits->ack_timeout = 0;
    CIB_TRY(read_duration(cli, "history", "never", CIB_UNLIMITED, &limits->history));
    CIB_TRY(read_duration(cli, "stuck-timeout", NULL, 0, &limits->stuck_timeout));
    return read_duration(cli, "ack-timeout", "off", 0, &limits->ack_timeout);
}

cib_error_t *cli_gc(cli_t *cli)
{
    cib_limits_t limits = cib_limits_default;
    cib_upkeep_report_t report = {0};
    int dry = cli_given(cli, "dry-run");
    apr_time_t since;

    CIB_TRY(read_limits(cli, &limits, &since));
    cli->ctx.limits = &limits;
    CIB_TRY(take_turns(&cli->ctx, since, dry, &report));
    CIB_TRY(cib_upkeep_orphans(&cli->ctx, dry, &report));
    print_report(cli, &report);
    return CIB_OK;
}

/* --- check ------------------------------------------------------------------------------------ */

typedef struct findings_t {
    const cli_t *cli;
    json_object *faults;
} findings_t;

static void note_fault(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
    const findings_t *findings = baton;
    json_object *fault = json_object_new_object();

    cli_set_text(fault, "kind", kind);
    cli_set_id(fault, "build_id", build_id);
    cli_set_text(fault, "message", line);
    json_object_array_add(findings->faults, fault);
    if (!findings->cli->json)
        printf("%s: %s\n", kind, line);
}

static void ignore_fault(void *baton, const char *kind, apr_int64_t build_id, const char *line)
{
}

cib_error_t *cli_check(cli_t *cli)
{
    findings_t findings = {cli, json_object_new_array()};
    int repair = cli_given(cli, "repair");
    int found = 0;
    int left = 0;
    json_object *object;

    CIB_TRY(cib_check(&cli->ctx, repair, note_fault, &findings, &found));
    left = found;
    /* what could not be mended is what a second look still sees */
    if (repair && found)
        CIB_TRY(cib_check(&cli->ctx, 0, ignore_fault, NULL, &left));
    if (!cli->json && found)
        printf("%d found%s\n", found, repair ? apr_psprintf(cli->pool, ", %d left", left) : "");
    object = json_object_new_object();
    json_object_object_add(object, "faults", findings.faults);
    cli_set_int(object, "found", found);
    cli_set_int(object, "left", left);
    cli_print_json(cli, object);
    cli->exit_code = left ? CLI_FAILED : CLI_DONE;
    return CIB_OK;
}

/* --- stats ------------------------------------------------------------------------------------ */

static cib_error_t *ask_stats(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_stats(db, apr_time_now(), baton, pool);
}

cib_error_t *cli_stats(cli_t *cli)
{
    cib_stats_t stats = {0};
    json_object *object;
    json_object *builds;

    CIB_TRY(cib_store_read(cli->ctx.store, cli->ctx.source, ask_stats, &stats, cli->pool));
    object = json_object_new_object();
    builds = json_object_new_object();
    cli_set_int(object, "projects", stats.projects);
    cli_set_int(object, "runners", stats.runners);
    cli_set_int(object, "runners_online", stats.runners_online);
    for (int i = 0; i < CIB_STATUSES; i++)
        cli_set_int(builds, cib_status_name((cib_status_e)i), stats.builds[i]);
    json_object_object_add(object, "builds", builds);
    cli_set_int(object, "artifacts", stats.artifacts);
    cli_set_int(object, "artifact_bytes", stats.artifact_bytes);
    cli_print(cli, object);
    return CIB_OK;
}

/* --- registration-token ----------------------------------------------------------------------- */

static cib_error_t *ask_rotation(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_registration_rotation(db, baton, pool);
}

static cib_error_t *rotate(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_registration_rotate(db, baton, pool);
}

static void print_token(const cli_t *cli, int rotation)
{
    json_object *object = json_object_new_object();

    cli_set_text(object, "token", cib_token_registration(cli->ctx.storage, rotation, cli->pool));
    cli_print_member(cli, object, "token");
}

cib_error_t *cli_registration_token_show(cli_t *cli)
{
    int rotation = 0;

    CIB_TRY(cib_store_read(cli->ctx.store, cli->ctx.source, ask_rotation, &rotation, cli->pool));
    print_token(cli, rotation);
    return CIB_OK;
}

cib_error_t *cli_registration_token_rotate(cli_t *cli)
{
    int rotation = 0;

    CIB_TRY(cib_store_write(cli->ctx.store, cli->ctx.source, CIB_WRITE_MANY, rotate, &rotation,
                            cli->pool));
    print_token(cli, rotation);
    return CIB_OK;
}

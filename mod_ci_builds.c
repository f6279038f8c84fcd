/* mod_ci_builds: a CI coordinator for GitLab Runners. This file is the table of contents: the
 * directives, the hooks, and the way of a request into the dialects. */
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_status.h>
#include <mpm_common.h>

#include <apr_strings.h>

#include "api/cib_api.h"
#include "core/cib_upkeep.h"
#include "http/cib_park.h"
#include "http/cib_refusal.h"
#include "http/cib_route.h"
#include "server/cib_board.h"
#include "server/cib_config.h"
#include "server/cib_instance.h"
#include "server/cib_startup.h"
#include "server/cib_waker.h"
#include "server/cib_watch.h"

/* Of each kind of upkeep, in one turn. */
#define UPKEEP_BATCH 100

static const cib_dialect_t *const dialects[] = {&cib_v1, &cib_v4, NULL};

/* --- directives */

#define ITEM(item) (&cib_config_mark[item])
#define FLAG(name, item, help) AP_INIT_FLAG(name, cib_config_set_flag, ITEM(item), RSRC_CONF, help)
#define TEXT(name, item, help) AP_INIT_TAKE1(name, cib_config_set_text, ITEM(item), RSRC_CONF, help)
#define SIZE(name, item, help) AP_INIT_TAKE1(name, cib_config_set_size, ITEM(item), RSRC_CONF, help)
#define DURATION(name, item, help)                                                                 \
    AP_INIT_TAKE1(name, cib_config_set_duration, ITEM(item), RSRC_CONF, help)

static const command_rec directives[] = {
    FLAG("CIBuilds", CIB_CONF_ENABLED, "On: this virtual host serves the runner APIs"),
    TEXT("CIBuildsStorage", CIB_CONF_STORAGE, "the storage directory made by 'ci-builds init'"),
    TEXT("CIBuildsExternalURL", CIB_CONF_EXTERNAL_URL, "base of the URLs handed out"),
    SIZE("CIBuildsMaxArtifactSize", CIB_CONF_MAX_ARTIFACT_SIZE,
         "larger uploads get 413; 0 refuses all; a size or unlimited"),
    SIZE("CIBuildsMaxTraceSize", CIB_CONF_MAX_TRACE_SIZE,
         "trace bytes beyond it are dropped; a size or unlimited"),
    FLAG("CIBuildsArtifacts", CIB_CONF_ARTIFACTS, "Off: uploads get 405"),
    DURATION("CIBuildsArtifactExpire", CIB_CONF_ARTIFACT_EXPIRE,
             "life of artifacts that name none; a duration or never"),
    DURATION("CIBuildsStuckTimeout", CIB_CONF_STUCK_TIMEOUT,
             "a running build not heard of for that long fails"),
    DURATION("CIBuildsLongPoll", CIB_CONF_LONG_POLL,
             "how long an idle request may be parked; a duration or Off"),
    DURATION("CIBuildsAckTimeout", CIB_CONF_ACK_TIMEOUT,
             "a claim without a word of its runner goes back; a duration or Off"),
    DURATION("CIBuildsHistory", CIB_CONF_HISTORY,
             "ended builds older than that are removed; a duration or never"),
    SIZE("CIBuildsMinFree", CIB_CONF_MIN_FREE, "with less free space uploads get 507"),
    {NULL}};

/* --- requests */

static const cib_dialect_t *claimed(const request_rec *r)
{
    return ap_get_module_config(r->request_config, &ci_builds_module);
}

static const cib_dialect_t *dialect_of(const request_rec *r)
{
    if (r->proxyreq || !r->uri || !cib_config_number(r->server, CIB_CONF_ENABLED))
        return NULL;
    return cib_route_dialect(dialects, r->uri);
}

/* translate_name: these paths are ours, before any alias, rewriting or proxying. The handler's name
 * keeps others (FallbackResource) from taking them for missing files. */
static int claim(request_rec *r)
{
    const cib_dialect_t *dialect = dialect_of(r);

    if (!dialect)
        return DECLINED;
    ap_set_module_config(r->request_config, &ci_builds_module, (void *)dialect);
    r->handler = "ci-builds";
    r->filename = apr_pstrcat(r->pool, "ci-builds:", r->uri, NULL);
    return OK;
}

/* map_to_storage and type_checker: there is no file, so there is neither a directory to walk nor an
 * extension to look at. */
static int keep(request_rec *r)
{
    return claimed(r) ? OK : DECLINED;
}

static int handle(request_rec *r)
{
    return claimed(r) ? cib_route_run(claimed(r), r) : DECLINED;
}

/* insert_error_filter: httpd may refuse a request for such a path before it is ours. */
static void refuse(request_rec *r)
{
    if (dialect_of(r))
        cib_refusal_in_json(r);
}

/* --- upkeep */

static void tell_upkeep(const cib_instance_t *instance, const cib_upkeep_report_t *done)
{
    if (done->requeued || done->failed || done->expired || done->removed || done->orphans)
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, instance->server,
                     "CIB0290: upkeep of %s: %d requeued, %d failed, %d expired, %d removed, "
                     "%d orphaned files, %" APR_INT64_T_FMT " bytes freed",
                     instance->storage->dir, done->requeued, done->failed, done->expired,
                     done->removed, done->orphans, done->freed);
}

static cib_error_t *keep_up(cib_instance_t *instance, const char *holder, apr_time_t since,
                            apr_pool_t *pool)
{
    const cib_ctx_t *ctx = cib_api_server_ctx(instance->server, pool);
    cib_upkeep_report_t done = {0};
    int mine = 0;

    if (!ctx)
        return CIB_OK;
    CIB_TRY(cib_upkeep_lease(ctx, holder, apr_time_now(), &mine));
    if (mine)
        CIB_TRY(cib_upkeep_turn(ctx, apr_time_now(), since, UPKEEP_BATCH, 0, &done));
    tell_upkeep(instance, &done);
    return CIB_OK;
}

/* --- parking */

static void prepare_parking(server_rec *s, apr_pool_t *ptemp)
{
    if (!cib_waker_is_wanted(s))
        return;
    cib_waker_measure(s, ptemp);
    if (cib_park_is_possible())
        cib_waker_tell(s);
    else
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "CIB0292: CIBuildsLongPoll needs the event MPM of httpd 2.4.63 or later: "
                     "requests are answered at once");
}

/* What is opened last ends first: who wakes, before the hall; both before the instances. */
static void open_parking(apr_pool_t *pchild, server_rec *s)
{
    if (!cib_waker_is_wanted(s))
        return;
    cib_park_open(pchild, s, cib_waker_capacity());
    cib_waker_open(pchild, cib_api_raised);
}

static void register_parking(void)
{
#if CIB_CAN_PARK
    ap_hook_process_connection(cib_park_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_suspend_connection(cib_park_suspend, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_resume_connection(cib_park_resume, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_child_stopping(cib_park_stop, NULL, NULL, APR_HOOK_MIDDLE);
#endif
}

/* --- hooks */

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    /* Also when the configuration is only being tried: after that httpd goes into the background,
     * and `apachectl start` could no longer say that it failed. */
    int status = cib_startup_open(pconf, plog, ptemp, s);

    if (status != OK || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return status;
    status = cib_board_create(s);
    if (status == OK)
        status = cib_instances_declare(pconf, s);
    if (status == OK)
        status = cib_watch_register(pconf, s, keep_up);
    if (status == OK)
        prepare_parking(s, ptemp);
    return status;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    cib_instances_open(pchild, s);
    open_parking(pchild, s);
}

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_check_config(cib_startup_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_optional_fn_retrieve(cib_instances_find_dbd, NULL, NULL, APR_HOOK_MIDDLE);

    ap_hook_translate_name(claim, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_map_to_storage(keep, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_type_checker(keep, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_REALLY_FIRST);

    cib_api_register(pool);

    cib_refusal_register();
    ap_hook_insert_error_filter(refuse, NULL, NULL, APR_HOOK_MIDDLE);

    register_parking();

    APR_OPTIONAL_HOOK(ap, status_hook, cib_board_status, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(ci_builds) = {
    STANDARD20_MODULE_STUFF, NULL,       NULL,           cib_config_create,
    cib_config_merge,        directives, register_hooks, 0,
};

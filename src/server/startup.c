/* Start-up: what is wrong with the configuration, said in one line each, before anybody notices by
 * himself. */
#include <string.h>
#include <unistd.h>

#include <apr_file_info.h>
#include <apr_strings.h>
#include <apr_user.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <unixd.h>

#include "internal.h"
#include "server/cib_config.h"
#include "server/cib_startup.h"

APLOG_USE_MODULE(ci_builds);

/* "the virtual host ci.example.com:443 (/etc/…/ci.conf:3)" */
static const char *host_name(const server_rec *s, apr_pool_t *pool)
{
    if (!s->is_virtual)
        return "the main server";
    return apr_psprintf(pool, "the virtual host %s (%s:%u)", s->server_hostname,
                        s->defn_name ? s->defn_name : "?", s->defn_line_number);
}

/* --- check_config: each NULL, or a line */

static const char *check_modules(const server_rec *s, apr_pool_t *pool)
{
    if (!ap_find_linked_module("mod_dbd.c"))
        return "CIB0201: CIBuilds On needs mod_dbd: run 'a2enmod dbd', or LoadModule dbd_module";
    if (!ap_find_linked_module("mod_watchdog.c"))
        return "CIB0202: CIBuilds On needs mod_watchdog: run 'a2enmod watchdog', or LoadModule "
               "watchdog_module";
    return NULL;
}

static const char *check_directives(const server_rec *s, apr_pool_t *pool)
{
    static const char *const wanted[] = {"DBDriver", "DBDParams"};

    if (!cib_config_text(s, CIB_CONF_STORAGE))
        return apr_psprintf(pool,
                            "CIB0203: CIBuilds On but no CIBuildsStorage in %s: add "
                            "'CIBuildsStorage DIR', the directory that 'ci-builds -s DIR init' "
                            "made",
                            host_name(s, pool));
    for (int i = 0; i < 2; i++)
        if (!cib_tree_argument(s, wanted[i], pool))
            return apr_psprintf(pool,
                                "CIB0204: CIBuilds On but no %s in %s: add the lines that "
                                "'ci-builds -s %s init' prints",
                                wanted[i], host_name(s, pool),
                                cib_config_text(s, CIB_CONF_STORAGE));
    return NULL;
}

/* Not being allowed to look is no verdict: configtest may be run by anybody. */
static const char *check_directory(const server_rec *s, apr_pool_t *pool)
{
    const char *dir = cib_config_text(s, CIB_CONF_STORAGE);
    apr_finfo_t found;
    apr_status_t rv = apr_stat(&found, dir, APR_FINFO_TYPE, pool);

    if (APR_STATUS_IS_EACCES(rv))
        return NULL;
    if (rv == APR_SUCCESS || rv == APR_INCOMPLETE)
        rv = apr_stat(&found, apr_pstrcat(pool, dir, "/config", NULL), APR_FINFO_TYPE, pool);
    if (APR_STATUS_IS_ENOENT(rv) || APR_STATUS_IS_ENOTDIR(rv))
        return apr_psprintf(pool,
                            "CIB0205: CIBuildsStorage %s is not a storage directory: run "
                            "'ci-builds -s %s init'",
                            dir, dir);
    return NULL;
}

const char *cib_user_name(uid_t uid, apr_pool_t *pool)
{
    char *name;

    if (apr_uid_name_get(&name, uid, pool) == APR_SUCCESS)
        return name;
    return apr_psprintf(pool, "uid %lu", (unsigned long)uid);
}

/* Only root can start httpd as another user; who is not will soon see what he may do. */
static const char *check_owner(const server_rec *s, apr_pool_t *pool)
{
    const char *dir = cib_config_text(s, CIB_CONF_STORAGE);
    apr_finfo_t found;

    if (geteuid() != 0 || apr_stat(&found, dir, APR_FINFO_OWNER, pool) != APR_SUCCESS ||
        found.user == ap_unixd_config.user_id)
        return NULL;
    return apr_psprintf(pool,
                        "CIB0206: CIBuildsStorage %s belongs to %s, but httpd runs as %s: run "
                        "'chown -R %s %s', or let User name its owner",
                        dir, cib_user_name(found.user, pool),
                        cib_user_name(ap_unixd_config.user_id, pool),
                        cib_user_name(ap_unixd_config.user_id, pool), dir);
}

static const char *check_server(const server_rec *s, apr_pool_t *pool)
{
    const char *error = check_modules(s, pool);

    if (!error)
        error = check_directives(s, pool);
    if (!error)
        error = check_directory(s, pool);
    if (!error)
        error = check_owner(s, pool);
    return error;
}

/* Upkeep works for the instance, with what the first of its virtual hosts says. */
static void warn_of_contradiction(const server_rec *s, const server_rec *first)
{
    static const struct {
        cib_conf_e item;
        const char *name;
    } rules[] = {{CIB_CONF_STUCK_TIMEOUT, "CIBuildsStuckTimeout"},
                 {CIB_CONF_ACK_TIMEOUT, "CIBuildsAckTimeout"},
                 {CIB_CONF_HISTORY, "CIBuildsHistory"}};

    for (apr_size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (cib_config_number(s, rules[i].item) != cib_config_number(first, rules[i].item))
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                         "CIB0208: virtual hosts with the storage directory %s differ in %s: that "
                         "of the first of them holds",
                         cib_config_text(s, CIB_CONF_STORAGE), rules[i].name);
}

static const server_rec *first_of_storage(const apr_array_header_t *servers, const char *dir)
{
    int i = 0;

    while (strcmp(cib_config_text(APR_ARRAY_IDX(servers, i, server_rec *), CIB_CONF_STORAGE), dir))
        i++;
    return APR_ARRAY_IDX(servers, i, server_rec *);
}

static void warn(const apr_array_header_t *servers, const server_rec *s, apr_pool_t *pool)
{
    if (cib_config_is_clamped(s))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "CIB0207: CIBuildsLongPoll is not below Timeout in %s: parking for "
                     "%" APR_TIME_T_FMT " ms at most",
                     host_name(s, pool),
                     apr_time_as_msec(cib_config_number(s, CIB_CONF_LONG_POLL)));
    warn_of_contradiction(s, first_of_storage(servers, cib_config_text(s, CIB_CONF_STORAGE)));
}

int cib_startup_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const apr_array_header_t *servers = cib_config_servers(s, ptemp);

    for (int i = 0; i < servers->nelts; i++) {
        const server_rec *each = APR_ARRAY_IDX(servers, i, server_rec *);
        const char *error = check_server(each, ptemp);

        if (error) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, each, "%s", error);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        warn(servers, each, ptemp);
    }
    return OK;
}

/* --- post_config */

/* What a probe looks at; virtual hosts that agree in all of it are looked at once. */
static int is_same(const cib_probe_t *a, const cib_probe_t *b)
{
    return !strcmp(a->dir, b->dir) && !strcmp(a->driver, b->driver) &&
           !strcmp(a->params, b->params);
}

static int is_new(const apr_array_header_t *probes, const cib_probe_t *probe)
{
    for (int i = 0; i < probes->nelts; i++)
        if (is_same(&APR_ARRAY_IDX(probes, i, cib_probe_t), probe))
            return 0;
    return 1;
}

static int tell(server_rec *s, const cib_verdict_t *verdict)
{
    if (verdict->kind == CIB_VERDICT_WARN)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "%s", verdict->line);
    if (verdict->kind == CIB_VERDICT_STOP)
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "%s", verdict->line);
    return verdict->kind == CIB_VERDICT_STOP ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

/* httpd reads its configuration twice at a start: what the first pass has just looked at, the
 * second need not wait for again. A restart has one pass. */
static int was_just_done(void)
{
    static const char key[] = "ci_builds_probed";
    int *probed = ap_retained_data_get(key);

    if (!probed)
        probed = ap_retained_data_create(key, sizeof(*probed));
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        *probed = 1;
        return 0;
    }
    if (!*probed)
        return 0;
    *probed = 0;
    return 1;
}

int cib_startup_open(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const apr_array_header_t *servers = cib_config_servers(s, ptemp);
    apr_array_header_t *probes = apr_array_make(ptemp, 4, sizeof(cib_probe_t));
    int status = OK;

    if (was_just_done())
        return OK;
    for (int i = 0; i < servers->nelts && status == OK; i++) {
        server_rec *each = APR_ARRAY_IDX(servers, i, server_rec *);
        cib_probe_t probe;
        cib_verdict_t verdict;

        probe.dir = cib_config_text(each, CIB_CONF_STORAGE);
        probe.driver = cib_tree_argument(each, "DBDriver", ptemp);
        probe.params = cib_tree_argument(each, "DBDParams", ptemp);
        if (!is_new(probes, &probe))
            continue;
        APR_ARRAY_PUSH(probes, cib_probe_t) = probe;
        cib_probe_run(&probe, &verdict, ptemp);
        status = tell(each, &verdict);
    }
    return status;
}

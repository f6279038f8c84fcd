/* The directives of a virtual host: parsed, merged, and read through getters that know the
 * defaults, so that those stand in one table (src/server/config.c).
 */
#ifndef CIB_CONFIG_H
#define CIB_CONFIG_H

#include <httpd.h>
#include <http_config.h>

extern module AP_MODULE_DECLARE_DATA ci_builds_module;

void *cib_config_create(apr_pool_t *pool, server_rec *s);
void *cib_config_merge(apr_pool_t *pool, void *base, void *add);

/* The functions behind the directive table of mod_ci_builds.c: NULL or one line that says what is
 * wrong (httpd puts the directive's name and place before it). */
const char *cib_config_set_flag(cmd_parms *cmd, void *dummy, int on);
const char *cib_config_set_text(cmd_parms *cmd, void *dummy, const char *arg); /* Storage, URL */
const char *cib_config_set_size(cmd_parms *cmd, void *dummy, const char *arg);
const char *cib_config_set_duration(cmd_parms *cmd, void *dummy, const char *arg);

/* What a directive sets. */
typedef enum {
    CIB_CONF_ENABLED,           /* CIBuilds */
    CIB_CONF_STORAGE,           /* CIBuildsStorage */
    CIB_CONF_EXTERNAL_URL,      /* CIBuildsExternalURL */
    CIB_CONF_MAX_ARTIFACT_SIZE, /* bytes or CIB_UNLIMITED */
    CIB_CONF_MAX_TRACE_SIZE,    /* bytes or CIB_UNLIMITED */
    CIB_CONF_ARTIFACTS,         /* flag */
    CIB_CONF_ARTIFACT_EXPIRE,   /* microseconds or CIB_UNLIMITED */
    CIB_CONF_STUCK_TIMEOUT,     /* microseconds */
    CIB_CONF_LONG_POLL,         /* microseconds, 0: Off */
    CIB_CONF_ACK_TIMEOUT,       /* microseconds, 0: Off */
    CIB_CONF_HISTORY,           /* microseconds or CIB_UNLIMITED */
    CIB_CONF_MIN_FREE,          /* bytes */
    CIB_CONF_ITEMS
} cib_conf_e;

/* What the functions above take as cmd->info: &cib_config_mark[item]. */
extern char cib_config_mark[CIB_CONF_ITEMS];

/* Numbers and flags, default where not set; and texts, NULL where not set. The storage is absolute;
 * it and the URL have no trailing slash. CIB_CONF_LONG_POLL is always below the server's Timeout
 * (good only once the configuration is read). */
apr_int64_t cib_config_number(const server_rec *s, cib_conf_e item);
const char *cib_config_text(const server_rec *s, cib_conf_e item);

/* The servers with `CIBuilds On`, in the order in which they are written: server_rec *. */
apr_array_header_t *cib_config_servers(server_rec *main_server, apr_pool_t *pool);

/* Was CIBuildsLongPoll written at or above Timeout? */
int cib_config_is_clamped(const server_rec *s);

#endif

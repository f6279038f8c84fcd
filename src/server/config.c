/* Configuration: what each directive may say, its default, and how sections are merged. */
#include <string.h>

#include <apr_strings.h>
#include <apr_uri.h>

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>

#include "server/cib_config.h"
#include "util/cib_text.h"

/* A parked request must be answered before httpd closes its connection. */
#define PARK_MARGIN apr_time_from_sec(1)

#define MEBI(n) ((apr_int64_t)(n)*1024 * 1024)

/* What is not said here is a text, and not set. */
typedef struct cib_item_t {
    apr_int64_t fallback;
    const char *word; /* may stand for a number, and */
    apr_int64_t means;
    apr_int64_t least;
} cib_item_t;

static const cib_item_t items[CIB_CONF_ITEMS] = {
    [CIB_CONF_ENABLED] = {0, NULL, 0, 0},
    [CIB_CONF_STORAGE] = {0, NULL, 0, 0},
    [CIB_CONF_EXTERNAL_URL] = {0, NULL, 0, 0},
    [CIB_CONF_MAX_ARTIFACT_SIZE] = {MEBI(100), "unlimited", CIB_UNLIMITED, 0},
    [CIB_CONF_MAX_TRACE_SIZE] = {MEBI(100), "unlimited", CIB_UNLIMITED, 0},
    [CIB_CONF_ARTIFACTS] = {1, NULL, 0, 0},
    /* 0 would remove everything at once where "never" was meant */
    [CIB_CONF_ARTIFACT_EXPIRE] = {CIB_UNLIMITED, "never", CIB_UNLIMITED, 1},
    [CIB_CONF_STUCK_TIMEOUT] = {3600 * APR_USEC_PER_SEC, NULL, 0, 1},
    [CIB_CONF_LONG_POLL] = {0, "Off", 0, 0},
    [CIB_CONF_ACK_TIMEOUT] = {60 * APR_USEC_PER_SEC, "Off", 0, 0},
    [CIB_CONF_HISTORY] = {CIB_UNLIMITED, "never", CIB_UNLIMITED, 1},
    [CIB_CONF_MIN_FREE] = {MEBI(64), NULL, 0, 0},
};

/* Only their addresses mean anything. */
char cib_config_mark[CIB_CONF_ITEMS];

typedef struct cib_value_t {
    int set;
    apr_int64_t number;
    const char *text;
} cib_value_t;

typedef struct cib_config_t {
    cib_value_t values[CIB_CONF_ITEMS];
} cib_config_t;

void *cib_config_create(apr_pool_t *pool, server_rec *s)
{
    return apr_pcalloc(pool, sizeof(cib_config_t));
}

void *cib_config_merge(apr_pool_t *pool, void *base, void *add)
{
    const cib_config_t *outer = base, *inner = add;
    cib_config_t *merged = apr_palloc(pool, sizeof(*merged));

    for (int i = 0; i < CIB_CONF_ITEMS; i++)
        merged->values[i] = inner->values[i].set ? inner->values[i] : outer->values[i];
    return merged;
}

static cib_config_t *config_of(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &ci_builds_module);
}

static cib_conf_e item_of(const cmd_parms *cmd)
{
    return (cib_conf_e)((const char *)cmd->info - cib_config_mark);
}

static const char *set_number(cmd_parms *cmd, apr_int64_t number)
{
    cib_value_t *value = &config_of(cmd->server)->values[item_of(cmd)];

    value->set = 1;
    value->number = number;
    return NULL;
}

const char *cib_config_set_flag(cmd_parms *cmd, void *dummy, int on)
{
    return set_number(cmd, on != 0);
}

/* --- numbers */

/* " or unlimited", where the item has such a word. */
static const char *or_word(cmd_parms *cmd)
{
    const char *word = items[item_of(cmd)].word;

    return word ? apr_pstrcat(cmd->temp_pool, " or ", word, NULL) : "";
}

static const char *not_understood(cmd_parms *cmd, apr_status_t rv, const char *wanted,
                                  const char *arg)
{
    if (rv == APR_ERANGE)
        return apr_psprintf(cmd->pool, "%s: '%s' is out of range", cmd->cmd->name, arg);
    return apr_psprintf(cmd->pool, "%s takes %s%s, not '%s'", cmd->cmd->name, wanted, or_word(cmd),
                        arg);
}

static const char *set_measure(cmd_parms *cmd, apr_status_t rv, apr_int64_t number,
                               const char *wanted, const char *arg)
{
    const cib_item_t *item = &items[item_of(cmd)];

    if (item->word && !strcasecmp(arg, item->word))
        return set_number(cmd, item->means);
    if (rv != APR_SUCCESS)
        return not_understood(cmd, rv, wanted, arg);
    if (number < item->least)
        return apr_psprintf(cmd->pool, "%s must be above 0%s", cmd->cmd->name, or_word(cmd));
    return set_number(cmd, number);
}

const char *cib_config_set_size(cmd_parms *cmd, void *dummy, const char *arg)
{
    apr_int64_t bytes = 0;
    apr_status_t rv = cib_size_parse(arg, 0, &bytes);

    return set_measure(cmd, rv, bytes, "a size (bytes, or with K, M, G or T: 100M)", arg);
}

const char *cib_config_set_duration(cmd_parms *cmd, void *dummy, const char *arg)
{
    apr_interval_time_t duration = 0;
    apr_status_t rv = cib_duration_parse(arg, &duration);

    return set_measure(cmd, rv, duration, "a duration (seconds, or with ms, s, mi, h or d: 90mi)",
                       arg);
}

/* --- texts */

static const char *strip_slashes(apr_pool_t *pool, const char *text)
{
    apr_size_t len = strlen(text);

    while (len > 1 && text[len - 1] == '/')
        len--;
    return apr_pstrmemdup(pool, text, len);
}

static const char *set_storage(cmd_parms *cmd, cib_value_t *value, const char *arg)
{
    const char *path = *arg ? ap_server_root_relative(cmd->pool, arg) : NULL;

    if (!path)
        return apr_psprintf(cmd->pool, "%s takes a directory, not '%s'", cmd->cmd->name, arg);
    value->text = strip_slashes(cmd->pool, path);
    return NULL;
}

static int is_http_url(const apr_uri_t *uri)
{
    return uri->scheme && (!strcasecmp(uri->scheme, "http") || !strcasecmp(uri->scheme, "https")) &&
           uri->hostname && *uri->hostname && !uri->user && !uri->password && !uri->query &&
           !uri->fragment;
}

static const char *set_url(cmd_parms *cmd, cib_value_t *value, const char *arg)
{
    apr_uri_t uri;

    if (apr_uri_parse(cmd->temp_pool, arg, &uri) != APR_SUCCESS || !is_http_url(&uri))
        return apr_psprintf(cmd->pool, "%s takes a URL such as https://ci.example.com/, not '%s'",
                            cmd->cmd->name, arg);
    value->text = strip_slashes(cmd->pool, arg);
    return NULL;
}

const char *cib_config_set_text(cmd_parms *cmd, void *dummy, const char *arg)
{
    cib_value_t *value = &config_of(cmd->server)->values[item_of(cmd)];
    const char *error =
        item_of(cmd) == CIB_CONF_STORAGE ? set_storage(cmd, value, arg) : set_url(cmd, value, arg);

    value->set = !error;
    return error;
}

/* --- getters */

static apr_int64_t set_or_default(const server_rec *s, cib_conf_e item)
{
    const cib_value_t *value = &config_of(s)->values[item];

    return value->set ? value->number : items[item].fallback;
}

int cib_config_is_clamped(const server_rec *s)
{
    return set_or_default(s, CIB_CONF_LONG_POLL) >= s->timeout;
}

apr_int64_t cib_config_number(const server_rec *s, cib_conf_e item)
{
    if (item == CIB_CONF_LONG_POLL && cib_config_is_clamped(s))
        return s->timeout > 2 * PARK_MARGIN ? s->timeout - PARK_MARGIN : s->timeout / 2;
    return set_or_default(s, item);
}

const char *cib_config_text(const server_rec *s, cib_conf_e item)
{
    return config_of(s)->values[item].text;
}

/* httpd keeps the main server first and the virtual hosts behind it, the last one first. */
apr_array_header_t *cib_config_servers(server_rec *main_server, apr_pool_t *pool)
{
    apr_array_header_t *servers = apr_array_make(pool, 8, sizeof(server_rec *));
    apr_array_header_t *enabled = apr_array_make(pool, 8, sizeof(server_rec *));

    for (server_rec *s = main_server->next; s; s = s->next)
        APR_ARRAY_PUSH(servers, server_rec *) = s;
    APR_ARRAY_PUSH(servers, server_rec *) = main_server;
    for (int i = servers->nelts - 1; i >= 0; i--) {
        server_rec *s = APR_ARRAY_IDX(servers, i, server_rec *);

        if (cib_config_number(s, CIB_CONF_ENABLED))
            APR_ARRAY_PUSH(enabled, server_rec *) = s;
    }
    return enabled;
}

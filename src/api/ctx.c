/* What the rules need at hand, from a virtual host. */
#include <httpd.h>
#include <http_log.h>

#include "api/cib_api.h"
#include "server/cib_config.h"
#include "server/cib_instance.h"

APLOG_USE_MODULE(ci_builds);

static int log_level(cib_log_e level)
{
    switch (level) {
    case CIB_LOG_ERROR:
        return APLOG_ERR;
    case CIB_LOG_WARNING:
        return APLOG_WARNING;
    case CIB_LOG_INFO:
        return APLOG_INFO;
    case CIB_LOG_DEBUG:
        break;
    }
    return APLOG_DEBUG;
}

static void log_of_request(void *baton, cib_log_e level, apr_status_t rv, const char *line)
{
    request_rec *r = baton;

    ap_log_rerror(APLOG_MARK, log_level(level), rv, r, "%s", line);
}

static void log_of_server(void *baton, cib_log_e level, apr_status_t rv, const char *line)
{
    server_rec *s = baton;

    ap_log_error(APLOG_MARK, log_level(level), rv, s, "%s", line);
}

static const cib_limits_t *limits_of(const server_rec *s, apr_pool_t *pool)
{
    cib_limits_t *limits = apr_palloc(pool, sizeof *limits);

    limits->artifacts = cib_config_number(s, CIB_CONF_ARTIFACTS) != 0;
    limits->max_artifact_size = cib_config_number(s, CIB_CONF_MAX_ARTIFACT_SIZE);
    limits->max_trace_size = cib_config_number(s, CIB_CONF_MAX_TRACE_SIZE);
    limits->min_free = cib_config_number(s, CIB_CONF_MIN_FREE);
    limits->artifact_expire = cib_config_number(s, CIB_CONF_ARTIFACT_EXPIRE);
    limits->stuck_timeout = cib_config_number(s, CIB_CONF_STUCK_TIMEOUT);
    limits->ack_timeout = cib_config_number(s, CIB_CONF_ACK_TIMEOUT);
    limits->history = cib_config_number(s, CIB_CONF_HISTORY);
    return limits;
}

/* NULL where the storage cannot be opened now. */
static cib_ctx_t *ctx_of(server_rec *s, apr_pool_t *pool)
{
    const cib_instance_t *instance = cib_instance_of(s);
    cib_ctx_t *ctx;

    if (!instance)
        return NULL;
    ctx = apr_palloc(pool, sizeof *ctx);
    ctx->storage = instance->storage;
    ctx->store = instance->store;
    ctx->gen = instance->gen;
    ctx->idle = instance->idle;
    ctx->source = cib_instance_source(s, pool);
    ctx->limits = limits_of(s, pool);
    ctx->pool = pool;
    return ctx;
}

cib_error_t *cib_api_ctx(request_rec *r, const cib_ctx_t **result)
{
    cib_ctx_t *ctx = ctx_of(r->server, r->pool);

    if (!ctx)
        return cib_error(r->pool, CIB_REASON_UNAVAILABLE, APR_SUCCESS,
                         "the storage directory cannot be opened");
    ctx->log = log_of_request;
    ctx->log_baton = r;
    *result = ctx;
    return CIB_OK;
}

const cib_ctx_t *cib_api_server_ctx(server_rec *s, apr_pool_t *pool)
{
    cib_ctx_t *ctx = ctx_of(s, pool);

    if (ctx) {
        ctx->log = log_of_server;
        ctx->log_baton = s;
    }
    return ctx;
}

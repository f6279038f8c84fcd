/* Bytes on their way are a runner's word, too: without this a slow upload would look like a dead
 * runner. */
#include "internal.h"

typedef struct heartbeat_t {
    cib_sink_t sink;
    const cib_ctx_t *ctx;
    const cib_build_t *build;
    const cib_sink_t *to;
    apr_time_t next;
} heartbeat_t;

static cib_error_t *beat(void *baton, const char *data, apr_size_t len)
{
    heartbeat_t *heart = baton;
    apr_time_t now = apr_time_now();

    if (now >= heart->next) {
        heart->next = now + cib_build_heard_every(heart->ctx);
        CIB_TRY(cib_build_heard(heart->ctx, heart->build));
    }
    return heart->to->write(heart->to->baton, data, len);
}

cib_error_t *cib_call_heartbeat(const cib_call_t *call, const cib_build_t *build,
                                const cib_sink_t **sink)
{
    heartbeat_t *heart = apr_palloc(call->r->pool, sizeof *heart);

    heart->sink.write = beat;
    heart->sink.baton = heart;
    heart->ctx = call->ctx;
    heart->build = build;
    heart->to = *sink;
    heart->next = apr_time_now() + cib_build_heard_every(call->ctx);
    *sink = &heart->sink;
    return cib_build_heard(call->ctx, build);
}

static cib_error_t *drop(void *baton, const char *data, apr_size_t len)
{
    return CIB_OK;
}

const cib_sink_t cib_call_discard = {drop, NULL};

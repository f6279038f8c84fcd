/* What the dialects share: each of these answers with the rules' errors and their plain data; which
 * words, headers and fields a client sees is the dialect's own (v1.h). */
#ifndef CIB_API_INTERNAL_H
#define CIB_API_INTERNAL_H

#include <httpd.h>
#include <http_config.h>
#include "api/cib_api.h"
#include "core/cib_build.h"
#include "core/cib_description.h"
#include "core/cib_queue.h"
#include "core/cib_runner.h"
#include "http/cib_body.h"
#include "http/cib_params.h"
#include "http/cib_park.h"
#include "http/cib_reply.h"
#include "http/cib_route.h"

/* In what a dialect's builds differ from those of the other. */
typedef struct cib_manner_t {
    const char *token_header;  /* where a build's token stands if it is no parameter */
    int project_token_ok;      /* the project's token opens every build of the project */
    const char *status_header; /* what tells the runner how its build stands */
} cib_manner_t;

/* --- one request (call.c) --- */

typedef struct cib_call_t {
    request_rec *r;
    const cib_ctx_t *ctx;
    const cib_manner_t *manner;
    cib_params_t *params;
    const cib_error_t *malformed; /* the request's own fault in form, see cib_call_malformed */
    const cib_error_t *ruled;     /* a plan's error that came back through the parser */
} cib_call_t;

/* Everything lives in r->pool. The parameters are empty still. */
cib_error_t *cib_call_begin(cib_call_t *call, request_rec *r, const cib_manner_t *manner);
/* Query and body into the parameters; `plan` may be NULL. */
cib_error_t *cib_call_read(cib_call_t *call, const cib_body_plan_t *plan);
/* The query alone. */
cib_error_t *cib_call_query(cib_call_t *call);
/* Remember that `err` (or NULL) speaks of the request's form, and return it: such a one is answered
 * as the parsers' own. For the getters of the parameters. */
cib_error_t *cib_call_malformed(cib_call_t *call, cib_error_t *err);
/* Remember that `err` (or NULL) is a rule's, although a parser hands it on, and return it. */
cib_error_t *cib_call_ruled(cib_call_t *call, cib_error_t *err);
/* The answer to an error. */
int cib_call_fail(cib_call_t *call, const cib_error_t *err);

/* --- who asks (auth.c) --- */

/* The token: the parameter, else the header (NULL: there is none). A parameter beats a header, an
 * empty one too. */
cib_error_t *cib_call_token(cib_call_t *call, const char *header, const char **token);
/* The runner whose token the parameter is; FORBIDDEN. */
cib_error_t *cib_call_runner(cib_call_t *call, cib_runner_t **runner);
/* The build of the path, opened by its token: NOTHING (also where the path holds no id), then
 * FORBIDDEN. Log lines name it from here on. */
cib_error_t *cib_call_build(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build);
/* What the runner says of itself, NULL where it says nothing. */
cib_error_t *cib_call_info(cib_call_t *call, cib_runner_info_t **info);

/* --- a build for a runner (claim.c) --- */

/* Claim and describe. `*description` NULL: there is nothing to do, and `claim->last_update` is the
 * value to send. A build that was claimed and cannot be described is never left behind: it goes
 * back, or fails where it can never be described and the next one is tried. */
cib_error_t *cib_call_claim(cib_call_t *call, const cib_runner_t *runner, const char *last_update,
                            cib_claim_t *claim, cib_description_t **description);
/* The same way back for a dialect that cannot describe what was claimed. */
void cib_call_take_back(cib_call_t *call, const cib_build_t *build, const cib_error_t *why);
/* After the answer that hands `build` out was written: where it did not leave, the claim is undone.
 */
void cib_call_handed_out(cib_call_t *call, const cib_build_t *build);

/* --- asking for one (asking.c) --- */

typedef struct cib_asking_t cib_asking_t;

/* The dialect's answer, a handler's result: to an error, a description, or nothing (then
 * `claim.last_update` is the value to send, if any). */
typedef int (*cib_answer_fn)(cib_asking_t *asking, cib_error_t *err);

/* One request for a build, which may wait. Lives in r->pool. */
struct cib_asking_t {
    cib_call_t call;
    cib_claim_t claim;
    cib_description_t *description;
    /* asking.c's own */
    cib_answer_fn answer;
    cib_runner_t *runner; /* as it was when it asked */
    cib_ctx_t looking;    /* the context of looks after waiting, each with its own pool */
    char value[64];       /* the last look's claim.last_update */
    cib_park_order_t order;
};

/* Read the request and answer it. Where the runner sends the queue's current value and
 * CIBuildsLongPoll allows, it is parked until there is something (SUSPENDED). */
int cib_call_ask(request_rec *r, const cib_manner_t *manner, cib_answer_fn answer);

/* --- what a runner sends (heartbeat.c, trace.c, upload.c) --- */

/* The runner speaks: said to the rules now, and again and again while bytes go through the sink
 * that is returned into `to`. */
const cib_sink_t *cib_call_heartbeat(const cib_call_t *call, const cib_build_t *build,
                                     const cib_sink_t *to);
/* A sink for what nobody wants. */
extern const cib_sink_t cib_call_discard;

/* Append the body to the trace of the path's build. `*build` is set from the moment it is opened,
 * `*received` with success and with OUT_OF_RANGE. MISSING: the header Content-Range. */
cib_error_t *cib_call_append(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build,
                             apr_int64_t *received);

/* Take an upload whole or not at all: the part `file` as `type` and `format`, the part `metadata`
 * beside it. What can be refused unread is refused unread. */
cib_error_t *cib_call_upload(cib_call_t *call, const cib_route_match_t *match, const char *type,
                             const char *format, cib_build_t **build);

/* The SHA-256 (hex, lower case) that the client announced of what it sends, NULL: none. INVALID:
 * malformed, or two that differ. */
cib_error_t *cib_call_digest(const cib_call_t *call, const char **sha256);

/* --- what a client is told (json.c, url.c) --- */

/* A JSON object in the making. It counts what memory refused instead of making every line ask. */
typedef struct cib_json_t {
    json_object *object;
    int failed;
} cib_json_t;

cib_json_t cib_json_begin(void);
/* `value` is consumed; NULL is null. */
void cib_json_put(cib_json_t *json, const char *key, json_object *value);
void cib_json_text(cib_json_t *json, const char *key, const char *value);
void cib_json_int(cib_json_t *json, const char *key, apr_int64_t value);
void cib_json_flag(cib_json_t *json, const char *key, int value);
/* `list` grows by an object. */
void cib_json_append(cib_json_t *json, json_object *list, cib_json_t *member);
/* The object, the caller's now; INTERNAL where memory was short, and then it is gone. */
cib_error_t *cib_json_end(cib_json_t *json, json_object **object, apr_pool_t *pool);

/* A URL of this server for `path`, which begins with a slash. */
const char *cib_call_url(request_rec *r, const char *path);

#endif

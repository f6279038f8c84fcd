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
#include "core/cib_trace.h"
#include "http/cib_body.h"
#include "http/cib_params.h"
#include "http/cib_park.h"
#include "http/cib_reply.h"
#include "http/cib_route.h"

/* In what a dialect's builds differ from those of the other. */
typedef struct cib_manner_t {
    const char *token_header;  /* where a build's token stands if it is no parameter */
    int also_opens;            /* whose token does, too: CIB_OPEN_... */
    const char *status_header; /* what tells the runner how its build stands */
    int only_running;          /* a build that does not run takes nothing, and whether there is one
                                  is not told: WRONG_TOKEN where v1 has NOTHING (v4) */
    int missing_is_error; /* a required parameter that is missing: {"error":"token is missing"} */
    const char *not_running; /* the words for these two reasons; NULL: the rules' own */
    const char *erased;
    const char *bad_request; /* what a 400 says before its reason; NULL: as v1 says it */
    int also_reads;          /* whose token fetches a build's artifacts, too: CIB_OPEN_... */
    int typed_artifacts;     /* an upload says its type and format, and does not replace what this
                                claim has brought (v4); else it is the archive and the last counts */
    const char *allow_no_upload; /* the methods left for artifacts where uploads are switched off */
} cib_manner_t;

/* --- one request (call.c) --- */

typedef struct cib_call_t {
    request_rec *r;
    const cib_ctx_t *ctx;
    const cib_manner_t *manner;
    cib_params_t *params;
    const char *token;            /* the last that was looked at, right or wrong; NULL: none */
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
/* The parameter, which is a runner's; MISSING where the manner has it. */
cib_error_t *cib_call_runner_token(cib_call_t *call, const char **token);
/* The runner whose token that is; WRONG_TOKEN. */
cib_error_t *cib_call_runner(cib_call_t *call, cib_runner_t **runner);
/* The parameter `token`: MISSING where there is none. An empty one is one, and wrong. */
cib_error_t *cib_call_required_token(cib_call_t *call, const char **token);
/* The build of the path, opened by its token or one that `also` (CIB_OPEN_...) opens it: NOTHING
 * (also where the path holds no id), then WRONG_TOKEN, FORBIDDEN, ERASED. Log lines name it from
 * here on. */
cib_error_t *cib_call_open(cib_call_t *call, const cib_route_match_t *match, int also,
                           cib_build_t **build);
/* The same as the manner has it, for what changes a build: NOT_RUNNING too, with the header that
 * says how it stands. */
cib_error_t *cib_call_build(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build);
/* What the runner says of itself, `system_id` too; NULL where it says nothing. */
cib_error_t *cib_call_info(cib_call_t *call, cib_runner_info_t **info);

/* --- a runner that registers (registration.c) --- */

/* What every dialect knows of one: description, tag_list, run_untagged, locked, info. What is not
 * given stays as it is in `fresh`. */
cib_error_t *cib_call_new_runner(cib_call_t *call, cib_runner_new_t *fresh);
/* A flag, likewise. */
cib_error_t *cib_call_flag(cib_call_t *call, const char *name, int *value);

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

/* In what a dialect's answers to such a request differ. */
typedef struct cib_asking_manner_t {
    /* A build as JSON. */
    cib_error_t *(*describe)(const cib_description_t *description, json_object **object,
                             apr_pool_t *pool);
    /* The answer where there is nothing; X-GitLab-Last-Update is set already. */
    int (*nothing)(request_rec *r);
    int paused_is_told; /* a paused runner is heard and told the queue's value as others are; where
                           not it is refused, NOTHING */
} cib_asking_manner_t;

/* Read the request, claim, describe and answer. Where the runner sends the queue's current value
 * and CIBuildsLongPoll allows, it is parked until there is something (SUSPENDED). */
int cib_call_ask(request_rec *r, const cib_manner_t *manner, const cib_asking_manner_t *asked);

/* --- a runner's word of its build (word.c) --- */

typedef struct cib_word_t cib_word_t;

/* One PUT. Lives in r->pool. */
struct cib_word_t {
    cib_call_t call; /* `r` set by the caller, and the next two */
    const cib_route_match_t *match;
    /* The dialect's: take the token out of the parameters, and set `build`, which runs and is the
     * speaker's. Called anew each time that this has to be known. */
    cib_error_t *(*identify)(cib_word_t *word);
    cib_runner_t *runner; /* the dialect's own */
    cib_build_t *build;
    cib_ending_t ending; /* what it says, for cib_word_take */
    cib_ended_e ended;
    int late; /* since it was identified somebody else has ended the build, or has it now */
    /* word.c's own */
    cib_trace_replace_t *replace; /* NULL: no trace is taken */
    apr_int64_t claim;            /* whose trace it is */
};

/* Read the request and identify. The trace, if there is one, is spooled as it comes, wherever in
 * the body it stands; nobody sees it yet. */
cib_error_t *cib_word_read(cib_word_t *word, const cib_manner_t *manner);
/* Take the trace and the ending: `ended` and `late` are set. */
cib_error_t *cib_word_take(cib_word_t *word);

/* --- what a runner sends (heartbeat.c, trace.c, upload.c) --- */

/* The runner speaks: said to the rules now, and again and again while bytes go through `*sink`,
 * which is put in front of what it was. What cib_build_heard returns. */
cib_error_t *cib_call_heartbeat(const cib_call_t *call, const cib_build_t *build,
                                const cib_sink_t **sink);
/* A sink for what nobody wants. */
extern const cib_sink_t cib_call_discard;

/* The whole request of one who appends to the trace of the path's build. `*range` is the text of
 * the header `Range`, which is set, with success and with OUT_OF_RANGE; with success the header is
 * set, too, that says how the build stands. MISSING: the header Content-Range. */
cib_error_t *cib_call_append(cib_call_t *call, const cib_manner_t *manner,
                             const cib_route_match_t *match, cib_build_t **build,
                             const char **range);

/* The type (and format) of artifact that the request is about: the archive (a zip) where it does
 * not say or the manner knows no other. INVALID. */
cib_error_t *cib_call_type(cib_call_t *call, const char **type);
cib_error_t *cib_call_kind(cib_call_t *call, const char **type, const char **format);

/* Take an upload whole or not at all: the part `file`, and the part `metadata` beside an archive.
 * What can be refused unread is refused unread. */
cib_error_t *cib_call_upload(cib_call_t *call, const cib_route_match_t *match, cib_build_t **build);

/* The SHA-256 (hex, lower case) that the client announced of what it sends, NULL: none. INVALID:
 * malformed, or two that differ. */
cib_error_t *cib_call_digest(const cib_call_t *call, const char **sha256);

/* --- artifacts (artifacts.c) --- */

/* The whole request of one who asks whether an upload would be taken: the error it would get. */
cib_error_t *cib_call_authorize(cib_call_t *call, const cib_manner_t *manner,
                                const cib_route_match_t *match);
/* The whole request of one who fetches an artifact, and its answer. */
int cib_call_download(request_rec *r, const cib_manner_t *manner, const cib_route_match_t *match);

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
/* `member` is consumed. */
void cib_json_object(cib_json_t *json, const char *key, cib_json_t *member);
/* What json_object_new_array() gave, consumed: a list that is never null. */
void cib_json_list(cib_json_t *json, const char *key, json_object *list);
/* `list` grows by an object. */
void cib_json_append(cib_json_t *json, json_object *list, cib_json_t *member);
/* What stands at a key of any object: NULL where nothing does, or null. */
json_object *cib_json_get(json_object *object, const char *key);
/* The object, the caller's now; INTERNAL where memory was short, and then it is gone. */
cib_error_t *cib_json_end(cib_json_t *json, json_object **object, apr_pool_t *pool);

/* {"id", "token"}, to go on with; without `id` where that is 0 (registration.c). */
cib_json_t cib_call_credentials(apr_int64_t id, const char *token);

/* A URL of this server for `path`, which begins with a slash. */
const char *cib_call_url(request_rec *r, const char *path);

#endif

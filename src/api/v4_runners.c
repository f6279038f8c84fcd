/* /api/v4/runners */
#include <string.h>

#include <apr_date.h>

#include "v4.h"

/* --- every request --- */

static cib_error_t *begin(cib_call_t *call, const char **token)
{
    CIB_TRY(cib_call_begin(call, call->r, &cib_v4_manner));
    CIB_TRY(cib_call_read(call, NULL));
    return cib_call_required_token(call, token);
}

/* What a runner keeps of itself. Tokens of ours do not expire. */
static cib_error_t *credentials(const cib_call_t *call, apr_int64_t id, const char *token,
                                json_object **answer)
{
    cib_json_t json = cib_call_credentials(id, token);

    cib_json_text(&json, "token_expires_at", NULL);
    return cib_json_end(&json, answer, call->r->pool);
}

/* --- register --- */

static cib_error_t *malformed(cib_call_t *call, const char *what)
{
    return cib_call_malformed(
        call, cib_error(call->r->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s", what));
}

/* The older name and the newer one of the same thing. */
static cib_error_t *read_paused(cib_call_t *call, int *value)
{
    int active = -1, paused = -1;

    CIB_TRY(cib_call_flag(call, "active", &active));
    CIB_TRY(cib_call_flag(call, "paused", &paused));
    if (active >= 0 && paused >= 0)
        return malformed(call, "active, paused are mutually exclusive");
    *value = active == 0 || paused > 0;
    return CIB_OK;
}

/* There are no protected refs here: it is looked at and dropped. */
static cib_error_t *read_access_level(cib_call_t *call)
{
    const char *level = NULL;

    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "access_level", &level)));
    if (level && strcmp(level, "not_protected") && strcmp(level, "ref_protected"))
        return malformed(call, "access_level does not have a valid value");
    return CIB_OK;
}

/* None at all is no limit; 0 is one, and as wrong as any other below the least. */
static cib_error_t *read_maximum_timeout(cib_call_t *call, int *seconds)
{
    apr_int64_t given = APR_INT64_MAX;

    CIB_TRY(cib_call_malformed(call, cib_params_int(call->params, "maximum_timeout", &given)));
    if (given == APR_INT64_MAX)
        return CIB_OK;
    if (given > APR_INT32_MAX)
        return malformed(call, "maximum_timeout is invalid");
    *seconds = given > 0 ? (int)given : -1;
    return CIB_OK;
}

static cib_error_t *read_runner(cib_call_t *call, cib_runner_new_t *fresh)
{
    CIB_TRY(cib_call_new_runner(call, fresh));
    CIB_TRY(read_paused(call, &fresh->paused));
    CIB_TRY(read_access_level(call));
    return read_maximum_timeout(call, &fresh->maximum_timeout);
}

/* One member of a record's refusal: the name of a field, and a list of what is wrong with it. */
static void complain(cib_json_t *faults, const char *field, const char *what)
{
    json_object *list = json_object_new_array();

    if (list && json_object_array_add(list, json_object_new_string(what)))
        faults->failed = 1;
    cib_json_list(faults, field, list);
}

static cib_error_t *refuse(const cib_call_t *call, const cib_runner_new_t *fresh,
                           json_object **answer)
{
    int faults = cib_runner_faults(fresh, call->r->pool);
    cib_json_t json = cib_json_begin();
    cib_json_t members = cib_json_begin();

    if (faults & CIB_RUNNER_TAGS_MALFORMED)
        complain(&members, "tags_list", "is invalid");
    if (faults & CIB_RUNNER_TAGS_EMPTY)
        complain(&members, "tags_list",
                 "can not be empty when runner is not allowed to pick untagged jobs");
    if (faults & CIB_RUNNER_TIMEOUT_SHORT)
        complain(&members, "maximum_timeout", "needs to be at least 10 minutes");
    cib_json_object(&json, "message", &members);
    return cib_json_end(&json, answer, call->r->pool);
}

static cib_error_t *register_runner(cib_call_t *call, int *status, json_object **answer)
{
    /* GitLab 10 and later look at `locked` for runners of projects only, and runners since then
     * send it unless told otherwise: locked as v1 has it, a shared one would be given nothing */
    cib_runner_new_t fresh = {.run_untagged = 1, .shared_unlocked = 1};
    const char *registration, *token;
    cib_error_t *err;
    apr_int64_t id;

    CIB_TRY(begin(call, &registration));
    CIB_TRY(read_runner(call, &fresh));
    err = cib_runner_register(call->ctx, registration, &fresh, &id, &token);
    *status = HTTP_BAD_REQUEST;
    if (err && err->reason == CIB_REASON_INVALID)
        return refuse(call, &fresh, answer);
    CIB_TRY(err);
    *status = HTTP_CREATED;
    return credentials(call, id, token, answer);
}

int cib_v4_runners_register(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    json_object *answer = NULL;
    int status;
    cib_error_t *err = register_runner(&call, &status, &answer);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, status, answer);
}

/* --- verify --- */

static cib_error_t *verify(cib_call_t *call, json_object **answer)
{
    cib_runner_info_t *info;
    cib_runner_t *runner;
    const char *token;

    CIB_TRY(begin(call, &token));
    CIB_TRY(cib_call_info(call, &info));
    CIB_TRY(cib_runner_authenticate(call->ctx, token, &runner));
    CIB_TRY(cib_runner_contact(call->ctx, runner, info));
    return credentials(call, runner->id, token, answer);
}

int cib_v4_runners_verify(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    json_object *answer = NULL;
    cib_error_t *err = verify(&call, &answer);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_OK, answer);
}

/* --- delete --- */

/* Was the runner heard of, or made, since the time that the client names? To the second, as the
 * header is; one that is no date says nothing. */
static int is_changed_since(const cib_runner_t *runner, const char *header)
{
    apr_time_t since = header ? apr_date_parse_http(header) : APR_DATE_BAD;
    apr_time_t changed = runner->contacted_at ? runner->contacted_at : runner->created_at;

    return since != APR_DATE_BAD && apr_time_sec(changed) > apr_time_sec(since);
}

static cib_error_t *remove_runner(cib_call_t *call, int *status)
{
    cib_runner_t *runner;
    const char *token;

    CIB_TRY(begin(call, &token));
    CIB_TRY(cib_runner_authenticate(call->ctx, token, &runner));
    *status = HTTP_PRECONDITION_FAILED;
    if (is_changed_since(runner, apr_table_get(call->r->headers_in, "If-Unmodified-Since")))
        return CIB_OK;
    *status = HTTP_NO_CONTENT;
    return cib_runner_remove(call->ctx, runner->id);
}

int cib_v4_runners_delete(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    int status;
    cib_error_t *err = remove_runner(&call, &status);

    if (err)
        return cib_call_fail(&call, err);
    return status == HTTP_NO_CONTENT ? cib_reply_empty(r, status) : cib_reply_status(r, status);
}

/* One machine goes, the runner stays. */
static cib_error_t *forget_machine(cib_call_t *call)
{
    const char *token, *system_id = NULL;
    cib_runner_t *runner;

    CIB_TRY(begin(call, &token));
    CIB_TRY(cib_call_malformed(call, cib_params_text(call->params, "system_id", &system_id)));
    if (!system_id)
        return malformed(call, "system_id is missing");
    CIB_TRY(cib_runner_authenticate(call->ctx, token, &runner));
    return cib_runner_forget_machine(call->ctx, runner->id, system_id);
}

int cib_v4_runners_forget_machine(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    cib_error_t *err = forget_machine(&call);

    return err ? cib_call_fail(&call, err) : cib_reply_empty(r, HTTP_NO_CONTENT);
}

/* --- reset the token --- */

static cib_error_t *reset_token(cib_call_t *call, json_object **answer)
{
    cib_runner_t *runner;
    const char *old, *token;

    CIB_TRY(begin(call, &old));
    CIB_TRY(cib_runner_authenticate(call->ctx, old, &runner));
    CIB_TRY(cib_runner_reset(call->ctx, runner->id, old, &token));
    return credentials(call, 0, token, answer);
}

int cib_v4_runners_reset_token(request_rec *r, const cib_route_match_t *match)
{
    cib_call_t call = {.r = r};
    json_object *answer = NULL;
    cib_error_t *err = reset_token(&call, &answer);

    return err ? cib_call_fail(&call, err) : cib_reply_json(r, HTTP_CREATED, answer);
}

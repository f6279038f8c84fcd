/* Runners: who they are, and when they were last heard of. */
#ifndef CIB_RUNNER_H
#define CIB_RUNNER_H

#include "core/cib_ctx.h"

/* How old a contact time may grow before it is written again, and when a runner is online. */
#define CIB_CONTACT_EVERY apr_time_from_sec(60)
#define CIB_ONLINE_WITHIN CIB_RUNNER_ONLINE

/* What a runner says of itself; NULL texts and a NULL pointer are no difference. */
typedef struct cib_runner_info_t {
    const char *name;
    const char *version;
    const char *revision;
    const char *platform;
    const char *architecture;
} cib_runner_info_t;

typedef struct cib_runner_new_t {
    const char *description;
    const apr_array_header_t *tags; /* const char *; NULL: none */
    int run_untagged;
    int locked;
    const cib_runner_info_t *info; /* NULL: none */
} cib_runner_new_t;

/* POST runners/register: the instance's registration token makes a shared runner, a project's token
 * one for that project. FORBIDDEN: neither; NOTHING: refused (no tags and no untagged; malformed
 * tags). */
cib_error_t *cib_runner_register(const cib_ctx_t *ctx, const char *token,
                                 const cib_runner_new_t *fresh, apr_int64_t *id,
                                 const char **runner_token);

/* `runner add`: for the projects (apr_int64_t) or shared. `imported` NULL: a random token. INVALID,
 * NO_RECORD (a project), CONFLICT (token in use). */
cib_error_t *cib_runner_add(const cib_ctx_t *ctx, const cib_runner_new_t *fresh, int shared,
                            const apr_array_header_t *project_ids, const char *imported,
                            apr_int64_t *id, const char **token);

/* Whose token is it? FORBIDDEN where it is nobody's (or NULL or empty). */
cib_error_t *cib_runner_authenticate(const cib_ctx_t *ctx, const char *token,
                                     cib_runner_t **runner);
/* A runner spoke: renew the contact time when it is older than CIB_CONTACT_EVERY, store `info` with
 * it, and at once when it differs (but at most once a minute after five changes). Costs no write
 * otherwise. Updates `runner` too. */
cib_error_t *cib_runner_contact(const cib_ctx_t *ctx, cib_runner_t *runner,
                                const cib_runner_info_t *info);

cib_error_t *cib_runner_get(const cib_ctx_t *ctx, apr_int64_t id, cib_runner_t **runner);
cib_error_t *cib_runner_list(const cib_ctx_t *ctx, apr_array_header_t **runners);
/* apr_int64_t, by id. */
cib_error_t *cib_runner_projects(const cib_ctx_t *ctx, apr_int64_t id, apr_array_header_t **ids);
/* Settings (description, active, locked, run_untagged, tags); raises this runner's generation.
 * INVALID: no tags and no untagged. */
cib_error_t *cib_runner_set(const cib_ctx_t *ctx, const cib_runner_t *runner);
cib_error_t *cib_runner_bind(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t project_id);
cib_error_t *cib_runner_rotate(const cib_ctx_t *ctx, apr_int64_t id, const char **token);
/* Its running builds fail as `runner_lost`; history keeps its id. */
cib_error_t *cib_runner_remove(const cib_ctx_t *ctx, apr_int64_t id);

/* "not_connected", "paused", "online", "offline". */
const char *cib_runner_status(const cib_runner_t *runner, apr_time_t now);

#endif

/* Runners: who they are, and when they were last heard of. */
#ifndef CIB_RUNNER_H
#define CIB_RUNNER_H

#include "core/cib_ctx.h"
#include "core/cib_token.h"

/* The shortest limit that a runner may set to its builds, seconds. */
#define CIB_RUNNER_TIMEOUT_MIN 600
/* So many machines of a runner are remembered, and for so long after their last word. */
#define CIB_MACHINES_MAX 100
#define CIB_MACHINE_FORGOTTEN apr_time_from_sec(7 * 24 * 3600)

/* How old a contact time may grow before it is written again, and when a runner is online. */
#define CIB_CONTACT_EVERY apr_time_from_sec(60)
#define CIB_ONLINE_WITHIN CIB_RUNNER_ONLINE

/* What a runner says of itself; NULL texts and a NULL pointer are no difference. */
typedef struct cib_runner_info_t {
    const char *system_id; /* which of the machines that share its token it is */
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
    int shared_unlocked; /* `locked` is for a runner of a project, a shared one is not (v4) */
    int paused;
    int maximum_timeout;           /* seconds, at least CIB_RUNNER_TIMEOUT_MIN; 0: none */
    const cib_runner_info_t *info; /* NULL: none */
} cib_runner_new_t;

/* What is wrong with one, each a bit. */
#define CIB_RUNNER_TAGS_MALFORMED 1 /* see cib_tags.h */
#define CIB_RUNNER_TAGS_EMPTY 2     /* no tags and no untagged: it would take nothing */
#define CIB_RUNNER_TIMEOUT_SHORT 4
int cib_runner_faults(const cib_runner_new_t *fresh, apr_pool_t *pool);

/* POST runners/register: the instance's registration token makes a shared runner, a project's token
 * one for that project. WRONG_TOKEN: neither, which is said first and costs no write; INVALID:
 * cib_runner_faults. */
cib_error_t *cib_runner_register(const cib_ctx_t *ctx, const char *token,
                                 const cib_runner_new_t *fresh, apr_int64_t *id,
                                 const char **runner_token);

/* `runner add`: for the projects (apr_int64_t) or shared. `imported` NULL: a random token of the
 * kind CIB_TOKEN_CREATED. INVALID,
 * NO_RECORD (a project), CONFLICT (token in use). */
cib_error_t *cib_runner_add(const cib_ctx_t *ctx, const cib_runner_new_t *fresh, int shared,
                            const apr_array_header_t *project_ids, const char *imported,
                            apr_int64_t *id, const char **token);

/* Whose token is it? WRONG_TOKEN where it is nobody's (or NULL or empty). */
cib_error_t *cib_runner_authenticate(const cib_ctx_t *ctx, const char *token,
                                     cib_runner_t **runner);
/* A runner spoke, and with `info->system_id` (cut to 64 bytes) one of its machines: renew the
 * contact time of each when it is older than CIB_CONTACT_EVERY, store `info` with it, and at once
 * when it differs (but at most once a minute after five changes) or the machine is a new one (but
 * at most once a minute beyond CIB_MACHINES_MAX). Costs no write otherwise. Updates `runner` too.
 */
cib_error_t *cib_runner_contact(const cib_ctx_t *ctx, cib_runner_t *runner,
                                const cib_runner_info_t *info);

cib_error_t *cib_runner_get(const cib_ctx_t *ctx, apr_int64_t id, cib_runner_t **runner);
cib_error_t *cib_runner_list(const cib_ctx_t *ctx, apr_array_header_t **runners);
/* apr_int64_t, by id. */
cib_error_t *cib_runner_projects(const cib_ctx_t *ctx, apr_int64_t id, apr_array_header_t **ids);
/* cib_machine_t *, the last heard of first. */
cib_error_t *cib_runner_machines(const cib_ctx_t *ctx, apr_int64_t id,
                                 apr_array_header_t **machines);
/* "online", "offline". */
const char *cib_machine_status(const cib_machine_t *machine, apr_time_t now);
/* Forget one; NO_RECORD where it is not known. */
cib_error_t *cib_runner_forget_machine(const cib_ctx_t *ctx, apr_int64_t id, const char *system_id);
/* What is to change of a runner's settings. NULL and -1: that stays as it is, whatever somebody
 * else makes of it meanwhile. */
typedef struct cib_runner_change_t {
    const char *description;
    const apr_array_header_t *tags; /* const char * */
    int active;
    int locked;
    int run_untagged;
    int maximum_timeout; /* seconds, 0: none */
} cib_runner_change_t;
#define CIB_RUNNER_UNCHANGED                                                                       \
    {                                                                                              \
        .active = -1, .locked = -1, .run_untagged = -1, .maximum_timeout = -1                      \
    }

/* Raises this runner's generation. INVALID: no tags and no untagged, or too short a timeout. */
cib_error_t *cib_runner_set(const cib_ctx_t *ctx, apr_int64_t id,
                            const cib_runner_change_t *change);
cib_error_t *cib_runner_bind(const cib_ctx_t *ctx, apr_int64_t id, apr_int64_t project_id);
/* A new token of the kind, the old one opens nothing from then on. */
cib_error_t *cib_runner_rotate(const cib_ctx_t *ctx, apr_int64_t id, cib_runner_token_e kind,
                               const char **token);
/* The same for a runner that asks with the old one, of the old one's kind. FORBIDDEN: somebody was
 * quicker to reset or to remove it. */
cib_error_t *cib_runner_reset(const cib_ctx_t *ctx, apr_int64_t id, const char *old,
                              const char **token);
/* Its running builds fail as `runner_lost`, one that it is being given at this moment in the next
 * turn of upkeep; history keeps its id. */
cib_error_t *cib_runner_remove(const cib_ctx_t *ctx, apr_int64_t id);

/* "not_connected", "paused", "online", "offline". */
const char *cib_runner_status(const cib_runner_t *runner, apr_time_t now);

#endif

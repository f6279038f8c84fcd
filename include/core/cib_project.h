/* Projects: where builds come from. */
#ifndef CIB_PROJECT_H
#define CIB_PROJECT_H

#include "core/cib_ctx.h"

#define CIB_PROJECT_TIMEOUT 3600

/* Add a project; id, rotation and token_sealed of `project` are not read. `imported` NULL: a
 * derived token. `*token` takes it. INVALID, CONFLICT (an imported token that is in use). */
cib_error_t *cib_project_add(const cib_ctx_t *ctx, const cib_project_t *project,
                             const char *imported, apr_int64_t *id, const char **token);
/* NO_RECORD where there is none. */
cib_error_t *cib_project_get(const cib_ctx_t *ctx, apr_int64_t id, cib_project_t **project);
cib_error_t *cib_project_list(const cib_ctx_t *ctx, apr_array_header_t **projects);
/* What is to change of a project's settings. NULL and -1: that stays as it is, whatever somebody
 * else makes of it meanwhile. */
typedef struct cib_project_change_t {
    const char *name;
    const char *repo_url;
    int repo_auth_token;
    int timeout; /* seconds, 0: the default */
    int allow_git_fetch;
    int shared_runners_enabled;
    int builds_enabled;
} cib_project_change_t;
#define CIB_PROJECT_UNCHANGED                                                                      \
    {                                                                                              \
        .repo_auth_token = -1, .timeout = -1, .allow_git_fetch = -1, .shared_runners_enabled = -1, \
        .builds_enabled = -1                                                                       \
    }

/* Raises everybody's generation. INVALID. */
cib_error_t *cib_project_set(const cib_ctx_t *ctx, apr_int64_t id,
                             const cib_project_change_t *change);
cib_error_t *cib_project_token(const cib_ctx_t *ctx, const cib_project_t *project,
                               const char **token);
cib_error_t *cib_project_rotate(const cib_ctx_t *ctx, apr_int64_t id, const char **token);
/* Cancel what is pending or running, remove its builds with their files, then the project; in
 * batches, so that httpd is served in between; may be run again after a kill. */
cib_error_t *cib_project_remove(const cib_ctx_t *ctx, apr_int64_t id);

#endif

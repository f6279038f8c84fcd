/* Everything a runner is told about its build, in no dialect: src/api renders it as v1 or v4.
 *
 * Of the options, these keys have been checked, and brought into one form each (null is as good as
 * absent): `image` is an object with a name, `services` a list of such, their `ports` objects,
 * their `pull_policy` a list; `artifacts` and `cache` are lists of objects; the `reports` of an
 * entry are lists of paths by type, `coverage_report` among them as the type that it names; of all
 * entries one at most asks for an archive (paths or untracked), and one for each report;
 * `dependencies` and `after_script` are lists of texts. `before_script` is part of `commands`. All
 * other keys are as they were given.
 */
#ifndef CIB_DESCRIPTION_H
#define CIB_DESCRIPTION_H

#include <json-c/json.h>
#include "core/cib_ctx.h"
#include "core/cib_queue.h"

/* A build it depends on. */
typedef struct cib_dependency_t {
    cib_build_t *build;
    const char *token;
    cib_artifact_t *archive; /* NULL: none, or expired */
} cib_dependency_t;

typedef struct cib_description_t {
    cib_build_t *build;
    cib_project_t *project;
    cib_runner_t *runner;       /* NULL: gone */
    const char *runner_version; /* as its row has it, which may lag behind; whoever knows better may
                                   say so. NULL: it never said */
    const char *token;          /* the build's, of this claim */
    const char *repo_url;       /* with user info where the project wants it */
    const char *commands;       /* with those of before_script in front */
    int timeout;             /* seconds: the build's, or its runner's limit where that is shorter */
    json_object *options;    /* see above; owned by the description's pool */
    json_object *wanted;     /* the entry of `artifacts` that asks for an archive, NULL: none */
    cib_artifact_t *archive; /* its own, NULL: none */
    apr_array_header_t *variables;    /* cib_variable_t *, plain: the build's public ones, then its
                                         secret ones; the predefined ones are the dialect's to name */
    apr_array_header_t *dependencies; /* cib_dependency_t *, by id */
} cib_description_t;

/* Describe a claimed build. NO_RECORD; UNAVAILABLE where the database does not say; INTERNAL where
 * what it says is of no use, and never will be. */
cib_error_t *cib_describe(const cib_ctx_t *ctx, apr_int64_t build_id,
                          cib_description_t **description);
/* The same of what was just claimed, in the same context. */
cib_error_t *cib_describe_claim(const cib_ctx_t *ctx, const cib_claim_t *claim,
                                cib_description_t **description);

/* A ref as a slug: lower case, all but a-z 0-9 become "-", cut to 63, no "-" at the ends. */
const char *cib_ref_slug(const char *ref, apr_pool_t *pool);
/* A URL without its user info. */
const char *cib_url_without_user(const char *url, apr_pool_t *pool);

#endif

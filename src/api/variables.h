/* The variables of a build as plain data, before a dialect writes them: the predefined ones by
 * group, and the build's own. Of two with one key the runner takes the later. */
#ifndef CIB_API_VARIABLES_H
#define CIB_API_VARIABLES_H

#include "core/cib_description.h"

typedef struct cib_told_t {
    const char *key;
    const char *value;
    int is_public;
    int is_masked; /* the runner is to hide the value in the trace */
    int is_file;
    int is_raw;
} cib_told_t;

/* A list (cib_told_t) to grow. All that these functions put into it lives in its pool, or in that
 * of the description. */
apr_array_header_t *cib_told_make(apr_pool_t *pool);
/* One that everybody may see; NULL is "". */
void cib_told_text(apr_array_header_t *told, const char *key, const char *value);
void cib_told_number(apr_array_header_t *told, const char *key, apr_int64_t value);
/* One that is no public one, masked or not. */
void cib_told_private(apr_array_header_t *told, const char *key, const char *value, int masked);

/* CI and GITLAB_CI */
void cib_told_ci(apr_array_header_t *told);
/* CI_SERVER_NAME, _VERSION and _REVISION */
void cib_told_server(apr_array_header_t *told);
/* CI_BUILD_ID ... CI_BUILD_STAGE: the build as it was called up to 8.17 */
void cib_told_old_build(apr_array_header_t *told, const cib_description_t *about);
/* CI_BUILD_TAG where it is one */
void cib_told_old_tag(apr_array_header_t *told, const cib_description_t *about);
/* CI_PROJECT_ID, _NAME, _PATH and _URL, and CI_PIPELINE_ID */
void cib_told_project(apr_array_header_t *told, const cib_description_t *about);
/* CI_RUNNER_ID, _DESCRIPTION and _TAGS, where the runner is there */
void cib_told_runner(apr_array_header_t *told, const cib_description_t *about);
/* the build's own: public ones, then secret ones */
void cib_told_own(apr_array_header_t *told, const cib_description_t *about);

/* The build's commit before, forty zeros where it has none. */
const char *cib_told_before_sha(const cib_build_t *build);

#endif

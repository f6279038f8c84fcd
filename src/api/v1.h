/* The dialect of /ci/api/v1/: its handlers, one file per resource. */
#ifndef CIB_API_V1_H
#define CIB_API_V1_H

#include "internal.h"

extern const cib_manner_t cib_v1_manner;

/* v1_builds.c */
int cib_v1_builds_register(request_rec *r, const cib_route_match_t *match);
int cib_v1_build_update(request_rec *r, const cib_route_match_t *match);
/* v1_trace.c */
int cib_v1_trace_append(request_rec *r, const cib_route_match_t *match);
/* v1_artifacts.c */
int cib_v1_artifacts_authorize(request_rec *r, const cib_route_match_t *match);
int cib_v1_artifacts_upload(request_rec *r, const cib_route_match_t *match);
int cib_v1_artifacts_download(request_rec *r, const cib_route_match_t *match);
int cib_v1_artifacts_delete(request_rec *r, const cib_route_match_t *match);
/* v1_runners.c */
int cib_v1_runners_register(request_rec *r, const cib_route_match_t *match);
int cib_v1_runners_delete(request_rec *r, const cib_route_match_t *match);

/* A build as GitLab 8.17 describes it (v1_describe.c); INTERNAL where memory is short. */
cib_error_t *cib_v1_describe(const cib_description_t *description, json_object **object,
                             apr_pool_t *pool);

#endif

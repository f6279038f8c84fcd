/* The dialect of /api/v4/: its handlers, one file per resource. */
#ifndef CIB_API_V4_H
#define CIB_API_V4_H

#include "internal.h"

extern const cib_manner_t cib_v4_manner;

/* A build as GitLab 14 describes it (v4_describe.c); INTERNAL where memory is short. */
cib_error_t *cib_v4_describe(const cib_description_t *description, json_object **object,
                             apr_pool_t *pool);

/* v4_runners.c */
int cib_v4_runners_register(request_rec *r, const cib_route_match_t *match);
int cib_v4_runners_verify(request_rec *r, const cib_route_match_t *match);
int cib_v4_runners_delete(request_rec *r, const cib_route_match_t *match);
int cib_v4_runners_forget_machine(request_rec *r, const cib_route_match_t *match);
int cib_v4_runners_reset_token(request_rec *r, const cib_route_match_t *match);
/* v4_jobs.c */
int cib_v4_jobs_request(request_rec *r, const cib_route_match_t *match);
int cib_v4_job_update(request_rec *r, const cib_route_match_t *match);
/* Say how often more of the trace is wanted. */
void cib_v4_tell_interval(request_rec *r, const cib_build_t *build);
/* v4_trace.c */
int cib_v4_trace_append(request_rec *r, const cib_route_match_t *match);

/* v4_artifacts.c */
int cib_v4_artifacts_authorize(request_rec *r, const cib_route_match_t *match);
int cib_v4_artifacts_upload(request_rec *r, const cib_route_match_t *match);
int cib_v4_artifacts_download(request_rec *r, const cib_route_match_t *match);

#endif

/* The paths of /api/v4/. */
#include "v4.h"

const cib_manner_t cib_v4_manner = {
    .token_header = "JOB-TOKEN",
    .status_header = "Job-Status",
    .only_running = 1,
    .missing_is_error = 1,
    .not_running = "Job is not running",
    .erased = "Job has been erased!",
    .bad_request = "400 Bad request - ",
    .also_reads = CIB_OPEN_DEPENDENT,
    .typed_artifacts = 1,
    .allow_no_upload = "GET, HEAD",
};

static const cib_route_t routes[] = {
    {"POST", "runners", cib_v4_runners_register},
    {"DELETE", "runners", cib_v4_runners_delete},
    {"POST", "runners/verify", cib_v4_runners_verify},
    {"DELETE", "runners/managers", cib_v4_runners_forget_machine},
    {"POST", "runners/reset_authentication_token", cib_v4_runners_reset_token},
    {"POST", "jobs/request", cib_v4_jobs_request},
    {"PUT", "jobs/:id", cib_v4_job_update},
    {"PATCH", "jobs/:id/trace", cib_v4_trace_append},
    {"POST", "jobs/:id/artifacts/authorize", cib_v4_artifacts_authorize},
    {"POST", "jobs/:id/artifacts", cib_v4_artifacts_upload},
    {"GET", "jobs/:id/artifacts", cib_v4_artifacts_download},
    {NULL, NULL, NULL},
};

const cib_dialect_t cib_v4 = {"/api/v4/", routes};

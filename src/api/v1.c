/* The paths of /ci/api/v1/. */
#include "v1.h"

const cib_manner_t cib_v1_manner = {.token_header = "BUILD-TOKEN",
                                    .also_opens = CIB_OPEN_PROJECT,
                                    .status_header = "Build-Status",
                                    .also_reads = CIB_OPEN_PROJECT,
                                    .allow_no_upload = "GET, HEAD, DELETE"};

static const cib_route_t routes[] = {
    {"POST", "builds/register", cib_v1_builds_register},
    {"PUT", "builds/:id", cib_v1_build_update},
    {"PATCH", "builds/:id/trace.txt", cib_v1_trace_append},
    {"POST", "builds/:id/artifacts/authorize", cib_v1_artifacts_authorize},
    {"POST", "builds/:id/artifacts", cib_v1_artifacts_upload},
    {"GET", "builds/:id/artifacts", cib_v1_artifacts_download},
    {"DELETE", "builds/:id/artifacts", cib_v1_artifacts_delete},
    {"POST", "runners/register", cib_v1_runners_register},
    {"DELETE", "runners/delete", cib_v1_runners_delete},
    {NULL, NULL, NULL},
};

const cib_dialect_t cib_v1 = {"/ci/api/v1/", routes};

#include "store/cib_records.h"

#include <string.h>

static const char *const names[CIB_STATUSES] = {
    [CIB_CREATED] = "created", [CIB_PENDING] = "pending", [CIB_RUNNING] = "running",
    [CIB_SUCCESS] = "success", [CIB_FAILED] = "failed",   [CIB_CANCELED] = "canceled",
    [CIB_SKIPPED] = "skipped",
};

const char *cib_status_name(cib_status_e status)
{
    return (unsigned)status < CIB_STATUSES ? names[status] : NULL;
}

cib_status_e cib_status_parse(const char *name)
{
    int status = 0;

    while (status < CIB_STATUSES && (!name || strcmp(name, names[status]) != 0))
        status++;
    return (cib_status_e)status;
}

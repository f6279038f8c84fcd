/* Running builds whose time is up. */
#ifndef CIB_CORE_OVERDUE_H
#define CIB_CORE_OVERDUE_H

#include "core/cib_upkeep.h"

cib_error_t *cib_overdue_turn(const cib_ctx_t *ctx, apr_time_t now, apr_time_t since, int batch,
                              int dry, cib_upkeep_report_t *report);

#endif

/* Variables of builds: secret ones are sealed for the build they belong to. */
#ifndef CIB_CORE_VARIABLES_H
#define CIB_CORE_VARIABLES_H

#include "core/cib_ctx.h"
#include "files/cib_tracefile.h"

/* A trace that ends within a secret remembers the beginning of it. (Linux would give a process up
 * to 128 KiB.) */
#define CIB_VALUE_MAX CIB_TRACE_TAIL_MAX

/* INVALID says which (cib_variable_t with plain values) is wrong. */
cib_error_t *cib_variables_check(const apr_array_header_t *variables, apr_pool_t *pool);
/* Add plain variables (cib_variable_t) to a build. In a writing section. */
cib_error_t *cib_variables_add(cib_db_t *db, const cib_storage_t *storage, apr_int64_t build_id,
                               const apr_array_header_t *variables, apr_pool_t *pool);
/* The variables of rows (cib_variable_t *, see cib_q_variables), plain (cib_variable_t, in order).
 * INTERNAL: one does not open. */
cib_error_t *cib_variables_unseal(const cib_storage_t *storage, apr_int64_t build_id,
                                  const apr_array_header_t *rows, apr_array_header_t **variables,
                                  apr_pool_t *pool);
/* Both at once: a build's variables, plain. In any section. */
cib_error_t *cib_variables_open(cib_db_t *db, const cib_storage_t *storage, apr_int64_t build_id,
                                apr_array_header_t **variables, apr_pool_t *pool);

#endif

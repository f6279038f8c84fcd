/* Lines of JSON: rows of the database, and what is to be known of traces. */
#ifndef CIB_CORE_LINE_H
#define CIB_CORE_LINE_H

#include <json-c/json.h>

#include "files/cib_spool.h"
#include "files/cib_tracefile.h"
#include "store/cib_dump.h"

#define CIB_TRACE_ROWS "traces.jsonl"

/* The object that `text` is, to be put; NULL: it is none. */
json_object *cib_line_parse(const char *text, apr_size_t len);

/* Append a row to a spool: an object by the columns' names. */
cib_error_t *cib_line_of_row(cib_spool_t *spool, const cib_dump_table_t *table,
                             const char *const *cells, apr_pool_t *pool);

/* The cells of a row, in `pool`. CONFLICT: it is no row of that table. */
cib_error_t *cib_line_to_row(const cib_dump_table_t *table, const char *line, apr_size_t len,
                             const char **cells, apr_pool_t *pool);

/* The same for the state of a trace. */
cib_error_t *cib_line_of_trace(cib_spool_t *spool, apr_int64_t build_id,
                               const cib_trace_state_t *state, apr_pool_t *pool);
cib_error_t *cib_line_to_trace(const char *line, apr_size_t len, apr_int64_t *build_id,
                               cib_trace_state_t *state, apr_pool_t *pool);

#endif

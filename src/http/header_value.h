/* A header's value with parameters: `form-data; name="file"; filename="a.zip"`. */
#ifndef CIB_HTTP_HEADER_VALUE_H
#define CIB_HTTP_HEADER_VALUE_H

#include <apr_tables.h>

#include "util/cib_error.h"

typedef struct cib_header_value_t {
    char *type;          /* what stands before the first semicolon, in lower case */
    apr_table_t *params; /* names in any case, values without quotes */
} cib_header_value_t;

/* INVALID: it is not of that shape, or names a parameter twice (two readers would differ on which
 * one counts). Values that are not quoted end at a semicolon or a blank, whatever they are made of.
 * Backslashes in quotes stand for themselves unless a quote or a backslash follows: some clients
 * send Windows paths. In `pool`. */
cib_error_t *cib_header_value_parse(cib_header_value_t *value, const char *text, apr_pool_t *pool);

/* Decode an extended value (RFC 5987: UTF-8''a%20b) to UTF-8, in `pool`; NULL: it is none, or of a
 * character set other than UTF-8 and ISO-8859-1. */
const char *cib_header_value_extended(const char *text, apr_pool_t *pool);

#endif

/* Variables of builds. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "core/cib_token.h"
#include "internal.h"
#include "variables.h"

static int is_key(const char *key)
{
    apr_size_t len = key ? strlen(key) : 0;

    if (len < 1 || len > CIB_SHORT_MAX)
        return 0;
    for (; *key; key++) {
        if (!(apr_isascii(*key) && (apr_isalnum(*key) || *key == '_')))
            return 0;
    }
    return 1;
}

cib_error_t *cib_variables_check(const apr_array_header_t *variables, apr_pool_t *pool)
{
    for (int i = 0; variables && i < variables->nelts; i++) {
        const cib_variable_t *variable = &APR_ARRAY_IDX(variables, i, cib_variable_t);
        const char *why = NULL;

        if (!is_key(variable->key))
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                             "a variable's name must be 1 to %d of A-Z, a-z, 0-9 and _",
                             CIB_SHORT_MAX);
        if (!variable->value)
            why = "has no value";
        else if (strlen(variable->value) > CIB_VALUE_MAX)
            why = "is longer than 64 KiB";
        else if (!cib_is_utf8(variable->value, strlen(variable->value)))
            why = "is not valid UTF-8";
        if (why)
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the variable %s %s",
                             variable->key, why);
    }
    return CIB_OK;
}

/* A secret of one build does not open as another's. */
static const char *place(apr_int64_t build_id, const char *key, apr_pool_t *pool)
{
    return apr_psprintf(pool, "variable:%" APR_INT64_T_FMT ":%s", build_id, key);
}

cib_error_t *cib_variables_add(cib_db_t *db, const cib_storage_t *storage, apr_int64_t build_id,
                               const apr_array_header_t *variables, apr_pool_t *pool)
{
    for (int i = 0; variables && i < variables->nelts; i++) {
        cib_variable_t row = APR_ARRAY_IDX(variables, i, cib_variable_t);

        if (!row.is_public)
            CIB_TRY(cib_secret_seal(storage, place(build_id, row.key, pool), row.value, &row.value,
                                    pool));
        CIB_TRY(cib_q_variable_add(db, build_id, i, &row, pool));
    }
    return CIB_OK;
}

cib_error_t *cib_variables_unseal(const cib_storage_t *storage, apr_int64_t build_id,
                                  const apr_array_header_t *rows, apr_array_header_t **variables,
                                  apr_pool_t *pool)
{
    *variables = apr_array_make(pool, rows->nelts, sizeof(cib_variable_t));
    for (int i = 0; i < rows->nelts; i++) {
        cib_variable_t row = *APR_ARRAY_IDX(rows, i, cib_variable_t *);

        if (!row.is_public)
            CIB_TRY(cib_secret_open(storage, place(build_id, row.key, pool), row.value, &row.value,
                                    pool));
        APR_ARRAY_PUSH(*variables, cib_variable_t) = row;
    }
    return CIB_OK;
}

cib_error_t *cib_variables_open(cib_db_t *db, const cib_storage_t *storage, apr_int64_t build_id,
                                apr_array_header_t **variables, apr_pool_t *pool)
{
    apr_array_header_t *rows;

    CIB_TRY(cib_q_variables(db, build_id, &rows, pool));
    return cib_variables_unseal(storage, build_id, rows, variables, pool);
}

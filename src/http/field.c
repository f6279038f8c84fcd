/* One field of a body on its way to the params, a sink, or nowhere. */
#include <string.h>

#include "field.h"

/* Escapes chop a value into pieces of a few bytes; a sink gets them in larger ones. */
#define GATHER_SIZE 16384
/* A piece of that size is not worth copying. */
#define DIRECT_SIZE 4096

void cib_field_init(cib_field_t *field, cib_params_t *params, const cib_body_plan_t *plan,
                    apr_pool_t *pool)
{
    memset(field, 0, sizeof *field);
    field->pool = pool;
    field->params = params;
    field->plan = plan;
    cib_buffer_init(&field->value, CIB_PARAMS_LIMIT, pool);
}

cib_error_t *cib_field_spend(cib_field_t *field, apr_size_t len)
{
    if (len > CIB_PARAMS_LIMIT - field->spent)
        return cib_error(field->pool, CIB_REASON_TOO_LARGE, APR_SUCCESS,
                         "parameters are limited to %d bytes", CIB_PARAMS_LIMIT);
    field->spent += len;
    return CIB_OK;
}

static int was_taken(const cib_field_t *field, const char *name)
{
    int i;

    for (i = 0; field->taken && i < field->taken->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(field->taken, i, const char *), name))
            return 1;
    return 0;
}

cib_error_t *cib_field_begin(cib_field_t *field, const char *name, const char *filename)
{
    field->name = name;
    field->sink = NULL;
    field->where = CIB_FIELD_KEPT;
    cib_buffer_clear(&field->value);
    field->gathered_len = 0;
    if (!field->plan)
        return CIB_OK;
    if (was_taken(field, name)) {
        field->where = CIB_FIELD_DROPPED;
        return CIB_OK;
    }
    CIB_TRY(field->plan->begin(field->plan->baton, name, filename, &field->sink));
    if (field->sink) {
        field->where = CIB_FIELD_TAKEN;
        if (!field->taken)
            field->taken = apr_array_make(field->pool, 2, sizeof(const char *));
        APR_ARRAY_PUSH(field->taken, const char *) = name;
    }
    return CIB_OK;
}

static cib_error_t *flush(cib_field_t *field)
{
    apr_size_t len = field->gathered_len;

    field->gathered_len = 0;
    return len ? field->sink->write(field->sink->baton, field->gathered, len) : CIB_OK;
}

static cib_error_t *gather(cib_field_t *field, const char *data, apr_size_t len)
{
    if (len > GATHER_SIZE - field->gathered_len || len >= DIRECT_SIZE)
        CIB_TRY(flush(field));
    if (len >= DIRECT_SIZE)
        return field->sink->write(field->sink->baton, data, len);
    if (!field->gathered)
        field->gathered = apr_palloc(field->pool, GATHER_SIZE);
    memcpy(field->gathered + field->gathered_len, data, len);
    field->gathered_len += len;
    return CIB_OK;
}

cib_error_t *cib_field_write(cib_field_t *field, const char *data, apr_size_t len)
{
    const cib_sink_t *further = field->plan ? field->plan->further : NULL;

    if (len && field->where == CIB_FIELD_DROPPED && further)
        return further->write(further->baton, data, len);
    if (!len || field->where == CIB_FIELD_DROPPED)
        return CIB_OK;
    if (field->where == CIB_FIELD_TAKEN)
        return gather(field, data, len);
    CIB_TRY(cib_field_spend(field, len));
    return cib_buffer_append(&field->value, data, len);
}

cib_error_t *cib_field_end(cib_field_t *field)
{
    if (field->where == CIB_FIELD_DROPPED)
        return CIB_OK;
    if (field->where == CIB_FIELD_KEPT)
        return cib_params_add(field->params, field->name, cib_buffer_text(&field->value),
                              field->value.len);
    CIB_TRY(flush(field));
    return field->plan->end ? field->plan->end(field->plan->baton, field->name) : CIB_OK;
}

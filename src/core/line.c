#include "line.h"

#include <limits.h>
#include <string.h>

#include <apr_escape.h>
#include <apr_strings.h>

#include "util/cib_text.h"

#define LINE_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

json_object *cib_line_parse(const char *text, apr_size_t len)
{
    json_tokener *parser = json_tokener_new();
    json_object *object = NULL;

    if (!parser || len > INT_MAX)
        return NULL;
    json_tokener_set_flags(parser, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    object = json_tokener_parse_ex(parser, text, (int)len);
    /* an object that is not whole gives none */
    json_tokener_free(parser);
    if (json_object_is_type(object, json_type_object))
        return object;
    json_object_put(object);
    return NULL;
}

/* Takes the reference. */
static cib_error_t *append(cib_spool_t *spool, json_object *object, apr_pool_t *pool)
{
    const char *text = json_object_to_json_string_ext(object, LINE_FLAGS);
    apr_status_t rv = text ? cib_spool_write(spool, text, strlen(text)) : APR_ENOMEM;

    if (rv == APR_SUCCESS)
        rv = cib_spool_write(spool, "\n", 1);
    json_object_put(object);
    return rv == APR_SUCCESS ? CIB_OK : cib_error_system(pool, rv, "cannot spool the rows");
}

static cib_error_t *damaged(const char *what, apr_pool_t *pool)
{
    return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "it holds a row of %s that is none",
                     what);
}

/* --- rows */

cib_error_t *cib_line_of_row(cib_spool_t *spool, const cib_dump_table_t *table,
                             const char *const *cells, apr_pool_t *pool)
{
    json_object *object = json_object_new_object();

    for (int i = 0; i < table->count; i++) {
        json_object *value = NULL;

        if (cells[i])
            value = table->columns[i].is_number ? json_object_new_int64(apr_atoi64(cells[i]))
                                                : json_object_new_string(cells[i]);
        json_object_object_add(object, table->columns[i].name, value);
    }
    return append(spool, object, pool);
}

/* `*seen` counts the columns that the row has. */
static int take_cell(const cib_dump_column_t *column, json_object *row, const char **cell,
                     int *seen, apr_pool_t *pool)
{
    json_object *value;

    *cell = column->missing;
    if (!json_object_object_get_ex(row, column->name, &value))
        return 1;
    (*seen)++;
    *cell = NULL;
    if (!value)
        return 1;
    if (!json_object_is_type(value, column->is_number ? json_type_int : json_type_string))
        return 0;
    *cell = apr_pstrdup(pool, json_object_get_string(value));
    return 1;
}

/* A row of an older schema lacks columns; none has more than we know. */
cib_error_t *cib_line_to_row(const cib_dump_table_t *table, const char *line, apr_size_t len,
                             const char **cells, apr_pool_t *pool)
{
    json_object *row = cib_line_parse(line, len);
    int good = row != NULL, seen = 0;

    for (int i = 0; i < table->count && good; i++)
        good = take_cell(&table->columns[i], row, &cells[i], &seen, pool);
    good = good && seen == json_object_object_length(row);
    json_object_put(row);
    return good ? CIB_OK : damaged(table->name, pool);
}

/* --- traces */

static void add_number(json_object *object, const char *key, apr_int64_t number)
{
    json_object_object_add(object, key, json_object_new_int64(number));
}

cib_error_t *cib_line_of_trace(cib_spool_t *spool, apr_int64_t build_id,
                               const cib_trace_state_t *state, apr_pool_t *pool)
{
    json_object *object = json_object_new_object();
    const char *tail = state->tail_len ? cib_hex(state->tail, state->tail_len, pool) : "";

    add_number(object, "build_id", build_id);
    add_number(object, "claim", state->claim);
    add_number(object, "received", state->received);
    add_number(object, "stored", state->stored);
    add_number(object, "crc", state->crc);
    json_object_object_add(object, "tail", json_object_new_string(tail));
    return append(spool, object, pool);
}

static int take_number(json_object *object, const char *key, apr_int64_t *number)
{
    json_object *value;

    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_int))
        return 0;
    *number = json_object_get_int64(value);
    return *number >= 0;
}

static int take_tail(json_object *object, cib_trace_state_t *state, apr_pool_t *pool)
{
    json_object *value;
    const char *hex;
    char *tail;

    if (!json_object_object_get_ex(object, "tail", &value) ||
        !json_object_is_type(value, json_type_string))
        return 0;
    hex = json_object_get_string(value);
    if (!cib_is_hex(hex, strlen(hex)) || strlen(hex) > 2 * CIB_TRACE_TAIL_MAX)
        return 0;
    tail = apr_palloc(pool, strlen(hex) / 2 + 1);
    state->tail = tail;
    state->tail_len = 0;
    return !*hex ||
           apr_unescape_hex(tail, hex, APR_ESCAPE_STRING, 0, &state->tail_len) == APR_SUCCESS;
}

cib_error_t *cib_line_to_trace(const char *line, apr_size_t len, apr_int64_t *build_id,
                               cib_trace_state_t *state, apr_pool_t *pool)
{
    json_object *object = cib_line_parse(line, len);
    apr_int64_t crc = 0;
    int good = object && take_number(object, "build_id", build_id) &&
               take_number(object, "claim", &state->claim) &&
               take_number(object, "received", &state->received) &&
               take_number(object, "stored", &state->stored) && take_number(object, "crc", &crc) &&
               take_tail(object, state, pool);

    state->crc = (apr_uint32_t)crc;
    json_object_put(object);
    return good ? CIB_OK : damaged("traces", pool);
}

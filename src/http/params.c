/* A request's parameters as one name space, kept as one JSON object. */
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "http/cib_params.h"
#include "http/cib_parser.h"
#include "util/cib_text.h"

struct cib_params_t {
    apr_pool_t *pool;
    json_object *root;
};

static apr_status_t release(void *data)
{
    json_object_put(((cib_params_t *)data)->root);
    return APR_SUCCESS;
}

cib_params_t *cib_params_create(apr_pool_t *pool)
{
    cib_params_t *params = apr_palloc(pool, sizeof *params);

    params->pool = pool;
    params->root = json_object_new_object();
    apr_pool_cleanup_register(pool, params, release, apr_pool_cleanup_null);
    return params;
}

static cib_error_t *out_of_memory(cib_params_t *params)
{
    return cib_error_detail(params->pool,
                            cib_error(params->pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL),
                            "hold the parameters of a request");
}

static cib_error_t *invalid(const cib_params_t *params, const char *name)
{
    return cib_error(params->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is invalid", name);
}

/* ---- adding ---- */

/* The parts of "info[features][cache]": info, features, cache; an empty last one ("tags[]") means
 * "one more of a list". What is not well formed is a plain name. */
static apr_array_header_t *split_name(const char *name, apr_pool_t *pool)
{
    apr_array_header_t *parts = apr_array_make(pool, 4, sizeof(const char *));
    const char *open = strchr(name, '[');

    if (open && open > name) {
        const char *at = open;

        APR_ARRAY_PUSH(parts, const char *) = apr_pstrmemdup(pool, name, open - name);
        while (*at == '[') {
            const char *close = strpbrk(at + 1, "[]");

            if (!close || *close != ']' || (close == at + 1 && close[1]))
                break;
            APR_ARRAY_PUSH(parts, const char *) = apr_pstrmemdup(pool, at + 1, close - at - 1);
            at = close + 1;
        }
        if (!*at)
            return parts;
        apr_array_clear(parts);
    }
    APR_ARRAY_PUSH(parts, const char *) = name;
    return parts;
}

/* Put `value` (consumed) at the end of `parts` where nothing is there yet. */
static int place(json_object *node, const apr_array_header_t *parts, json_object *value)
{
    int i;

    for (i = 0; i < parts->nelts; i++) {
        const char *part = APR_ARRAY_IDX(parts, i, const char *);
        int last = i == parts->nelts - 1;
        json_object *child = NULL;

        if (i > 0 && !*part && json_object_is_type(node, json_type_array))
            return json_object_array_add(node, value);
        if (!json_object_is_type(node, json_type_object) || (i > 0 && !*part))
            break;
        if (json_object_object_get_ex(node, part, &child)) {
            node = child;
            continue;
        }
        if (last)
            return json_object_object_add(node, part, value);
        child = *APR_ARRAY_IDX(parts, i + 1, const char *) ? json_object_new_object()
                                                           : json_object_new_array();
        if (!child || json_object_object_add(node, part, child)) {
            json_object_put(child);
            json_object_put(value);
            return -1;
        }
        node = child;
    }
    json_object_put(value); /* an earlier one stays */
    return 0;
}

cib_error_t *cib_params_add(cib_params_t *params, const char *name, const char *value,
                            apr_size_t len)
{
    apr_array_header_t *parts;
    json_object *text;

    if (!cib_is_utf8(name, strlen(name)))
        return cib_error(params->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the name of a parameter is not UTF-8");
    if (!cib_is_utf8(value, len))
        return invalid(params, name);
    parts = split_name(name, params->pool);
    if (parts->nelts > CIB_JSON_DEPTH)
        return invalid(params, name);
    text = json_object_new_string_len(value, (int)len);
    if (!text || !params->root || place(params->root, parts, text))
        return out_of_memory(params);
    return CIB_OK;
}

cib_error_t *cib_params_add_encoded(cib_params_t *params, const char *text, apr_size_t len)
{
    cib_parser_t *parser;

    if (!text || !len)
        return CIB_OK;
    parser = cib_parser_form(params, NULL, params->pool);
    CIB_TRY(parser->feed(parser, text, len));
    return parser->finish(parser);
}

/* Objects that both have are merged, so that `info[name]` of a query and `info` of a body go
 * together. No deeper than CIB_JSON_DEPTH: the parser has seen to it. */
static int merge(json_object *into, json_object *from)
{
    json_object_object_foreach(from, name, value)
    {
        json_object *present = NULL;

        if (!value)
            continue;
        if (!json_object_object_get_ex(into, name, &present)) {
            if (json_object_object_add(into, name, json_object_get(value))) {
                json_object_put(value);
                return -1;
            }
        } else if (json_object_is_type(present, json_type_object) &&
                   json_object_is_type(value, json_type_object)) {
            if (merge(present, value))
                return -1;
        }
    }
    return 0;
}

cib_error_t *cib_params_add_json(cib_params_t *params, json_object *object)
{
    cib_error_t *err = CIB_OK;

    if (!params->root || merge(params->root, object))
        err = out_of_memory(params);
    json_object_put(object);
    return err;
}

/* ---- getting ---- */

/* A plain name costs no memory: a request that waits is looked at again and again. */
static json_object *find(const cib_params_t *params, const char *name)
{
    const apr_array_header_t *parts;
    json_object *node = params->root;

    if (!strchr(name, '[')) {
        json_object_object_get_ex(node, name, &node);
        return node;
    }
    parts = split_name(name, params->pool);
    for (int i = 0; i < parts->nelts; i++)
        json_object_object_get_ex(node, APR_ARRAY_IDX(parts, i, const char *), &node);
    return node;
}

/* A JSON string as C has it: NULL where it is none, or holds NUL. */
static const char *plain_text(json_object *value)
{
    const char *text;

    if (!json_object_is_type(value, json_type_string))
        return NULL;
    text = json_object_get_string(value);
    return strlen(text) == (apr_size_t)json_object_get_string_len(value) ? text : NULL;
}

int cib_params_has(const cib_params_t *params, const char *name)
{
    return find(params, name) != NULL;
}

cib_error_t *cib_params_text(const cib_params_t *params, const char *name, const char **value)
{
    json_object *found = find(params, name);

    *value = NULL;
    if (!found)
        return CIB_OK;
    *value = plain_text(found);
    return *value ? CIB_OK : invalid(params, name);
}

cib_error_t *cib_params_required(const cib_params_t *params, const char *name, const char **value)
{
    CIB_TRY(cib_params_text(params, name, value));
    if (!*value || !**value)
        return cib_error(params->pool, CIB_REASON_MISSING, APR_SUCCESS, "%s", name);
    return CIB_OK;
}

/* 1, 0, -1 for an empty text (a form's field left blank), -2 for anything else. */
static int flag_of_text(const char *text)
{
    if (!text)
        return -2;
    if (!*text)
        return -1;
    if (!strcmp(text, "true") || !strcmp(text, "1"))
        return 1;
    if (!strcmp(text, "false") || !strcmp(text, "0"))
        return 0;
    return -2;
}

cib_error_t *cib_params_flag(const cib_params_t *params, const char *name, int *value)
{
    json_object *found = find(params, name);
    int flag;

    *value = -1;
    if (!found)
        return CIB_OK;
    if (json_object_is_type(found, json_type_boolean))
        flag = json_object_get_boolean(found) ? 1 : 0;
    else if (json_object_is_type(found, json_type_int))
        flag = flag_of_text(json_object_get_string(found));
    else
        flag = flag_of_text(plain_text(found));
    if (flag == -2)
        return invalid(params, name);
    *value = flag;
    return CIB_OK;
}

cib_error_t *cib_params_int(const cib_params_t *params, const char *name, apr_int64_t *value)
{
    json_object *found = find(params, name);
    const char *text;

    if (!found)
        return CIB_OK;
    /* json-c keeps what is beyond an int64 as a uint64: its text tells the truth about both */
    text = json_object_is_type(found, json_type_int) ? json_object_get_string(found)
                                                     : plain_text(found);
    if (text && !*text)
        return CIB_OK;
    if (!text || cib_int_parse(text, APR_INT64_MIN, APR_INT64_MAX, value))
        return invalid(params, name);
    return CIB_OK;
}

static void push_trimmed(apr_array_header_t *list, const char *text, apr_size_t len)
{
    while (len && apr_isspace(*text)) {
        text++;
        len--;
    }
    while (len && apr_isspace(text[len - 1]))
        len--;
    if (len)
        APR_ARRAY_PUSH(list, const char *) = apr_pstrmemdup(list->pool, text, len);
}

static void push_separated(apr_array_header_t *list, const char *text)
{
    for (;;) {
        apr_size_t len = strcspn(text, ",");

        push_trimmed(list, text, len);
        if (!text[len])
            return;
        text += len + 1;
    }
}

cib_error_t *cib_params_list(const cib_params_t *params, const char *name,
                             apr_array_header_t **value)
{
    json_object *found = find(params, name);
    apr_array_header_t *list;
    const char *text;
    size_t i;

    *value = NULL;
    if (!found)
        return CIB_OK;
    list = apr_array_make(params->pool, 8, sizeof(const char *));
    if (json_object_is_type(found, json_type_array)) {
        for (i = 0; i < json_object_array_length(found); i++) {
            if (!(text = plain_text(json_object_array_get_idx(found, i))))
                return invalid(params, name);
            push_trimmed(list, text, strlen(text));
        }
    } else {
        if (!(text = plain_text(found)))
            return invalid(params, name);
        push_separated(list, text);
    }
    *value = list;
    return CIB_OK;
}

cib_error_t *cib_params_object(const cib_params_t *params, const char *name, json_object **value)
{
    *value = find(params, name);
    if (*value && !json_object_is_type(*value, json_type_object)) {
        *value = NULL;
        return invalid(params, name);
    }
    return CIB_OK;
}

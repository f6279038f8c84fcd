/* What a runner cannot decode makes its build fail, or the whole runner die, so it is refused where
 * it comes in. */
#include <string.h>

#include "options.h"
#include "util/cib_text.h"

#define OPTIONS_MAX (1024 * 1024)

/* What may stand at a key. A null is fine everywhere. */
typedef enum { STRINGS, STRING, BOOLEAN, IMAGE, IMAGES, OBJECTS } shape_e;
typedef struct rule_t {
    const char *key;
    shape_e shape;
    const struct rule_t *within; /* for the keys of an object; ends with a NULL key */
} rule_t;

static const rule_t artifacts_rules[] = {{"paths", STRINGS, NULL},    {"exclude", STRINGS, NULL},
                                         {"name", STRING, NULL},      {"when", STRING, NULL},
                                         {"expire_in", STRING, NULL}, {"untracked", BOOLEAN, NULL},
                                         {NULL, STRING, NULL}};
static const rule_t cache_rules[] = {{"paths", STRINGS, NULL},     {"key", STRING, NULL},
                                     {"policy", STRING, NULL},     {"when", STRING, NULL},
                                     {"untracked", BOOLEAN, NULL}, {NULL, STRING, NULL}};
static const rule_t options_rules[] = {{"image", IMAGE, NULL},
                                       {"services", IMAGES, NULL},
                                       {"artifacts", OBJECTS, artifacts_rules},
                                       {"cache", OBJECTS, cache_rules},
                                       {"dependencies", STRINGS, NULL},
                                       {"after_script", STRINGS, NULL},
                                       {NULL, STRING, NULL}};

static const char *const shape_names[] = {
    [STRINGS] = "a list of strings", [STRING] = "a string",
    [BOOLEAN] = "true or false",     [IMAGE] = "a string or an object with a name",
    [IMAGES] = "a list of strings",  [OBJECTS] = "an object",
};

static int is_image(json_object *value)
{
    json_object *name;

    if (json_object_is_type(value, json_type_string))
        return 1;
    return json_object_is_type(value, json_type_object) &&
           json_object_object_get_ex(value, "name", &name) &&
           json_object_is_type(name, json_type_string);
}

static int is_list_of(json_object *value, int images)
{
    if (!json_object_is_type(value, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        json_object *item = json_object_array_get_idx(value, i);

        if (images ? !is_image(item) : !json_object_is_type(item, json_type_string))
            return 0;
    }
    return 1;
}

static int fits(json_object *value, shape_e shape)
{
    switch (shape) {
    case STRINGS:
        return is_list_of(value, 0);
    case STRING:
        return json_object_is_type(value, json_type_string);
    case BOOLEAN:
        return json_object_is_type(value, json_type_boolean);
    case IMAGE:
        return is_image(value);
    case IMAGES:
        return is_list_of(value, 1);
    case OBJECTS:
        return json_object_is_type(value, json_type_object) ||
               json_object_is_type(value, json_type_array);
    }
    return 0;
}

static cib_error_t *check_keys(json_object *object, const rule_t *rules, const char *where,
                               apr_pool_t *pool);

/* An object, or each object of a list (v4 knows several artifacts and caches). */
static cib_error_t *check_within(json_object *value, const rule_t *rule, apr_pool_t *pool)
{
    if (json_object_is_type(value, json_type_object))
        return check_keys(value, rule->within, rule->key, pool);
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        json_object *item = json_object_array_get_idx(value, i);

        if (!json_object_is_type(item, json_type_object))
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                             "the option %s must be an object or a list of objects", rule->key);
        CIB_TRY(check_keys(item, rule->within, rule->key, pool));
    }
    return CIB_OK;
}

static cib_error_t *check_keys(json_object *object, const rule_t *rules, const char *where,
                               apr_pool_t *pool)
{
    for (const rule_t *rule = rules; rule->key; rule++) {
        json_object *value;

        if (!json_object_object_get_ex(object, rule->key, &value) || !value)
            continue;
        if (!fits(value, rule->shape))
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the option %s%s%s must be %s",
                             where, *where ? "." : "", rule->key, shape_names[rule->shape]);
        if (rule->within)
            CIB_TRY(check_within(value, rule, pool));
    }
    return CIB_OK;
}

static apr_status_t put_object(void *object)
{
    json_object_put(object);
    return APR_SUCCESS;
}

/* NULL where the text is not exactly one JSON value. */
static json_object *parse(const char *text)
{
    json_tokener *tokener = json_tokener_new();
    json_object *value;

    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* with the closing NUL, so that a bare number ends too */
    value = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        json_object_put(value);
        value = NULL;
    }
    json_tokener_free(tokener);
    return value;
}

cib_error_t *cib_options_parse(const char *text, json_object **options, apr_pool_t *pool)
{
    *options = NULL;
    if (strlen(text) > OPTIONS_MAX)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the options are longer than %d bytes", OPTIONS_MAX);
    *options = parse(text);
    if (*options)
        apr_pool_cleanup_register(pool, *options, put_object, apr_pool_cleanup_null);
    if (!json_object_is_type(*options, json_type_object))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the options must be one JSON object");
    return check_keys(*options, options_rules, "", pool);
}

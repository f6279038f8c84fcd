/* JSON objects, built member by member. */
#include "internal.h"

cib_json_t cib_json_begin(void)
{
    cib_json_t json = {json_object_new_object(), 0};

    json.failed = !json.object;
    return json;
}

void cib_json_put(cib_json_t *json, const char *key, json_object *value)
{
    if (!json->failed && !json_object_object_add(json->object, key, value))
        return;
    json->failed = 1;
    json_object_put(value);
}

/* For values that are never null. */
static void put_new(cib_json_t *json, const char *key, json_object *value)
{
    if (!value)
        json->failed = 1;
    cib_json_put(json, key, value);
}

void cib_json_text(cib_json_t *json, const char *key, const char *value)
{
    if (value)
        put_new(json, key, json_object_new_string(value));
    else
        cib_json_put(json, key, NULL);
}

void cib_json_int(cib_json_t *json, const char *key, apr_int64_t value)
{
    put_new(json, key, json_object_new_int64(value));
}

void cib_json_flag(cib_json_t *json, const char *key, int value)
{
    put_new(json, key, json_object_new_boolean(value != 0));
}

void cib_json_object(cib_json_t *json, const char *key, cib_json_t *member)
{
    json->failed |= member->failed;
    cib_json_put(json, key, member->object);
}

void cib_json_list(cib_json_t *json, const char *key, json_object *list)
{
    put_new(json, key, list);
}

void cib_json_append(cib_json_t *json, json_object *list, cib_json_t *member)
{
    if (!member->failed && list && !json_object_array_add(list, member->object))
        return;
    json->failed = 1;
    json_object_put(member->object);
}

json_object *cib_json_get(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

cib_error_t *cib_json_end(cib_json_t *json, json_object **object, apr_pool_t *pool)
{
    if (json->failed) {
        json_object_put(json->object);
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL),
                                "make the JSON of an answer");
    }
    *object = json->object;
    return CIB_OK;
}

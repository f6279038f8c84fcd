#include "manifest.h"

#include <string.h>

#include <apr_escape.h>
#include <apr_strings.h>
#include <json-c/json.h>

#include "line.h"
#include "store/cib_dump.h"
#include "store/cib_schema.h"
#include "util/cib_text.h"
#include "util/cib_version.h"

#define FORMAT "mod_ci_builds backup"
#define VERSION 1
#define ID_LEN 32

static json_object *last_ids_object(const cib_manifest_t *manifest)
{
    json_object *ids = json_object_new_object();

    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++) {
        const apr_int64_t *id = apr_hash_get(manifest->last_ids, table->name, APR_HASH_KEY_STRING);

        if (id)
            json_object_object_add(ids, table->name, json_object_new_int64(*id));
    }
    return ids;
}

const char *cib_manifest_text(const cib_manifest_t *manifest, apr_pool_t *pool)
{
    json_object *object = json_object_new_object();
    const char *secret = cib_hex(manifest->secret, sizeof(manifest->secret), pool);
    const char *text;

    json_object_object_add(object, "format", json_object_new_string(FORMAT));
    json_object_object_add(object, "version", json_object_new_int(VERSION));
    json_object_object_add(object, "program", json_object_new_string(CIB_VERSION));
    json_object_object_add(object, "created_at",
                           json_object_new_string(cib_time_iso8601(manifest->created_at, pool)));
    json_object_object_add(object, "driver", json_object_new_string(manifest->driver));
    json_object_object_add(object, "schema", json_object_new_int(manifest->schema));
    json_object_object_add(object, "id", json_object_new_string(manifest->id));
    json_object_object_add(object, "secret", json_object_new_string(secret));
    json_object_object_add(object, "builds", json_object_new_int64(manifest->builds));
    json_object_object_add(object, "last_ids", last_ids_object(manifest));
    text = json_object_to_json_string_ext(object,
                                          JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
    text = apr_pstrcat(pool, text, "\n", NULL);
    json_object_put(object);
    return text;
}

static cib_error_t *unknown(apr_pool_t *pool, const char *what)
{
    return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS, "it is no backup: %s", what);
}

static const char *text_in(json_object *object, const char *key, apr_pool_t *pool)
{
    json_object *value;

    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return apr_pstrdup(pool, json_object_get_string(value));
}

/* -1: there is none. */
static apr_int64_t number_in(json_object *object, const char *key)
{
    json_object *value;

    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_int))
        return -1;
    return json_object_get_int64(value);
}

static void take_last_ids(cib_manifest_t *manifest, json_object *object, apr_pool_t *pool)
{
    json_object *ids;

    manifest->last_ids = apr_hash_make(pool);
    if (!json_object_object_get_ex(object, "last_ids", &ids) ||
        !json_object_is_type(ids, json_type_object))
        return;
    for (const cib_dump_table_t *table = cib_dump_tables; table->name; table++) {
        apr_int64_t id = number_in(ids, table->name);

        if (id >= 0)
            apr_hash_set(manifest->last_ids, table->name, APR_HASH_KEY_STRING,
                         apr_pmemdup(pool, &id, sizeof(id)));
    }
}

static cib_error_t *judge(const cib_manifest_t *manifest, apr_int64_t version, apr_pool_t *pool)
{
    if (version > VERSION || manifest->schema > cib_schema_version())
        return cib_error(pool, CIB_REASON_CONFLICT, APR_SUCCESS,
                         "it was made by a newer program (%s, schema %d; this one is %s, schema "
                         "%d)",
                         manifest->program ? manifest->program : "unknown", manifest->schema,
                         CIB_VERSION, cib_schema_version());
    if (version < 1 || manifest->schema < 1 || !manifest->driver || !manifest->id ||
        !cib_is_hex(manifest->id, ID_LEN))
        return unknown(pool, "its " CIB_MANIFEST " cannot be understood");
    return CIB_OK;
}

static cib_error_t *take(cib_manifest_t *manifest, json_object *object, apr_pool_t *pool)
{
    const char *format = text_in(object, "format", pool);
    const char *secret = text_in(object, "secret", pool);

    if (!format || strcmp(format, FORMAT) != 0)
        return unknown(pool, "its " CIB_MANIFEST " is of something else");
    manifest->schema = (int)number_in(object, "schema");
    manifest->program = text_in(object, "program", pool);
    manifest->driver = text_in(object, "driver", pool);
    manifest->id = text_in(object, "id", pool);
    manifest->builds = number_in(object, "builds");
    take_last_ids(manifest, object, pool);
    CIB_TRY(judge(manifest, number_in(object, "version"), pool));
    if (!cib_is_hex(secret, 2 * CIB_SECRET_LEN) ||
        apr_unescape_hex(manifest->secret, secret, APR_ESCAPE_STRING, 0, NULL) != APR_SUCCESS)
        return unknown(pool, "its " CIB_MANIFEST " has no secret");
    return CIB_OK;
}

cib_error_t *cib_manifest_parse(const char *text, apr_size_t len, const cib_manifest_t **manifest,
                                apr_pool_t *pool)
{
    cib_manifest_t *made = apr_pcalloc(pool, sizeof(*made));
    json_object *object = cib_line_parse(text, len);
    cib_error_t *err;

    *manifest = made;
    if (!object)
        return unknown(pool, "its " CIB_MANIFEST " is no JSON");
    err = take(made, object, pool);
    json_object_put(object);
    return err;
}

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <apr_strings.h>
#include <json.h>
#include <openssl/crypto.h>

#include "descriptor.h"
#include "folder.h"
#include "tempfile.h"
#include "util/cib_text.h"

#define CONFIG_VERSION 1
#define CONFIG_MAX_LEN (64 * 1024)
#define ID_HEX_LEN 32

const char *cib_config_default_params(const char *dir, const char *driver, apr_pool_t *pool)
{
    if (strcmp(driver, "sqlite3") == 0)
        return apr_pstrcat(pool, dir, "/ci-builds.db", NULL);
    return strcmp(driver, "pgsql") == 0 ? "" : NULL;
}

/* A member that is a text without NUL inside; in `pool`. */
static const char *text_member(json_object *config, const char *key, apr_pool_t *pool)
{
    json_object *value;
    const char *text;

    if (!json_object_object_get_ex(config, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    text = json_object_get_string(value);
    if (strlen(text) != (apr_size_t)json_object_get_string_len(value))
        return NULL;
    return apr_pstrdup(pool, text);
}

static int hex_value(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static int read_secret(json_object *config, unsigned char *secret, apr_pool_t *pool)
{
    const char *hex = text_member(config, "secret", pool);

    if (!cib_is_hex(hex, 2 * CIB_SECRET_LEN))
        return 0;
    for (int i = 0; i < CIB_SECRET_LEN; i++)
        secret[i] = (unsigned char)(hex_value(hex[2 * i]) * 16 + hex_value(hex[2 * i + 1]));
    return 1;
}

static apr_status_t take_config(cib_storage_t *storage, json_object *config, apr_pool_t *pool)
{
    json_object *version;
    const char *usual;

    if (!json_object_is_type(config, json_type_object) ||
        !json_object_object_get_ex(config, "version", &version) ||
        !json_object_is_type(version, json_type_int) ||
        json_object_get_int(version) != CONFIG_VERSION)
        return APR_EINVAL;
    storage->driver = text_member(config, "driver", pool);
    storage->id = text_member(config, "id", pool);
    if (!storage->driver || !cib_is_hex(storage->id, ID_HEX_LEN))
        return APR_EINVAL;
    usual = cib_config_default_params(storage->dir, storage->driver, pool);
    if (!usual)
        return APR_EINVAL;
    if (!json_object_object_get_ex(config, "params", NULL))
        storage->params = usual;
    else
        storage->params = text_member(config, "params", pool);
    if (!storage->params || !read_secret(config, storage->secret, pool))
        return APR_EINVAL;
    return APR_SUCCESS;
}

static apr_status_t read_text(const char *path, char **text, int *len, apr_pool_t *pool)
{
    apr_file_t *file;
    apr_int64_t size;
    apr_size_t got = 0;
    apr_status_t rv = cib_file_open(&file, path, 0, &size, pool);

    if (rv != APR_SUCCESS)
        return rv;
    if (size > CONFIG_MAX_LEN) {
        apr_file_close(file);
        return APR_EINVAL;
    }
    *text = apr_pcalloc(pool, (apr_size_t)size + 1);
    rv = apr_file_read_full(file, *text, (apr_size_t)size, &got);
    apr_file_close(file);
    *len = (int)got;
    return rv == APR_EOF ? APR_SUCCESS : rv;
}

apr_status_t cib_config_read(cib_storage_t *storage, apr_pool_t *pool)
{
    json_tokener *parser;
    json_object *config;
    char *text = NULL;
    int len = 0;
    apr_status_t rv = read_text(cib_storage_path(storage, "config", pool), &text, &len, pool);

    if (rv != APR_SUCCESS)
        return rv;
    parser = json_tokener_new();
    if (!parser)
        return APR_ENOMEM;
    json_tokener_set_flags(parser, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    config = json_tokener_parse_ex(parser, text, len);
    rv = config ? take_config(storage, config, pool) : APR_EINVAL;
    json_object_put(config);
    json_tokener_free(parser);
    OPENSSL_cleanse(text, (apr_size_t)len);
    return rv;
}

static int add_text(json_object *config, const char *key, const char *text)
{
    json_object *value = json_object_new_string(text);

    if (!value)
        return 0;
    if (json_object_object_add(config, key, value) == 0)
        return 1;
    json_object_put(value);
    return 0;
}

/* The usual database is not written down: the directory can then be moved. */
static int fill_config(json_object *config, const cib_storage_t *storage, apr_pool_t *pool)
{
    const char *usual = cib_config_default_params(storage->dir, storage->driver, pool);

    return json_object_object_add(config, "version", json_object_new_int(CONFIG_VERSION)) == 0 &&
           add_text(config, "driver", storage->driver) &&
           ((usual && strcmp(usual, storage->params) == 0) ||
            add_text(config, "params", storage->params)) &&
           add_text(config, "id", storage->id) &&
           add_text(config, "secret", cib_hex(storage->secret, CIB_SECRET_LEN, pool));
}

static apr_status_t config_text(const cib_storage_t *storage, const char **text, apr_pool_t *pool)
{
    json_object *config = json_object_new_object();
    apr_status_t rv = APR_ENOMEM;

    if (config && fill_config(config, storage, pool)) {
        const char *json = json_object_to_json_string_ext(
            config, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);

        *text = apr_pstrcat(pool, json ? json : "", "\n", NULL);
        rv = json ? APR_SUCCESS : APR_ENOMEM;
    }
    json_object_put(config);
    return rv;
}

apr_status_t cib_config_write(const cib_storage_t *storage, apr_pool_t *pool)
{
    const char *text = NULL, *random;
    cib_tempfile_t temp;
    apr_status_t rv = config_text(storage, &text, pool);

    if (rv == APR_SUCCESS)
        rv = cib_tempfile_random(&random, pool);
    if (rv == APR_SUCCESS)
        rv = cib_tempfile_open(&temp, storage->dir, apr_pstrcat(pool, "config-", random, NULL),
                               0600, pool);
    if (rv != APR_SUCCESS)
        return rv;
    rv = cib_fd_write(temp.fd, text, strlen(text), 0);
    if (rv == APR_SUCCESS)
        rv = cib_fd_sync(temp.fd);
    if (rv == APR_SUCCESS)
        rv = cib_tempfile_link(&temp, cib_storage_path(storage, "config", pool));
    cib_tempfile_drop(&temp);
    return rv == APR_SUCCESS ? cib_directory_sync(storage->dir) : rv;
}

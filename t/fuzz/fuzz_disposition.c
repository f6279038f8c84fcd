/* Header values with parameters (Content-Disposition, Content-Type): what is accepted, written
 * again in quotes, is the same; extended values are UTF-8. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "fuzz.h"
#include "header_value.h"
#include "util/cib_text.h"

static const char *quote(const char *text, apr_pool_t *pool)
{
    char *quoted = apr_palloc(pool, 2 * strlen(text) + 3), *to = quoted;

    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return quoted;
}

static const char *write_again(const cib_header_value_t *value, apr_pool_t *pool)
{
    const apr_array_header_t *params = apr_table_elts(value->params);
    const char *text = value->type;

    for (int i = 0; i < params->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(params, i, apr_table_entry_t);

        text = apr_pstrcat(pool, text, "; ", entry->key, "=", quote(entry->val, pool), NULL);
    }
    return text;
}

static void same(const cib_header_value_t *one, const cib_header_value_t *other)
{
    const apr_array_header_t *left = apr_table_elts(one->params);
    const apr_array_header_t *right = apr_table_elts(other->params);

    holds(!strcmp(one->type, other->type), "the same type");
    holds(left->nelts == right->nelts, "as many parameters");
    for (int i = 0; i < left->nelts; i++) {
        const apr_table_entry_t *a = &APR_ARRAY_IDX(left, i, apr_table_entry_t);
        const apr_table_entry_t *b = &APR_ARRAY_IDX(right, i, apr_table_entry_t);

        holds(!strcmp(a->key, b->key) && !strcmp(a->val, b->val),
              "the same parameter: %s=%s, %s=%s", a->key, a->val, b->key, b->val);
        holds(apr_table_get(one->params, a->key) == a->val, "no name comes twice");
    }
}

/* A name that is there may not come again, in whatever letters. */
static void check_twice(const cib_header_value_t *value, const char *written, apr_pool_t *pool)
{
    const apr_array_header_t *params = apr_table_elts(value->params);
    cib_header_value_t again;

    for (int i = 0; i < params->nelts; i++) {
        char *key = apr_pstrdup(pool, APR_ARRAY_IDX(params, i, apr_table_entry_t).key);

        for (char *at = key; *at; at++)
            *at = (char)apr_toupper(*at);
        holds(
            cib_header_value_parse(&again, apr_pstrcat(pool, written, ";", key, "=x", NULL), pool),
            "%s comes twice", key);
    }
}

/* In quotes everything but a quote stands for itself, and so do two backslashes for one only. */
static void check_quoted(const char *text, apr_pool_t *pool)
{
    cib_header_value_t value;

    if (strchr(text, '"') || strstr(text, "\\\\") || (*text && text[strlen(text) - 1] == '\\'))
        return;
    holds(!cib_header_value_parse(&value, apr_pstrcat(pool, "a; b=\"", text, "\"", NULL), pool),
          "anything may stand in quotes");
    holds(!strcmp(apr_table_get(value.params, "b"), text), "for itself");
}

/* An extended value, whose text is the parameter `filename*`. */
static void check_extended(const char *text, apr_pool_t *pool)
{
    const char *decoded = cib_header_value_extended(text, pool), *again;
    char *escaped, *to;

    if (!decoded)
        return;
    holds(cib_is_utf8(decoded, strlen(decoded)), "an extended value is UTF-8");
    escaped = to = apr_palloc(pool, 3 * strlen(decoded) + 8);
    to = apr_cpystrn(to, "utf-8''", 8);
    for (const char *at = decoded; *at; at++)
        to += apr_snprintf(to, 4, "%%%02X", (unsigned char)*at);
    again = cib_header_value_extended(escaped, pool);
    holds(again && !strcmp(decoded, again), "said again it is the same");
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *text = fuzz_text(data, len, pool);
    cib_header_value_t value, again;
    const char *written;

    check_extended(text, pool);
    check_quoted(text, pool);
    if (cib_header_value_parse(&value, text, pool))
        return;
    holds(!strpbrk(value.type, "; \tABCDEFGHIJKLMNOPQRSTUVWXYZ"), "a type in lower case");
    written = write_again(&value, pool);
    holds(!cib_header_value_parse(&again, written, pool), "written again it is accepted: %s",
          written);
    same(&value, &again);
    check_twice(&value, written, pool);
    if (apr_table_get(value.params, "filename*"))
        check_extended(apr_table_get(value.params, "filename*"), pool);
}

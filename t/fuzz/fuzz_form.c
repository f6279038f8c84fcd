/* Forms and queries: however they are cut they are read as if all were at hand, and what they say
 * in other escapes says the same.
 */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "body.h"
#include "util/cib_text.h"

static cib_error_t *make(cib_parser_t **parser, body_t *body, int planned, const void *baton)
{
    *parser = cib_parser_form(body->params, planned ? &body->plan : NULL, body->pool);
    return CIB_OK;
}

/* ---- a reader that has everything at hand ---- */

typedef struct pair_t {
    const char *name;
    apr_size_t name_len;
    const char *value;
    apr_size_t value_len;
} pair_t;

static int hex(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, apr_tolower(c)) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* NULL: a broken escape. */
static const char *decode(const char *data, apr_size_t len, apr_size_t *decoded_len,
                          apr_pool_t *pool)
{
    char *decoded = apr_palloc(pool, len + 1);
    char *to = decoded;

    for (apr_size_t i = 0; i < len; i++) {
        if (data[i] == '%') {
            if (len - i < 3 || hex(data[i + 1]) < 0 || hex(data[i + 2]) < 0)
                return NULL;
            *to++ = (char)(hex(data[i + 1]) << 4 | hex(data[i + 2]));
            i += 2;
        } else {
            *to++ = data[i] == '+' ? ' ' : data[i];
        }
    }
    *to = '\0';
    *decoded_len = (apr_size_t)(to - decoded);
    return decoded;
}

/* 0: a broken escape. */
static int read_pair(const char *data, apr_size_t len, pair_t *pair, apr_pool_t *pool)
{
    const char *equals = len ? memchr(data, '=', len) : NULL;
    apr_size_t name_len = equals ? (apr_size_t)(equals - data) : len;

    pair->value = "";
    pair->value_len = 0;
    pair->name = decode(data, name_len, &pair->name_len, pool);
    if (equals)
        pair->value = decode(equals + 1, len - name_len - 1, &pair->value_len, pool);
    return pair->name && pair->value;
}

/* The pairs; NULL: something is wrong with them. */
static apr_array_header_t *read_pairs(const char *data, apr_size_t len, apr_pool_t *pool)
{
    apr_array_header_t *pairs = apr_array_make(pool, 8, sizeof(pair_t));

    while (len) {
        const char *end = memchr(data, '&', len);
        apr_size_t part = end ? (apr_size_t)(end - data) : len;

        if (part) {
            pair_t *pair = apr_array_push(pairs);

            if (!read_pair(data, part, pair, pool) || !cib_is_utf8(pair->name, pair->name_len) ||
                !cib_is_utf8(pair->value, pair->value_len))
                return NULL;
        }
        data += end ? part + 1 : part;
        len -= end ? part + 1 : part;
    }
    return pairs;
}

/* ---- properties ---- */

static int is_plain(const apr_array_header_t *pairs)
{
    for (int i = 0; i < pairs->nelts; i++) {
        if (strchr(APR_ARRAY_IDX(pairs, i, pair_t).name, '['))
            return 0;
    }
    return 1;
}

/* The first of a name stays. */
static void check_pairs(const body_t *body, const apr_array_header_t *pairs)
{
    for (int i = pairs->nelts < 64 ? pairs->nelts : 64; i > 0; i--) {
        const pair_t *pair = &APR_ARRAY_IDX(pairs, i - 1, pair_t);
        const char *text = NULL;
        int first = 0;

        while (strcmp(APR_ARRAY_IDX(pairs, first, pair_t).name, pair->name) != 0)
            first++;
        holds(!cib_params_text(body->params, pair->name, &text) && text, "%s is a text",
              pair->name);
        holds(!strcmp(text, APR_ARRAY_IDX(pairs, first, pair_t).value), "%s has its first value",
              pair->name);
    }
}

static char *escape(char *to, const char *data, apr_size_t len)
{
    for (apr_size_t i = 0; i < len; i++)
        to += apr_snprintf(to, 4, "%%%02x", (unsigned char)data[i]);
    return to;
}

/* Say it again with every byte escaped, as a query. */
static void check_again(const body_t *body, const apr_array_header_t *pairs, apr_size_t len)
{
    char *text = apr_palloc(body->pool, 3 * len + 2 * (apr_size_t)pairs->nelts + 4), *to = text;
    body_t again = {.pool = body->pool, .params = cib_params_create(body->pool)};

    for (int i = 0; i < pairs->nelts; i++) {
        const pair_t *pair = &APR_ARRAY_IDX(pairs, i, pair_t);

        *to++ = '&';
        to = escape(to, pair->name, pair->name_len);
        *to++ = '=';
        to = escape(to, pair->value, pair->value_len);
    }
    again.err = cib_params_add_encoded(again.params, text, (apr_size_t)(to - text));
    holds(!again.err, "said again it is accepted: %s", cib_error_text(again.err, body->pool));
    for (int i = 0; i < pairs->nelts && i < 64; i++) {
        const char *name = APR_ARRAY_IDX(pairs, i, pair_t).name;
        const char *left = body_dump(body->params, name, body->pool);
        const char *right = body_dump(again.params, name, body->pool);

        holds(!strcmp(left, right), "said again it says the same: %s <> %s", left, right);
    }
}

/* A taken field's bytes are its value. */
static void check_taken(const body_t *planned, const apr_array_header_t *pairs)
{
    for (int i = 0; i < planned->fields->nelts; i++) {
        const body_field_t *field = APR_ARRAY_IDX(planned->fields, i, body_field_t *);
        int first = 0;

        if (!field->taken)
            continue;
        while (strcmp(APR_ARRAY_IDX(pairs, first, pair_t).name, field->name) != 0)
            first++;
        holds(field->bytes.len == APR_ARRAY_IDX(pairs, first, pair_t).value_len &&
                  (!field->bytes.len ||
                   !memcmp(field->bytes.data, APR_ARRAY_IDX(pairs, first, pair_t).value,
                           field->bytes.len)),
              "the sink got the value of %s", field->name);
    }
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const apr_array_header_t *pairs;
    body_t *planned, *plain;

    data = fuzz_expand(data, &len, pool);
    planned = body_parse_all(make, NULL, data, len, pool);
    plain = body_parse(make, NULL, 0, data, len, FUZZ_PIECES, pool);
    pairs = read_pairs(data, len, pool);
    holds(pairs || plain->err, "what cannot be read is refused");
    if (!pairs || len >= CIB_PARAMS_LIMIT)
        return;
    holds(!plain->err || !is_plain(pairs), "what can be read is accepted: %s",
          cib_error_text(plain->err, pool));
    if (plain->err)
        return;
    holds(!planned->err, "with a plan too");
    if (is_plain(pairs))
        check_pairs(plain, pairs);
    check_taken(planned, pairs);
    if (3 * len < CIB_PARAMS_LIMIT)
        check_again(plain, pairs, len);
}

/* application/json: what the parser accepts is exactly what RFC 8259 allows (an object, no deeper
 * than CIB_JSON_DEPTH, no NUL), however it is cut; a member that is streamed has the value it would
 * have in the params; and what json-c makes of the text is what the params know.
 */
#include <string.h>

#include <apr_strings.h>

#include "body.h"
#include "util/cib_text.h"

static cib_error_t *make(cib_parser_t **parser, body_t *body, int planned, const void *baton)
{
    *parser = cib_parser_json(body->params, planned ? &body->plan : NULL, body->pool);
    return CIB_OK;
}

/* ---- the grammar, with everything at hand ---- */

typedef struct grammar_t {
    const char *at, *end;
    int depth;
} grammar_t;

static int value(grammar_t *g);

static void blanks(grammar_t *g)
{
    while (g->at < g->end && memchr(" \t\r\n", *g->at, 4))
        g->at++;
}

static int literal(grammar_t *g, const char *word)
{
    apr_size_t len = strlen(word);

    if ((apr_size_t)(g->end - g->at) < len || memcmp(g->at, word, len) != 0)
        return 0;
    g->at += len;
    return 1;
}

static int digits(grammar_t *g)
{
    const char *from = g->at;

    while (g->at < g->end && *g->at >= '0' && *g->at <= '9')
        g->at++;
    return g->at > from;
}

static int number(grammar_t *g)
{
    literal(g, "-");
    if (!literal(g, "0") && !digits(g))
        return 0;
    if (literal(g, ".") && !digits(g))
        return 0;
    if (literal(g, "e") || literal(g, "E")) {
        if (!literal(g, "+"))
            literal(g, "-");
        return digits(g);
    }
    return 1;
}

static int escape(grammar_t *g)
{
    char c = g->at < g->end ? *g->at++ : '\0';

    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++, g->at++) {
        if (g->at == g->end || !*g->at || !strchr("0123456789abcdefABCDEF", *g->at))
            return 0;
    }
    return memcmp(g->at - 4, "0000", 4) != 0;
}

static int string(grammar_t *g)
{
    if (!literal(g, "\""))
        return 0;
    while (g->at < g->end && *g->at != '"') {
        if ((unsigned char)*g->at < 0x20)
            return 0;
        if (*g->at++ == '\\' && !escape(g))
            return 0;
    }
    return literal(g, "\"");
}

/* What stands between brackets, each with a key or not. */
static int members(grammar_t *g, const char *close, int keys)
{
    if (++g->depth > CIB_JSON_DEPTH)
        return 0;
    blanks(g);
    if (!literal(g, close)) {
        do {
            blanks(g);
            if (keys) {
                if (!string(g))
                    return 0;
                blanks(g);
                if (!literal(g, ":"))
                    return 0;
            }
            if (!value(g))
                return 0;
        } while (literal(g, ","));
        if (!literal(g, close))
            return 0;
    }
    g->depth--;
    return 1;
}

static int value(grammar_t *g)
{
    int good;

    blanks(g);
    if (literal(g, "{"))
        good = members(g, "}", 1);
    else if (literal(g, "["))
        good = members(g, "]", 0);
    else if (g->at < g->end && *g->at == '"')
        good = string(g);
    else
        good = literal(g, "true") || literal(g, "false") || literal(g, "null") || number(g);
    blanks(g);
    return good;
}

static int is_object(const char *data, apr_size_t len)
{
    grammar_t g = {data, data + len, 0};

    blanks(&g);
    if (g.at == g.end)
        return 1; /* nothing at all */
    return cib_is_utf8(data, len) && *g.at == '{' && value(&g) && g.at == g.end;
}

/* ---- properties ---- */

static int is_text(const bytes_t *bytes)
{
    return !bytes->len || cib_is_utf8(bytes->data, bytes->len);
}

/* A taken value came to its sink as it would have come into the params. `plain` has no plan. */
static void check_taken(const body_t *planned, const body_t *plain)
{
    int lax = 0; /* a value that C and json-c cannot hold: a trace may have such bytes */

    for (int i = 0; i < planned->fields->nelts; i++) {
        const body_field_t *field = APR_ARRAY_IDX(planned->fields, i, body_field_t *);

        if (field->taken && !is_text(&field->bytes))
            lax = 1;
    }
    if (!is_text(&planned->further))
        lax = 1;
    if (plain->err || planned->err) {
        holds(lax || (plain->err && planned->err) ||
                  body_reason(plain->err ? plain : planned) == CIB_REASON_TOO_LARGE,
              "with and without a plan the same is accepted: %s, %s",
              cib_error_text(planned->err, planned->pool), cib_error_text(plain->err, plain->pool));
        return;
    }
    for (int i = 0; i < planned->fields->nelts; i++) {
        const body_field_t *field = APR_ARRAY_IDX(planned->fields, i, body_field_t *);
        const char *text = NULL;

        if (!field->taken || strchr(field->name, '[') ||
            cib_params_has(planned->params, field->name))
            continue; /* of the last: what came before is no string, and stays */
        holds(!cib_params_text(plain->params, field->name, &text) && text, "it is a text");
        holds(strlen(text) == field->bytes.len &&
                  (!*text || !memcmp(text, field->bytes.data, field->bytes.len)),
              "the sink got what the params have");
    }
}

/* What json-c makes of the text, said again, is known to the params member by member. (Said again,
 * no name comes twice; of those json-c keeps the last and the params the first.) */
static void check_again(const char *data, apr_size_t len, apr_pool_t *pool)
{
    json_object *all = json_tokener_parse(apr_pstrmemdup(pool, data, len));
    const char *text = all ? json_object_to_json_string_ext(all, JSON_C_TO_STRING_PLAIN) : "";
    body_t *again;

    if (!all || strstr(text, "Infinity") || strlen(text) > CIB_PARAMS_LIMIT) {
        json_object_put(all);
        return;
    }
    again = body_parse(make, NULL, 0, text, strlen(text), FUZZ_WHOLE, pool);
    holds(!again->err, "what json-c writes is accepted: %s", cib_error_text(again->err, pool));
    json_object_object_foreach(all, key, member)
    {
        const char *got = NULL;
        json_object *object = NULL;

        if (strchr(key, '['))
            continue;
        holds(cib_params_has(again->params, key) == (member != NULL), "%s is there", key);
        if (json_object_is_type(member, json_type_string))
            holds(!cib_params_text(again->params, key, &got) && got &&
                      !strcmp(got, json_object_get_string(member)),
                  "%s is the same text", key);
        if (json_object_is_type(member, json_type_object))
            holds(!cib_params_object(again->params, key, &object) && object, "%s is an object",
                  key);
    }
    json_object_put(all);
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    body_t *planned, *plain;

    data = fuzz_expand(data, &len, pool);
    planned = body_parse_all(make, NULL, data, len, pool);
    plain = body_parse(make, NULL, 0, data, len, FUZZ_PIECES, pool);
    check_taken(planned, plain);
    if (len <= CIB_PARAMS_LIMIT)
        holds((plain->err == NULL) == is_object(data, len),
              "accepted is what the grammar allows: %s", cib_error_text(plain->err, pool));
    if (!plain->err && len)
        check_again(data, len, pool);
}

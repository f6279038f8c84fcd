/* A header's value with parameters. */
#include <string.h>
#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "header_value.h"
#include "util/cib_text.h"

static cib_error_t *malformed(apr_pool_t *pool, const char *text)
{
    return cib_error_detail(
        pool, cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "malformed header in the body"),
        "a header's parameters cannot be read: %s", text);
}

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* What is in quotes; `at` stands behind the first. Returns what follows the second, NULL: there is
 * none. */
static const char *quoted(const char *at, const char **value, apr_pool_t *pool)
{
    char *copy = apr_palloc(pool, strlen(at) + 1);

    *value = copy;
    while (*at != '"') {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
        if (!*at)
            return NULL;
        *copy++ = *at++;
    }
    *copy = '\0';
    return at + 1;
}

/* One "name=value"; returns what follows, NULL: malformed. */
static const char *parameter(cib_header_value_t *parsed, const char *at, apr_pool_t *pool)
{
    apr_size_t len = strcspn(at, "= \t;\"");
    const char *name = apr_pstrmemdup(pool, at, len);
    const char *value;

    at = skip_blanks(at + len);
    if (!len || *at != '=')
        return NULL;
    at = skip_blanks(at + 1);
    if (*at == '"') {
        at = quoted(at + 1, &value, pool);
    } else {
        len = strcspn(at, "; \t\"");
        value = apr_pstrmemdup(pool, at, len);
        at += len;
    }
    if (!at || apr_table_get(parsed->params, name))
        return NULL;
    apr_table_setn(parsed->params, name, value);
    return at;
}

cib_error_t *cib_header_value_parse(cib_header_value_t *value, const char *text, apr_pool_t *pool)
{
    const char *at = skip_blanks(text);
    apr_size_t len = strcspn(at, "; \t");
    char *c;

    value->type = apr_pstrmemdup(pool, at, len);
    for (c = value->type; *c; c++)
        *c = (char)apr_tolower(*c);
    value->params = apr_table_make(pool, 4);
    at = skip_blanks(at + len);
    while (*at == ';') {
        at = skip_blanks(at + 1);
        if (!*at)
            break; /* a semicolon too many is common, and harmless */
        at = parameter(value, at, pool);
        if (!at)
            return malformed(pool, text);
        at = skip_blanks(at);
    }
    return *at ? malformed(pool, text) : CIB_OK;
}

/* ---- extended values ---- */

static int hex_digit(char c)
{
    if (apr_isdigit(c))
        return c - '0';
    return apr_isxdigit(c) ? apr_tolower(c) - 'a' + 10 : -1;
}

/* The bytes behind percent signs; NULL: a broken escape, or NUL. */
static char *percent_decode(const char *text, apr_pool_t *pool)
{
    char *decoded = apr_palloc(pool, strlen(text) + 1);
    char *to = decoded;

    for (; *text; text++) {
        if (*text == '%') {
            int high = hex_digit(text[1]);
            int low = high < 0 ? -1 : hex_digit(text[2]);

            if (low < 0 || !(high | low))
                return NULL;
            *to++ = (char)(high << 4 | low);
            text += 2;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
    return decoded;
}

static const char *latin1_to_utf8(const char *text, apr_pool_t *pool)
{
    char *utf8 = apr_palloc(pool, 2 * strlen(text) + 1);
    char *to = utf8;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x80) {
            *to++ = (char)c;
        } else {
            *to++ = (char)(0xc0 | c >> 6);
            *to++ = (char)(0x80 | (c & 0x3f));
        }
    }
    *to = '\0';
    return utf8;
}

const char *cib_header_value_extended(const char *text, apr_pool_t *pool)
{
    const char *language = strchr(text, '\'');
    const char *encoded = language ? strchr(language + 1, '\'') : NULL;
    const char *charset = language ? apr_pstrmemdup(pool, text, language - text) : "";
    const char *decoded = encoded ? percent_decode(encoded + 1, pool) : NULL;

    if (!decoded)
        return NULL;
    if (!apr_cstr_casecmp(charset, "iso-8859-1"))
        return latin1_to_utf8(decoded, pool);
    if (apr_cstr_casecmp(charset, "utf-8") || !cib_is_utf8(decoded, strlen(decoded)))
        return NULL;
    return decoded;
}

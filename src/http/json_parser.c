/* application/json, as it arrives: one object, of which a string member may be of any size.
 *
 * The machine below knows the top-level object exactly and, of what is nested in it, only where it
 * ends. All text but a taken member's value is held (at most CIB_PARAMS_LIMIT) and given to json-c
 * member by member, each at its end, so that the plan can look at those before the one that it is
 * asked about. A taken value stands there as null. json-c is laxer than JSON even when strict
 * (single quotes, NaN, raw control characters, "1.", "-.5", "-01"): those are refused here, byte by
 * byte.
 */
#include <limits.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "field.h"
#include "util/cib_text.h"

typedef enum {
    JSON_START,     /* before the object */
    JSON_FIRST_KEY, /* a key or the end */
    JSON_KEY,       /* a key, after a comma */
    JSON_IN_KEY,
    JSON_COLON,
    JSON_VALUE,
    JSON_STRING, /* in a string that is held */
    JSON_TAKEN,  /* in a string that goes to the field */
    JSON_SCALAR, /* in a number or a literal */
    JSON_NESTED, /* in an object or a list */
    JSON_AFTER,  /* a comma or the end */
    JSON_DONE
} json_state_e;

/* How far a number is, as far as leading zeros and points need it. */
typedef enum {
    DIGITS_NONE, /* in no number */
    DIGITS_SIGN, /* behind the minus in front: nothing but a digit */
    DIGITS_ZERO, /* behind a zero in front: no further digit */
    DIGITS_MORE
} json_digits_e;

typedef struct json_parser_t {
    cib_parser_t base; /* first: what the caller holds */
    cib_field_t field;
    cib_buffer_t text;
    json_tokener *tokener;
    json_state_e state;
    int depth;   /* of what is open, the top-level object being 1 */
    int quoted;  /* in a string within something nested */
    int escaped; /* the last byte of a held string was a backslash */
    char before; /* the last byte outside strings */
    json_digits_e digits;
    apr_size_t member; /* offsets into `text`: where the current member begins, */
    apr_size_t key;    /* and its key, with the quotes */
    apr_size_t key_end;

    int escape; /* in a taken value: 1 after a backslash, 2 to 5 in \uXXXX */
    unsigned int unit;
    unsigned int high; /* a high surrogate that waits for its other half */
} json_parser_t;

static cib_error_t *malformed(json_parser_t *json, const char *what)
{
    return cib_error(json->field.pool, CIB_REASON_INVALID, APR_SUCCESS,
                     "the body is not a JSON object: %s", what);
}

/* ---- held text, to json-c ---- */

/* Is there a \u0000 (with an even number of backslashes before it)? C strings cannot hold it. */
static int escapes_nul(const char *text, apr_size_t len)
{
    const char *end = text + len;
    const char *at = text;

    while ((at = memchr(at, '\\', end - at)) && end - at >= 2) {
        if (end - at >= 6 && !memcmp(at, "\\u0000", 6))
            return 1;
        at += 2;
    }
    return 0;
}

static cib_error_t *check_text(json_parser_t *json, const char *text, apr_size_t len)
{
    if (!cib_is_utf8(text, len))
        return malformed(json, "not UTF-8");
    if (escapes_nul(text, len))
        return malformed(json, "NUL in a string");
    return CIB_OK;
}

static cib_error_t *start_tokener(json_parser_t *json)
{
    if (json->tokener) {
        json_tokener_reset(json->tokener);
        return CIB_OK;
    }
    /* what stands in the deepest of lists is one level more to it */
    json->tokener = json_tokener_new_ex(CIB_JSON_DEPTH + 1);
    if (!json->tokener)
        return cib_error_detail(json->field.pool,
                                cib_error(json->field.pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL),
                                "make a JSON tokener");
    json_tokener_set_flags(json->tokener, JSON_TOKENER_STRICT);
    return CIB_OK;
}

/* Give a whole member to the params. What is in it is checked by json-c, and where it begins and
 * ends by the machine: together that is the whole object. (One by one, for json-c lets the last of
 * a repeated name win, and the params the first.) */
static cib_error_t *parse_member(json_parser_t *json, apr_size_t from, apr_size_t to)
{
    const char *text = cib_buffer_text(&json->text) + from;
    json_object *object;

    CIB_TRY(check_text(json, text, to - from));
    CIB_TRY(start_tokener(json));
    if (json_tokener_parse_ex(json->tokener, "{", 1) ||
        json_tokener_get_error(json->tokener) != json_tokener_continue ||
        json_tokener_parse_ex(json->tokener, text, (int)(to - from)) ||
        json_tokener_get_error(json->tokener) != json_tokener_continue ||
        !(object = json_tokener_parse_ex(json->tokener, "}", 1)))
        return malformed(json, json_tokener_error_desc(json_tokener_get_error(json->tokener)));
    return cib_params_add_json(json->field.params, object);
}

/* The current member's name. */
static cib_error_t *member_name(json_parser_t *json, const char **name)
{
    const char *text = cib_buffer_text(&json->text) + json->key;
    apr_size_t len = json->key_end - json->key;
    json_object *key;

    CIB_TRY(check_text(json, text, len));
    *name = apr_pstrmemdup(json->field.pool, text + 1, len - 2);
    if (!memchr(text, '\\', len))
        return CIB_OK;
    CIB_TRY(start_tokener(json));
    key = json_tokener_parse_ex(json->tokener, text, (int)len);
    if (!key)
        return malformed(json, "invalid string sequence");
    *name = apr_pstrdup(json->field.pool, json_object_get_string(key));
    json_object_put(key);
    return CIB_OK;
}

/* A string member's value begins: whose is it? */
static cib_error_t *begin_string(json_parser_t *json)
{
    const char *name = NULL;

    json->state = JSON_STRING;
    if (!json->field.plan)
        return CIB_OK;
    CIB_TRY(member_name(json, &name));
    CIB_TRY(cib_field_begin(&json->field, name, NULL));
    if (json->field.where == CIB_FIELD_KEPT)
        return CIB_OK;
    json->text.len--; /* the quote */
    json->state = JSON_TAKEN;
    json->escape = 0;
    json->high = 0;
    return cib_buffer_append(&json->text, "null", 4);
}

/* ---- a taken value ---- */

static cib_error_t *put_code(json_parser_t *json, unsigned int code)
{
    char utf8[4];
    int len;

    if (code < 0x80) {
        utf8[0] = (char)code;
        len = 1;
    } else if (code < 0x800) {
        utf8[0] = (char)(0xc0 | code >> 6);
        len = 2;
    } else if (code < 0x10000) {
        utf8[0] = (char)(0xe0 | code >> 12);
        len = 3;
    } else {
        utf8[0] = (char)(0xf0 | code >> 18);
        len = 4;
    }
    for (int i = 1; i < len; i++)
        utf8[i] = (char)(0x80 | (code >> 6 * (len - 1 - i) & 0x3f));
    return cib_field_write(&json->field, utf8, len);
}

/* A high surrogate that waits will not find its other half. */
static cib_error_t *put_lone(json_parser_t *json)
{
    if (!json->high)
        return CIB_OK;
    json->high = 0;
    return put_code(json, 0xfffd);
}

static cib_error_t *put_unit(json_parser_t *json, unsigned int unit)
{
    int is_high = unit >= 0xd800 && unit < 0xdc00;
    int is_low = unit >= 0xdc00 && unit < 0xe000;

    if (json->high && is_low) {
        unsigned int code = 0x10000 + ((json->high - 0xd800) << 10) + (unit - 0xdc00);

        json->high = 0;
        return put_code(json, code);
    }
    CIB_TRY(put_lone(json));
    if (is_high) {
        json->high = unit;
        return CIB_OK;
    }
    return put_code(json, is_low ? 0xfffd : unit);
}

static cib_error_t *put_escape(json_parser_t *json, char c)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    const char *at = c ? strchr(names, c) : NULL;

    json->escape = 0;
    if (c == 'u') {
        json->escape = 2;
        json->unit = 0;
        return CIB_OK;
    }
    if (!at)
        return malformed(json, "invalid string sequence");
    CIB_TRY(put_lone(json));
    return cib_field_write(&json->field, &bytes[at - names], 1);
}

static cib_error_t *put_digit(json_parser_t *json, char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, apr_tolower(c)) : NULL;

    if (!at)
        return malformed(json, "invalid string sequence");
    json->unit = json->unit << 4 | (unsigned int)(at - digits);
    if (++json->escape < 6)
        return CIB_OK;
    json->escape = 0;
    return put_unit(json, json->unit);
}

static cib_error_t *end_taken(json_parser_t *json)
{
    CIB_TRY(put_lone(json));
    json->state = JSON_AFTER;
    return cib_field_end(&json->field);
}

/* One byte that is not plain text. */
static cib_error_t *taken_special(json_parser_t *json, char c)
{
    if (json->escape == 1)
        return put_escape(json, c);
    if (json->escape)
        return put_digit(json, c);
    if (c == '"')
        return end_taken(json);
    if (c != '\\')
        return malformed(json, "a control character in a string");
    json->escape = 1;
    return CIB_OK;
}

static apr_size_t plain_length(const char *data, apr_size_t len)
{
    apr_size_t i = 0;

    while (i < len && data[i] != '"' && data[i] != '\\' && (unsigned char)data[i] >= 0x20)
        i++;
    return i;
}

/* Decode what there is of it; `used` takes the number of bytes read. */
static cib_error_t *feed_taken(json_parser_t *json, const char *data, apr_size_t len,
                               apr_size_t *used)
{
    apr_size_t at = 0;

    while (at < len && json->state == JSON_TAKEN) {
        apr_size_t plain = json->escape ? 0 : plain_length(data + at, len - at);

        if (plain) {
            CIB_TRY(put_lone(json));
            CIB_TRY(cib_field_write(&json->field, data + at, plain));
            at += plain;
        } else {
            CIB_TRY(taken_special(json, data[at++]));
        }
    }
    *used = at;
    return CIB_OK;
}

/* ---- the machine ---- */

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static json_digits_e digits_behind(json_digits_e before, char c)
{
    if (!c || !strchr(before == DIGITS_NONE ? "-0123456789" : "0123456789.eE+-", c))
        return DIGITS_NONE;
    if (before == DIGITS_NONE && c == '-')
        return DIGITS_SIGN;
    return before < DIGITS_ZERO && c == '0' ? DIGITS_ZERO : DIGITS_MORE;
}

/* May `c` stand outside strings at all? */
static cib_error_t *check_outside(json_parser_t *json, char c)
{
    char before = json->before;
    json_digits_e digits = json->digits;

    json->before = c;
    json->digits = digits_behind(json->digits, c);
    if (!c || !strchr("{}[]:,\"+-.0123456789eEtrufalsn \t\r\n", c) ||
        ((before == '.' || digits == DIGITS_SIGN) && !apr_isdigit(c)) ||
        (digits == DIGITS_ZERO && apr_isdigit(c)))
        return malformed(json, "unexpected character");
    return CIB_OK;
}

/* One byte of a string that is held; `*ended` at its closing quote. What is escaped is for json-c
 * to judge. */
static cib_error_t *held_string(json_parser_t *json, char c, int *ended)
{
    *ended = !json->escaped && c == '"';
    json->escaped = !json->escaped && c == '\\';
    return (unsigned char)c < 0x20 ? malformed(json, "a control character in a string") : CIB_OK;
}

static cib_error_t *nested(json_parser_t *json, char c)
{
    int ended = 0;

    if (json->quoted) {
        CIB_TRY(held_string(json, c, &ended));
        json->quoted = !ended;
        return CIB_OK;
    }
    CIB_TRY(check_outside(json, c));
    if (c == '"')
        json->quoted = 1;
    else if ((c == '{' || c == '[') && ++json->depth > CIB_JSON_DEPTH)
        return malformed(json, "nesting too deep");
    else if ((c == '}' || c == ']') && --json->depth == 1)
        json->state = JSON_AFTER;
    return CIB_OK;
}

static cib_error_t *begin_value(json_parser_t *json, char c)
{
    if (c == '"')
        return begin_string(json);
    if (c == '{' || c == '[') {
        json->depth = 2;
        json->state = JSON_NESTED;
        return CIB_OK;
    }
    if (strchr("},:]", c))
        return malformed(json, "a value is missing");
    json->state = JSON_SCALAR;
    return CIB_OK;
}

static cib_error_t *after_value(json_parser_t *json, char c)
{
    if (c != ',' && c != '}')
        return malformed(json, "a comma or the end is missing");
    CIB_TRY(parse_member(json, json->member, json->text.len - 1));
    json->member = json->text.len;
    json->state = c == ',' ? JSON_KEY : JSON_DONE;
    return CIB_OK;
}

/* The structure of the top-level object, blanks left out. */
static cib_error_t *structure(json_parser_t *json, char c)
{
    switch (json->state) {
    case JSON_START:
        if (c != '{')
            break;
        json->depth = 1;
        json->state = JSON_FIRST_KEY;
        json->member = json->text.len;
        return CIB_OK;
    case JSON_FIRST_KEY:
    case JSON_KEY:
        if (c == '}' && json->state == JSON_FIRST_KEY) {
            json->state = JSON_DONE;
            return CIB_OK;
        }
        if (c != '"')
            break;
        json->key = json->text.len - 1;
        json->state = JSON_IN_KEY;
        return CIB_OK;
    case JSON_COLON:
        if (c != ':')
            break;
        json->state = JSON_VALUE;
        return CIB_OK;
    case JSON_VALUE:
        return begin_value(json, c);
    case JSON_AFTER:
        return after_value(json, c);
    default:
        break;
    }
    return malformed(json, "unexpected character");
}

/* One byte outside taken values. */
static cib_error_t *step(json_parser_t *json, char c)
{
    int ended = 0;

    CIB_TRY(cib_buffer_append(&json->text, &c, 1));
    if (json->state == JSON_NESTED)
        return nested(json, c);
    if (json->state == JSON_IN_KEY || json->state == JSON_STRING) {
        CIB_TRY(held_string(json, c, &ended));
        if (ended) {
            json->key_end = json->state == JSON_IN_KEY ? json->text.len : json->key_end;
            json->state = json->state == JSON_IN_KEY ? JSON_COLON : JSON_AFTER;
        }
        return CIB_OK;
    }
    CIB_TRY(check_outside(json, c));
    if (json->state == JSON_SCALAR) {
        if (!is_blank(c) && c != ',' && c != '}')
            return CIB_OK;
        json->state = JSON_AFTER;
    }
    return is_blank(c) ? CIB_OK : structure(json, c);
}

static cib_error_t *json_feed(cib_parser_t *parser, const char *data, apr_size_t len)
{
    json_parser_t *json = (json_parser_t *)parser;

    while (len) {
        apr_size_t used = 1;

        if (json->state == JSON_TAKEN)
            CIB_TRY(feed_taken(json, data, len, &used));
        else
            CIB_TRY(step(json, *data));
        data += used;
        len -= used;
    }
    return CIB_OK;
}

static cib_error_t *json_finish(cib_parser_t *parser)
{
    json_parser_t *json = (json_parser_t *)parser;

    if (json->state == JSON_DONE || json->state == JSON_START)
        return CIB_OK;
    return malformed(json, "it is cut off");
}

static apr_status_t release(void *data)
{
    json_parser_t *json = data;

    if (json->tokener)
        json_tokener_free(json->tokener);
    return APR_SUCCESS;
}

cib_parser_t *cib_parser_json(cib_params_t *params, const cib_body_plan_t *plan, apr_pool_t *pool)
{
    json_parser_t *json = apr_pcalloc(pool, sizeof *json);

    json->base.feed = json_feed;
    json->base.finish = json_finish;
    cib_field_init(&json->field, params, plan, pool);
    cib_buffer_init(&json->text, CIB_PARAMS_LIMIT, pool);
    apr_pool_cleanup_register(pool, json, release, apr_pool_cleanup_null);
    return &json->base;
}

/* multipart/form-data: the first line is the Content-Type, what follows is the body. However it is
 * cut the same comes out, and of what is accepted each part is what lies between two delimiters.
 */
#include <string.h>

#include <apr_strings.h>

#include "body.h"
#include "header_value.h"
#include "util/cib_text.h"

static cib_error_t *make(cib_parser_t **parser, body_t *body, int planned, const void *type)
{
    return cib_parser_multipart(parser, type, body->params, planned ? &body->plan : NULL,
                                body->pool);
}

/* ---- a parser that has everything at hand ---- */

typedef struct whole_t {
    const char *data; /* with CRLF in front: the first delimiter is then like all others */
    apr_size_t len;
    const char *delimiter;
    apr_size_t delimiter_len;
} whole_t;

typedef enum { LINE_NONE, LINE_NEXT, LINE_LAST } line_e;

/* What line is behind a delimiter? `*next` takes what follows it. */
static line_e line_at(const whole_t *whole, apr_size_t at, apr_size_t *next)
{
    apr_size_t blanks = 0;

    if (whole->len - at >= 2 && !memcmp(whole->data + at, "--", 2))
        return LINE_LAST;
    while (at < whole->len && (whole->data[at] == ' ' || whole->data[at] == '\t')) {
        blanks++;
        at++;
    }
    *next = at + 2;
    return blanks < 64 && whole->len - at >= 2 && !memcmp(whole->data + at, "\r\n", 2) ? LINE_NEXT
                                                                                       : LINE_NONE;
}

/* The first delimiter line from `from` on. */
static line_e find_line(const whole_t *whole, apr_size_t from, apr_size_t *at, apr_size_t *next)
{
    while (from < whole->len) {
        const char *found =
            memmem(whole->data + from, whole->len - from, whole->delimiter, whole->delimiter_len);
        line_e line;

        if (!found)
            return LINE_NONE;
        *at = (apr_size_t)(found - whole->data);
        line = line_at(whole, *at + whole->delimiter_len, next);
        if (line != LINE_NONE)
            return line;
        from = *at + 1;
    }
    return LINE_NONE;
}

/* Where the data of a part begins whose headers begin at `at`. */
static apr_size_t behind_headers(const whole_t *whole, apr_size_t at)
{
    const char *end;

    if (whole->len - at >= 2 && !memcmp(whole->data + at, "\r\n", 2))
        return at + 2;
    end = memmem(whole->data + at, whole->len - at, "\r\n\r\n", 4);
    holds(end, "the headers of a part that was taken have an end");
    return (apr_size_t)(end - whole->data) + 4;
}

/* Part `i` lies at `data`. A taken one came to its sink; another one is a text of the params,
 * unless an earlier one has its name, or one of which it is a member. */
static void check_part(const body_t *body, int i, const char *data, apr_size_t len)
{
    const body_field_t *field;

    holds(i < body->fields->nelts, "each part begins a field");
    field = APR_ARRAY_IDX(body->fields, i, body_field_t *);
    if (!field->taken)
        return;
    holds(field->ended, "a part of a body that was accepted has an end");
    holds(field->bytes.len == len, "part %d has %lu bytes, and %lu came", i, (unsigned long)len,
          (unsigned long)field->bytes.len);
    holds(!len || !memcmp(field->bytes.data, data, len), "they are those of the body");
}

static int count_parts(const whole_t *whole)
{
    apr_size_t at = 0, next = 0;
    int parts = 0;

    while (find_line(whole, next, &at, &next) == LINE_NEXT) {
        next = behind_headers(whole, next) - 2;
        parts++;
    }
    return parts;
}

static void check_parts(const body_t *body, const whole_t *whole)
{
    apr_size_t at = 0, next = 0;
    line_e line = find_line(whole, 0, &at, &next);

    for (int i = 0; line == LINE_NEXT; i++) {
        apr_size_t data = behind_headers(whole, next);

        /* the delimiter behind an empty part may borrow the line end of the headers */
        line = find_line(whole, data - 2, &at, &next);
        holds(line != LINE_NONE, "a part of a body that was accepted has a delimiter behind it");
        check_part(body, i, whole->data + data, at > data ? at - data : 0);
    }
}

/* ---- the target ---- */

static void check_filenames(const body_t *body)
{
    for (int i = 0; i < body->fields->nelts; i++) {
        const body_field_t *field = APR_ARRAY_IDX(body->fields, i, body_field_t *);

        holds(*field->name, "a part has a name");
        if (!field->filename)
            continue;
        holds(cib_is_utf8(field->filename, strlen(field->filename)), "a file name is UTF-8");
        holds(!strpbrk(field->filename, "\r\n"), "and has no line break");
    }
}

static const char *delimiter_of(const char *type, apr_pool_t *pool)
{
    cib_header_value_t value;

    holds(!cib_header_value_parse(&value, type, pool), "the type of what was accepted is readable");
    return apr_pstrcat(pool, "\r\n--", apr_table_get(value.params, "boundary"), NULL);
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *type = fuzz_line(&data, &len, pool);
    whole_t whole;
    body_t *body;

    data = fuzz_expand(data, &len, pool);
    body = body_parse_all(make, type, data, len, pool);
    check_filenames(body);
    if (body->err)
        return;
    whole.delimiter = delimiter_of(type, pool);
    whole.delimiter_len = strlen(whole.delimiter);
    whole.len = len + 2;
    whole.data = memcpy((char *)memcpy(apr_palloc(pool, len + 2), "\r\n", 2) + 2, data, len);
    whole.data -= 2;
    /* parts that repeat the name of one that was taken begin nothing */
    if (count_parts(&whole) == body->fields->nelts)
        check_parts(body, &whole);
    else
        holds(count_parts(&whole) > body->fields->nelts, "no field without a part");
}

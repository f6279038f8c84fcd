/* multipart/form-data, as it arrives.
 *
 * The delimiter is CRLF "--" boundary, and CR stands in it nowhere but in front. So of what was
 * carried over from the last bytes of one call, either all begins a delimiter or nothing does: what
 * is carried is known by its length alone, and nothing but headers and small pieces is ever copied.
 */
#include <string.h>
#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "field.h"
#include "header_value.h"
#include "util/cib_text.h"

#define HEADERS_LIMIT 8192
#define PARTS_LIMIT 64
#define OUTSIDE_LIMIT 65536
#define BOUNDARY_LIMIT 70
/* Blanks behind a delimiter: legal, and nobody sends them. */
#define PADDING_LIMIT 64

typedef enum {
    PART_PREAMBLE,
    PART_TAIL, /* behind a delimiter: is it one, and which? */
    PART_HEADERS,
    PART_DATA,
    PART_EPILOGUE
} part_state_e;

typedef struct multipart_parser_t {
    cib_parser_t base; /* first: what the caller holds */
    cib_field_t field;
    char delimiter[4 + BOUNDARY_LIMIT + 1];
    apr_size_t delimiter_len;
    part_state_e state;
    int in_part;         /* a delimiter ends data, not the preamble */
    apr_size_t matched;  /* so many bytes of a delimiter stood at the end of the last call, */
    apr_size_t borrowed; /* of which so many are the CRLF of the line before, not data */
    char tail[PADDING_LIMIT];
    apr_size_t tail_len;
    cib_buffer_t headers;
    int parts;
    apr_size_t outside; /* bytes of preamble and epilogue */
} multipart_parser_t;

static cib_error_t *malformed(multipart_parser_t *multipart, const char *what)
{
    return cib_error(multipart->field.pool, CIB_REASON_INVALID, APR_SUCCESS,
                     "the multipart body is malformed: %s", what);
}

static cib_error_t *too_large(multipart_parser_t *multipart, const char *what, int limit)
{
    return cib_error(multipart->field.pool, CIB_REASON_TOO_LARGE, APR_SUCCESS,
                     "a multipart body is limited to %d %s", limit, what);
}

/* ---- a part's headers ---- */

typedef struct disposition_t {
    const char *name;     /* NULL: not seen yet */
    const char *filename; /* NULL: none */
} disposition_t;

/* Would the name break a line or end a string, now or for somebody who decodes percent signs where
 * they mean nothing? */
static int is_hostile(const char *filename)
{
    const char *at;

    for (at = filename; *at; at++)
        if (*at == '\r' || *at == '\n' || !strncmp(at, "%00", 3) ||
            !apr_cstr_casecmpn(at, "%0a", 3) || !apr_cstr_casecmpn(at, "%0d", 3))
            return 1;
    return 0;
}

/* A name in some other character set is no reason to refuse a file: what is not UTF-8 is replaced.
 */
static const char *to_utf8(const char *text, apr_pool_t *pool)
{
    char *clean, *to;

    if (cib_is_utf8(text, strlen(text)))
        return text;
    clean = to = apr_palloc(pool, 3 * strlen(text) + 1);
    while (*text) {
        apr_size_t len = 1;

        while (len < 4 && text[len] && !cib_is_utf8(text, len))
            len++;
        if (cib_is_utf8(text, len)) {
            memcpy(to, text, len);
            to += len;
            text += len;
        } else {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            text++;
        }
    }
    *to = '\0';
    return clean;
}

static cib_error_t *read_filename(multipart_parser_t *multipart, const cib_header_value_t *value,
                                  const char **filename)
{
    apr_pool_t *pool = multipart->field.pool;
    const char *extended = apr_table_get(value->params, "filename*");

    *filename = apr_table_get(value->params, "filename");
    if (extended) {
        *filename = cib_header_value_extended(extended, pool);
        if (!*filename)
            return malformed(multipart, "filename* cannot be decoded");
    }
    if (*filename && is_hostile(*filename))
        return malformed(multipart, "a line break or NUL in a file name");
    if (*filename)
        *filename = to_utf8(*filename, pool);
    return CIB_OK;
}

static cib_error_t *read_disposition(multipart_parser_t *multipart, const char *text,
                                     disposition_t *part)
{
    cib_header_value_t value;

    if (part->name)
        return malformed(multipart, "a part has two dispositions");
    CIB_TRY(cib_header_value_parse(&value, text, multipart->field.pool));
    part->name = apr_table_get(value.params, "name");
    if (strcmp(value.type, "form-data") != 0 || !part->name || !*part->name)
        return malformed(multipart, "a part is not form-data with a name");
    return read_filename(multipart, &value, &part->filename);
}

static int is_plain_encoding(const char *encoding)
{
    return !apr_cstr_casecmp(encoding, "binary") || !apr_cstr_casecmp(encoding, "8bit") ||
           !apr_cstr_casecmp(encoding, "7bit");
}

static cib_error_t *read_header(multipart_parser_t *multipart, char *line, disposition_t *part)
{
    apr_size_t name_len = strcspn(line, ": \t");
    apr_size_t len = strlen(line);
    char *value = line + name_len + 1;

    if (!name_len || line[name_len] != ':')
        return malformed(multipart, "a header without a name");
    line[name_len] = '\0';
    while (len > name_len + 1 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        line[--len] = '\0';
    while (*value == ' ' || *value == '\t')
        value++;
    if (!apr_cstr_casecmp(line, "Content-Disposition"))
        return read_disposition(multipart, value, part);
    if (!apr_cstr_casecmp(line, "Content-Transfer-Encoding") && !is_plain_encoding(value))
        return malformed(multipart, "a part has a transfer encoding");
    return CIB_OK;
}

/* Cut the line at `text`, continuation lines included, out of the headers: NULL where it holds a
 * control character, which whole line ends are not. `*next` takes the line after it. */
static char *cut_line(char *text, char **next)
{
    char *at;

    for (at = text; *at; at++) {
        if (at[0] == '\r' && at[1] == '\n') {
            if (at[2] != ' ' && at[2] != '\t')
                break;
            at[0] = at[1] = ' ';
        }
        if (*at != '\t' && ((unsigned char)*at < 0x20 || *at == 0x7f))
            return NULL;
    }
    *next = *at ? at + 2 : at;
    *at = '\0';
    return text;
}

/* The headers are complete: what part is it? */
static cib_error_t *begin_part(multipart_parser_t *multipart)
{
    disposition_t part = {NULL, NULL};
    /* the names found are made of this copy, which must outlive the buffer's next use */
    char *text = apr_pstrdup(multipart->field.pool, cib_buffer_text(&multipart->headers));

    if (strlen(text) != multipart->headers.len)
        return malformed(multipart, "NUL in a header");
    while (*text && strcmp(text, "\r\n") != 0) {
        char *line = cut_line(text, &text);

        if (!line)
            return malformed(multipart, "a control character in a header");
        CIB_TRY(read_header(multipart, line, &part));
    }
    if (!part.name)
        return malformed(multipart, "a part has no disposition");
    CIB_TRY(cib_field_spend(&multipart->field, strlen(part.name)));
    CIB_TRY(cib_field_begin(&multipart->field, part.name, part.filename));
    multipart->state = PART_DATA;
    multipart->in_part = 1;
    /* an empty part may go without the line end before the delimiter: the headers' is borrowed */
    multipart->matched = multipart->borrowed = 2;
    return CIB_OK;
}

/* One byte of the headers. */
static cib_error_t *header_byte(multipart_parser_t *multipart, char c)
{
    cib_buffer_t *headers = &multipart->headers;
    const char *end;

    if (headers->len == HEADERS_LIMIT)
        return too_large(multipart, "bytes of headers a part", HEADERS_LIMIT);
    CIB_TRY(cib_buffer_append(headers, &c, 1));
    if (c != '\n')
        return CIB_OK;
    end = headers->data + headers->len;
    if (headers->len < 2 || end[-2] != '\r')
        return malformed(multipart, "a line does not end in CRLF");
    if (headers->len == 2 || (headers->len >= 4 && !memcmp(end - 4, "\r\n", 2)))
        return begin_part(multipart);
    return CIB_OK;
}

/* ---- data and delimiters ---- */

/* What stands before the first part and behind the last means nothing, and must have an end. */
static cib_error_t *skip(multipart_parser_t *multipart, apr_size_t len)
{
    if (len > OUTSIDE_LIMIT - multipart->outside)
        return too_large(multipart, "bytes outside of its parts", OUTSIDE_LIMIT);
    multipart->outside += len;
    return CIB_OK;
}

static cib_error_t *emit(multipart_parser_t *multipart, const char *data, apr_size_t len)
{
    return multipart->in_part ? cib_field_write(&multipart->field, data, len)
                              : skip(multipart, len);
}

/* How many bytes at the end of `data` may begin a delimiter. */
static apr_size_t open_end(const multipart_parser_t *multipart, const char *data, apr_size_t len)
{
    apr_size_t reach = len < multipart->delimiter_len ? len : multipart->delimiter_len - 1;
    const char *start = memrchr(data + len - reach, '\r', reach);
    apr_size_t keep = start ? (apr_size_t)(data + len - start) : 0;

    return keep && !memcmp(start, multipart->delimiter, keep) ? keep : 0;
}

static void found_delimiter(multipart_parser_t *multipart)
{
    multipart->matched = multipart->delimiter_len;
    multipart->state = PART_TAIL;
    multipart->tail_len = 0;
}

/* What looked like a delimiter is data. */
static cib_error_t *emit_matched(multipart_parser_t *multipart)
{
    const char *data = multipart->delimiter + multipart->borrowed;
    apr_size_t len = multipart->matched - multipart->borrowed;

    multipart->matched = multipart->borrowed = 0;
    return emit(multipart, data, len);
}

/* Data (or the preamble) up to the next delimiter or to the end; `used` takes the bytes read. */
static cib_error_t *scan(multipart_parser_t *multipart, const char *data, apr_size_t len,
                         apr_size_t *used)
{
    const char *found;

    if (multipart->matched) {
        apr_size_t more = multipart->delimiter_len - multipart->matched;

        if (more > len)
            more = len;
        if (!memcmp(data, multipart->delimiter + multipart->matched, more)) {
            multipart->matched += more;
            *used = more;
            if (multipart->matched == multipart->delimiter_len)
                found_delimiter(multipart);
            return CIB_OK;
        }
        CIB_TRY(emit_matched(multipart));
    }
    found = memmem(data, len, multipart->delimiter, multipart->delimiter_len);
    if (found) {
        *used = (apr_size_t)(found - data) + multipart->delimiter_len;
        found_delimiter(multipart);
        return emit(multipart, data, (apr_size_t)(found - data));
    }
    *used = len;
    multipart->matched = open_end(multipart, data, len);
    return emit(multipart, data, len - multipart->matched);
}

static cib_error_t *end_part(multipart_parser_t *multipart, part_state_e next)
{
    int in_part = multipart->in_part;

    multipart->state = next;
    multipart->matched = multipart->borrowed = 0;
    multipart->in_part = 0;
    cib_buffer_clear(&multipart->headers);
    if (in_part)
        CIB_TRY(cib_field_end(&multipart->field));
    if (next == PART_HEADERS && ++multipart->parts > PARTS_LIMIT)
        return too_large(multipart, "parts", PARTS_LIMIT);
    return CIB_OK;
}

/* One byte behind a delimiter: "--" ends the body, blanks and CRLF the line; anything else makes it
 * data, and leaves the byte to be read as such (`used` 0). */
static cib_error_t *tail_byte(multipart_parser_t *multipart, char c, apr_size_t *used)
{
    char last = multipart->tail_len ? multipart->tail[multipart->tail_len - 1] : ' ';
    apr_size_t len = multipart->tail_len;

    if (last == '-' && c == '-')
        return end_part(multipart, PART_EPILOGUE);
    if (last == '\r' && c == '\n')
        return end_part(multipart, PART_HEADERS);
    if (len < PADDING_LIMIT && (last == ' ' || last == '\t') &&
        (c == ' ' || c == '\t' || c == '\r' || (c == '-' && !len))) {
        multipart->tail[multipart->tail_len++] = c;
        return CIB_OK;
    }
    *used = 0;
    multipart->state = multipart->in_part ? PART_DATA : PART_PREAMBLE;
    CIB_TRY(emit_matched(multipart));
    return emit(multipart, multipart->tail, len);
}

static cib_error_t *multipart_feed(cib_parser_t *parser, const char *data, apr_size_t len)
{
    multipart_parser_t *multipart = (multipart_parser_t *)parser;

    while (len && multipart->state != PART_EPILOGUE) {
        apr_size_t used = 1;

        if (multipart->state == PART_TAIL)
            CIB_TRY(tail_byte(multipart, *data, &used));
        else if (multipart->state == PART_HEADERS)
            CIB_TRY(header_byte(multipart, *data));
        else
            CIB_TRY(scan(multipart, data, len, &used));
        data += used;
        len -= used;
    }
    return skip(multipart, len);
}

static cib_error_t *multipart_finish(cib_parser_t *parser)
{
    multipart_parser_t *multipart = (multipart_parser_t *)parser;

    return multipart->state == PART_EPILOGUE
               ? CIB_OK
               : malformed(multipart, "the closing delimiter is missing");
}

/* ---- making one ---- */

static int is_boundary(const char *boundary)
{
    apr_size_t len = strlen(boundary);
    const char *at;

    if (!len || len > BOUNDARY_LIMIT || boundary[len - 1] == ' ')
        return 0;
    for (at = boundary; *at; at++)
        if (!apr_isalnum(*at) && !strchr("'()+_,-./:=? ", *at))
            return 0;
    return 1;
}

cib_error_t *cib_parser_multipart(cib_parser_t **parser, const char *content_type,
                                  cib_params_t *params, const cib_body_plan_t *plan,
                                  apr_pool_t *pool)
{
    multipart_parser_t *multipart = apr_pcalloc(pool, sizeof *multipart);
    cib_header_value_t value;
    const char *boundary;

    cib_field_init(&multipart->field, params, plan, pool);
    CIB_TRY(cib_header_value_parse(&value, content_type, pool));
    boundary = apr_table_get(value.params, "boundary");
    if (!boundary || !is_boundary(boundary))
        return malformed(multipart, "no boundary");
    multipart->base.feed = multipart_feed;
    multipart->base.finish = multipart_finish;
    multipart->delimiter_len = (apr_size_t)apr_snprintf(
        multipart->delimiter, sizeof multipart->delimiter, "\r\n--%s", boundary);
    multipart->state = PART_PREAMBLE;
    multipart->matched = 2; /* the first delimiter may stand at the very beginning */
    cib_buffer_init(&multipart->headers, HEADERS_LIMIT, pool);
    *parser = &multipart->base;
    return CIB_OK;
}

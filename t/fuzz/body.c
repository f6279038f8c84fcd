/* One parsing of a request body, and two held against each other. */
#include "body.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

/* A form can have thousands of fields; the params of the first ones are looked at. */
#define LOOK_AT 64

/* A larger body is cut in one way only: that takes its time. */
#define LARGE 8192

static apr_status_t free_bytes(void *data)
{
    bytes_t *bytes = data;

    free(bytes->data);
    bytes->data = NULL;
    return APR_SUCCESS;
}

void bytes_add(bytes_t *bytes, const char *data, apr_size_t len, apr_pool_t *pool)
{
    if (!len)
        return;
    if (!bytes->data)
        apr_pool_cleanup_register(pool, bytes, free_bytes, apr_pool_cleanup_null);
    if (bytes->len + len > bytes->room) {
        bytes->room = 2 * (bytes->len + len);
        bytes->data = realloc(bytes->data, bytes->room);
    }
    holds(bytes->data != NULL, "there is memory");
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static const char *text_dump(const cib_params_t *params, const char *name, apr_pool_t *pool)
{
    const char *text = NULL;

    if (cib_params_text(params, name, &text))
        return "(no text)";
    return text ? apr_pstrcat(pool, "'", text, "'", NULL) : "(absent)";
}

/* ---- the plan ---- */

/* Each call begins with this; it may be the one that is to fail. */
static cib_error_t *call(body_t *body)
{
    holds(!body->failure, "no call follows one that failed");
    if (++body->calls == body->fail_at)
        body->failure = cib_error(body->pool, CIB_REASON_NO_SPACE, APR_ENOSPC, NULL);
    return body->failure;
}

static cib_error_t *further(void *baton, const char *data, apr_size_t len)
{
    body_t *body = baton;

    CIB_TRY(call(body));
    bytes_add(&body->further, data, len, body->pool);
    return CIB_OK;
}

static cib_error_t *take(void *baton, const char *data, apr_size_t len)
{
    body_t *body = baton;
    body_field_t *field = APR_ARRAY_IDX(body->fields, body->fields->nelts - 1,
                                        body_field_t *); /* the last to begin */

    CIB_TRY(call(body));
    holds(field->taken && !field->ended, "bytes come only for a field that is open");
    holds(len > 0, "a sink gets no empty pieces");
    bytes_add(&field->bytes, data, len, body->pool);
    return CIB_OK;
}

static cib_error_t *begin(void *baton, const char *name, const char *filename,
                          const cib_sink_t **sink)
{
    body_t *body = baton;
    body_field_t *field = apr_pcalloc(body->pool, sizeof(*field));

    CIB_TRY(call(body));
    holds(*sink == NULL, "a field begins without a sink");
    field->name = apr_pstrdup(body->pool, name);
    field->filename = apr_pstrdup(body->pool, filename);
    field->taken = !strcmp(name, "file") || !strcmp(name, "trace") || filename;
    field->probe = text_dump(body->params, "token", body->pool);
    APR_ARRAY_PUSH(body->fields, body_field_t *) = field;
    if (field->taken) {
        cib_sink_t *made = apr_palloc(body->pool, sizeof(*made));

        made->write = take;
        made->baton = body;
        *sink = made;
    }
    return CIB_OK;
}

static cib_error_t *end(void *baton, const char *name)
{
    body_t *body = baton;
    body_field_t *field = APR_ARRAY_IDX(body->fields, body->fields->nelts - 1, body_field_t *);

    CIB_TRY(call(body));
    holds(field->taken && !field->ended, "only a field that is open ends");
    holds(!strcmp(field->name, name), "it is the one that began");
    field->ended = 1;
    return CIB_OK;
}

/* ---- parsing ---- */

/* In memory of exactly its size; single bytes are too many for one each. */
static cib_error_t *feed_piece(cib_parser_t *parser, const char *data, apr_size_t len)
{
    static char *byte;
    char *copy = len == 1 && byte ? byte : malloc(len);
    cib_error_t *err;

    holds(copy != NULL, "there is memory");
    memcpy(copy, data, len);
    err = parser->feed(parser, copy, len);
    if (len == 1)
        byte = copy;
    else
        free(copy);
    return err;
}

static cib_error_t *feed(cib_parser_t *parser, const char *data, apr_size_t len, fuzz_cuts_t *cuts)
{
    cib_error_t *err = CIB_OK;

    while (len && !err) {
        apr_size_t piece = fuzz_cut(cuts, len);

        err = feed_piece(parser, data, piece);
        data += piece;
        len -= piece;
    }
    return err ? err : parser->finish(parser);
}

static body_t *body_make(apr_pool_t *pool)
{
    body_t *body = apr_pcalloc(pool, sizeof(*body));

    body->pool = pool;
    body->params = cib_params_create(pool);
    body->fields = apr_array_make(pool, 4, sizeof(body_field_t *));
    body->plan.begin = begin;
    body->plan.end = end;
    body->plan.baton = body;
    body->plan.further = &body->further_sink;
    body->further_sink.write = further;
    body->further_sink.baton = body;
    return body;
}

static void parse(body_t *body, body_parser_fn make, const void *baton, int planned,
                  const char *data, apr_size_t len, fuzz_cut_e how)
{
    cib_parser_t *parser = NULL;
    fuzz_cuts_t cuts;

    fuzz_cuts_begin(&cuts, how, data, len);
    body->err = make(&parser, body, planned, baton);
    if (!body->err)
        body->err = feed(parser, data, len, &cuts);
}

body_t *body_parse(body_parser_fn make, const void *baton, int planned, const char *data,
                   apr_size_t len, fuzz_cut_e how, apr_pool_t *pool)
{
    body_t *body = body_make(pool);

    parse(body, make, baton, planned, data, len, how);
    return body;
}

void body_parse_failing(body_parser_fn make, const void *baton, int fail_at, const char *data,
                        apr_size_t len, apr_pool_t *pool)
{
    body_t *body = body_make(pool);

    body->fail_at = fail_at;
    parse(body, make, baton, 1, data, len, FUZZ_WHOLE);
    holds(body->failure && body->err == body->failure, "a call that fails ends the parsing: %s",
          cib_error_text(body->err, pool));
}

int body_reason(const body_t *body)
{
    return body->err ? (int)body->err->reason : -1;
}

/* ---- comparing ---- */

static const char *list_dump(const cib_params_t *params, const char *name, apr_pool_t *pool)
{
    apr_array_header_t *list = NULL;
    const char *dump = "list";

    if (cib_params_list(params, name, &list))
        return "(no list)";
    for (int i = 0; list && i < list->nelts; i++)
        dump = apr_pstrcat(pool, dump, " '", APR_ARRAY_IDX(list, i, const char *), "'", NULL);
    return dump;
}

const char *body_dump(const cib_params_t *params, const char *name, apr_pool_t *pool)
{
    int flag = -7;
    int flag_ok = !cib_params_flag(params, name, &flag);
    apr_int64_t number = -7;
    int number_ok = !cib_params_int(params, name, &number);
    json_object *object = NULL;
    int object_ok = !cib_params_object(params, name, &object);

    holds(!flag_ok || (flag >= -1 && flag <= 1), "a flag is one of three");
    return apr_psprintf(pool, "%s: %d %s %d/%d %d/%" APR_INT64_T_FMT " %s %d/%s", name,
                        cib_params_has(params, name), text_dump(params, name, pool), flag_ok, flag,
                        number_ok, number, list_dump(params, name, pool), object_ok,
                        object ? json_object_to_json_string(object) : "");
}

static void same_params(const body_t *one, const body_t *other, const char *name)
{
    const char *left = body_dump(one->params, name, one->pool);
    const char *right = body_dump(other->params, name, one->pool);

    holds(!strcmp(left, right), "the params are the same: %s <> %s", left, right);
}

/* An error may stop a sink's bytes earlier in one of them. */
static void same_bytes(const bytes_t *one, const bytes_t *other, int whole)
{
    apr_size_t len = one->len < other->len ? one->len : other->len;

    holds(!whole || one->len == other->len, "as many bytes: %lu and %lu", (unsigned long)one->len,
          (unsigned long)other->len);
    holds(!len || !memcmp(one->data, other->data, len), "the same bytes");
}

static void same_field(const body_t *one, const body_t *other, int i)
{
    const body_field_t *left = APR_ARRAY_IDX(one->fields, i, body_field_t *);
    const body_field_t *right = APR_ARRAY_IDX(other->fields, i, body_field_t *);
    const char *bracket = strchr(left->name, '[');

    holds(!strcmp(left->name, right->name), "the same name");
    holds(!left->filename == !right->filename &&
              (!left->filename || !strcmp(left->filename, right->filename)),
          "the same file name");
    holds(!strcmp(left->probe, right->probe), "the same params before it");
    holds(left->ended == right->ended, "it ended in both");
    same_bytes(&left->bytes, &right->bytes, left->ended);
    if (i >= LOOK_AT)
        return;
    same_params(one, other, left->name);
    if (bracket)
        same_params(one, other, apr_pstrmemdup(one->pool, left->name, bracket - left->name));
}

void body_same(const body_t *one, const body_t *other)
{
    holds(body_reason(one) == body_reason(other), "the same verdict: %d (%s) and %d (%s)",
          body_reason(one), cib_error_text(one->err, one->pool), body_reason(other),
          cib_error_text(other->err, one->pool));
    if (one->err)
        holds(!strcmp(cib_error_text(one->err, one->pool), cib_error_text(other->err, one->pool)),
              "for the same reason: %s and %s", cib_error_text(one->err, one->pool),
              cib_error_text(other->err, one->pool));
    holds(one->fields->nelts == other->fields->nelts, "as many fields");
    for (int i = 0; i < one->fields->nelts; i++)
        same_field(one, other, i);
    same_bytes(&one->further, &other->further, !one->err);
    same_params(one, other, "token");
    same_params(one, other, "info");
    same_params(one, other, "info[features][cache]");
}

body_t *body_parse_all(body_parser_fn make, const void *baton, const char *data, apr_size_t len,
                       apr_pool_t *pool)
{
    body_t *first = body_parse(make, baton, 1, data, len, FUZZ_WHOLE, pool);

    for (int how = len > LARGE ? FUZZ_PIECES : FUZZ_WHOLE + 1; how < FUZZ_CUTS; how++)
        body_same(first, body_parse(make, baton, 1, data, len, (fuzz_cut_e)how, pool));
    if (first->calls) {
        fuzz_cuts_t cuts;

        fuzz_cuts_begin(&cuts, FUZZ_PIECES, data, len);
        body_parse_failing(make, baton, 1 + (int)fuzz_draw(&cuts, (apr_size_t)first->calls), data,
                           len, pool);
    }
    return first;
}

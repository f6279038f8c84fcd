/* Printing results. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <apr_strings.h>
#include <json-c/json_object_iterator.h>
#include "output.h"
#include "util/cib_text.h"

#define MOST_COLUMNS 10

void cli_set_text(json_object *object, const char *key, const char *text)
{
    json_object_object_add(object, key, text ? json_object_new_string(text) : NULL);
}

void cli_set_int(json_object *object, const char *key, apr_int64_t number)
{
    json_object_object_add(object, key, json_object_new_int64(number));
}

void cli_set_id(json_object *object, const char *key, apr_int64_t id)
{
    json_object_object_add(object, key, id ? json_object_new_int64(id) : NULL);
}

void cli_set_bool(json_object *object, const char *key, int truth)
{
    json_object_object_add(object, key, json_object_new_boolean(truth));
}

void cli_set_time(json_object *object, const char *key, apr_time_t when, apr_pool_t *pool)
{
    cli_set_text(object, key, cib_time_iso8601(when, pool));
}

void cli_set_ids(json_object *object, const char *key, const apr_array_header_t *ids)
{
    json_object *array = json_object_new_array();

    for (int i = 0; i < ids->nelts; i++)
        json_object_array_add(array, json_object_new_int64(APR_ARRAY_IDX(ids, i, apr_int64_t)));
    json_object_object_add(object, key, array);
}

void cli_set_texts(json_object *object, const char *key, const apr_array_header_t *texts)
{
    json_object *array = json_object_new_array();

    for (int i = 0; i < texts->nelts; i++)
        json_object_array_add(array, json_object_new_string(APR_ARRAY_IDX(texts, i, const char *)));
    json_object_object_add(object, key, array);
}

static const char *as_json(json_object *object)
{
    return json_object_to_json_string_ext(object,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* Replace control characters, the C1 ones (U+0080 to U+009F) too: they could drive the terminal. */
static const char *tame(const char *text, apr_pool_t *pool)
{
    unsigned char *copy = (unsigned char *)apr_pstrdup(pool, text);

    for (unsigned char *c = copy; *c; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
            c[0] = c[1] = '?';
    }
    return (const char *)copy;
}

static const char *for_person(json_object *value, apr_pool_t *pool);

static const char *joined(const char *text, const char *more, apr_pool_t *pool)
{
    return *text ? apr_pstrcat(pool, text, ", ", more, NULL) : more;
}

static const char *array_for_person(json_object *array, apr_pool_t *pool)
{
    const char *text = "";

    for (size_t i = 0; i < json_object_array_length(array); i++)
        text = joined(text, for_person(json_object_array_get_idx(array, i), pool), pool);
    return *text ? text : "-";
}

static const char *object_for_person(json_object *object, apr_pool_t *pool)
{
    struct json_object_iterator at = json_object_iter_begin(object);
    struct json_object_iterator end = json_object_iter_end(object);
    const char *text = "";

    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        const char *value = for_person(json_object_iter_peek_value(&at), pool);

        text = joined(text, apr_pstrcat(pool, json_object_iter_peek_name(&at), " ", value, NULL),
                      pool);
    }
    return text;
}

/* A value for a person: lists by commas, nothing as a dash. */
static const char *for_person(json_object *value, apr_pool_t *pool)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return "-";
    case json_type_boolean:
        return json_object_get_boolean(value) ? "yes" : "no";
    case json_type_array:
        return array_for_person(value, pool);
    case json_type_object:
        return object_for_person(value, pool);
    default:
        return tame(json_object_get_string(value), pool);
    }
}

static int widest_name(json_object *object)
{
    struct json_object_iterator at = json_object_iter_begin(object);
    struct json_object_iterator end = json_object_iter_end(object);
    int width = 0;

    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
        int len = (int)strlen(json_object_iter_peek_name(&at));

        width = len > width ? len : width;
    }
    return width;
}

static int holds_objects(json_object *value)
{
    return json_object_is_type(value, json_type_array) && json_object_array_length(value) > 0 &&
           json_object_is_type(json_object_array_get_idx(value, 0), json_type_object);
}

/* A line; a list of objects has one for each of them. */
static void print_line(const char *name, json_object *value, int width, apr_pool_t *pool)
{
    if (!holds_objects(value)) {
        printf("%-*s  %s\n", width, name, for_person(value, pool));
        return;
    }
    for (size_t i = 0; i < json_object_array_length(value); i++)
        printf("%-*s  %s\n", width, i ? "" : name,
               for_person(json_object_array_get_idx(value, i), pool));
}

static void print_for_person(json_object *object, apr_pool_t *pool)
{
    struct json_object_iterator at = json_object_iter_begin(object);
    struct json_object_iterator end = json_object_iter_end(object);
    int width = widest_name(object);

    for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
        print_line(json_object_iter_peek_name(&at), json_object_iter_peek_value(&at), width, pool);
}

void cli_print_json(const cli_t *cli, json_object *object)
{
    if (cli->json)
        puts(as_json(object));
    json_object_put(object);
}

void cli_print(const cli_t *cli, json_object *object)
{
    if (!cli->json)
        print_for_person(object, cli->pool);
    cli_print_json(cli, object);
}

void cli_print_member(const cli_t *cli, json_object *object, const char *key)
{
    if (!cli->json)
        puts(for_person(json_object_object_get(object, key), cli->pool));
    cli_print_json(cli, object);
}

struct cli_list_t {
    const cli_t *cli;
    const char *const *columns;
    int count; /* of columns */
    int width[MOST_COLUMNS];
    apr_pool_t *pool;         /* of the rows that wait */
    apr_array_header_t *rows; /* const char **: the cells */
    int any;                  /* something was printed */
};

cli_list_t *cli_list_begin(const cli_t *cli, const char *const *columns)
{
    cli_list_t *list = apr_pcalloc(cli->pool, sizeof(*list));

    list->cli = cli;
    list->columns = columns;
    while (columns[list->count] && list->count < MOST_COLUMNS) {
        list->width[list->count] = (int)strlen(columns[list->count]);
        list->count++;
    }
    apr_pool_create(&list->pool, cli->pool);
    list->rows = apr_array_make(list->pool, 32, sizeof(const char **));
    return list;
}

static void print_cells(const cli_list_t *list, const char *const *cells)
{
    for (int i = 0; i < list->count; i++)
        printf("%-*s%s", i + 1 < list->count ? list->width[i] : 0, cells[i],
               i + 1 < list->count ? "  " : "\n");
}

void cli_list_add(cli_list_t *list, json_object *row)
{
    if (list->cli->json) {
        printf("%c%s", list->any ? ',' : '[', as_json(row));
        list->any = 1;
    } else {
        const char **cells = apr_palloc(list->pool, sizeof(*cells) * MOST_COLUMNS);

        for (int i = 0; i < list->count; i++) {
            cells[i] = for_person(json_object_object_get(row, list->columns[i]), list->pool);
            if ((int)strlen(cells[i]) > list->width[i])
                list->width[i] = (int)strlen(cells[i]);
        }
        APR_ARRAY_PUSH(list->rows, const char **) = cells;
    }
    json_object_put(row);
}

void cli_list_flush(cli_list_t *list)
{
    if (list->rows->nelts && !list->any) {
        print_cells(list, list->columns);
        list->any = 1;
    }
    for (int i = 0; i < list->rows->nelts; i++)
        print_cells(list, APR_ARRAY_IDX(list->rows, i, const char **));
    apr_pool_clear(list->pool);
    list->rows = apr_array_make(list->pool, 32, sizeof(const char **));
}

void cli_list_end(cli_list_t *list)
{
    cli_list_flush(list);
    if (list->cli->json)
        puts(list->any ? "]" : "[]");
}

void cli_complain(const char *text)
{
    fprintf(stderr, CLI_PROGRAM ": %s\n", text);
}

int cli_output_finish(void)
{
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, CLI_PROGRAM ": standard output: %s\n", strerror(errno));
        return CLI_FAILED;
    }
    return CLI_DONE;
}

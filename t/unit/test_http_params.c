/* The parameters of a request: one name space, the first stays, types are told apart. */
#include "http_plan.h"

static cib_error_t *add(cib_params_t *params, const char *name, const char *value)
{
    return cib_params_add(params, name, value, strlen(value));
}

static cib_params_t *from_query(const char *query, apr_pool_t *pool)
{
    cib_params_t *params = cib_params_create(pool);

    if (cib_params_add_encoded(params, query, strlen(query)))
        return NULL;
    return params;
}

static cib_params_t *from_json(const char *json, apr_pool_t *pool)
{
    cib_params_t *params = cib_params_create(pool);

    if (cib_params_add_json(params, json_tokener_parse(json)))
        return NULL;
    return params;
}

static void test_first_stays(apr_pool_t *pool)
{
    cib_params_t *params = cib_params_create(pool);

    ok(!add(params, "token", "path"), "a text is added");
    ok(!cib_params_add_encoded(params, "token=query&other=query", 23), "a query is added");
    ok(!cib_params_add_json(params, json_tokener_parse("{\"token\":\"body\",\"third\":\"body\","
                                                       "\"nothing\":null}")),
       "an object is added");
    is_str(text_of(params, "token"), "path", "the first of a name stays");
    is_str(text_of(params, "other"), "query", "what the query brings first stays");
    is_str(text_of(params, "third"), "body", "what only the body has is there");
    ok(!cib_params_has(params, "nothing"), "null is absent");
    ok(!add(params, "nothing", "now"), "so it can be added");
    is_str(text_of(params, "nothing"), "now", "and is there");
    is_str(text_of(params, "never"), NULL, "what nobody brought is NULL");
}

static void test_encoded(apr_pool_t *pool)
{
    cib_params_t *params = from_query("a=1+2&b=%41%c3%a4&c&&d=x%3Dy=z&e=&%66=f", pool);

    is_str(text_of(params, "a"), "1 2", "a plus is a blank");
    is_str(text_of(params, "b"), "A\xc3\xa4", "escapes are decoded");
    is_str(text_of(params, "c"), "", "a name alone is an empty text");
    is_str(text_of(params, "d"), "x=y=z", "only the first = separates");
    is_str(text_of(params, "e"), "", "an empty value");
    is_str(text_of(params, "f"), "f", "names are decoded too");
    params = cib_params_create(pool);
    ok(!cib_params_add_encoded(params, NULL, 0), "no query is no error");
    ok(!cib_params_add_encoded(params, "", 0), "neither is an empty one");
    is_int(reason(cib_params_add_encoded(params, "a=%4", 4)), CIB_REASON_INVALID, "a cut escape");
    is_int(reason(cib_params_add_encoded(params, "a=%zz", 5)), CIB_REASON_INVALID, "a bad escape");
    is_int(reason(cib_params_add_encoded(params, "a=%00", 5)), CIB_REASON_INVALID, "NUL");
    is_int(reason(cib_params_add_encoded(params, "a%00b=1", 7)), CIB_REASON_INVALID,
           "NUL in a name");
    is_int(reason(cib_params_add_encoded(params, "a=%ff", 5)), CIB_REASON_INVALID, "no UTF-8");
    is_int(reason(cib_params_add_encoded(params, "%ff=a", 5)), CIB_REASON_INVALID,
           "no UTF-8 in a name");
    is_int(reason(cib_params_add_encoded(params, "a=%c0%80", 8)), CIB_REASON_INVALID,
           "an overlong NUL");
}

static void test_nested_names(apr_pool_t *pool)
{
    cib_params_t *params = from_query("info[name]=n&info[features][cache]=true&info[name]=again"
                                      "&tags[]=a&tags[]=b&x[=1&y]=2&z[a]b=3&flat=4&flat[a]=5",
                                      pool);
    json_object *info = NULL;
    apr_array_header_t *tags = NULL;

    ok(!cib_params_object(params, "info", &info) && info, "info[name] makes an object");
    is_str(json_object_to_json_string_ext(info, JSON_C_TO_STRING_PLAIN),
           "{\"name\":\"n\",\"features\":{\"cache\":\"true\"}}", "of the members named");
    ok(!cib_params_list(params, "tags", &tags) && tags && tags->nelts == 2, "tags[] makes a list");
    is_str(text_of(params, "x["), "1", "an open bracket is a plain name");
    is_str(text_of(params, "y]"), "2", "so is a closing one");
    is_str(text_of(params, "z[a]b"), "3", "so is what goes on behind it");
    is_str(text_of(params, "flat"), "4", "a member does not replace a text");
    ok(!cib_params_add_json(params,
                            json_tokener_parse("{\"info\":{\"name\":\"x\",\"version\":\"v\"}}")),
       "an object of the same name is merged");
    is_str(json_object_to_json_string_ext(info, JSON_C_TO_STRING_PLAIN),
           "{\"name\":\"n\",\"features\":{\"cache\":\"true\"},\"version\":\"v\"}",
           "the first of each member stays");
    ok(cib_params_object(params, "flat", &info), "a text is no object");
}

static void test_members(apr_pool_t *pool)
{
    cib_params_t *params = from_json(
        "{\"output\":{\"bytesize\":5,\"sum\":{\"crc\":\"x\"},\"none\":null},\"flat\":\"y\"}", pool);
    apr_int64_t size = -1;

    ok(!cib_params_int(params, "output[bytesize]", &size), "a member is got by its path");
    is_int(size, 5, "and is what it is");
    is_str(text_of(params, "output[sum][crc]"), "x", "however deep");
    ok(cib_params_has(params, "output[sum]"), "an object is there");
    ok(!cib_params_has(params, "output[none]"), "null is absent");
    ok(!cib_params_has(params, "output[none][more]"), "and has no members");
    ok(!cib_params_has(params, "output[other]"), "nor is there what nobody brought");
    ok(!cib_params_has(params, "flat[a]"), "a text has none");
    ok(!cib_params_has(params, "never[a]"), "nor has what is not there");
    is_str(cib_params_text(params, "output[bytesize]", &(const char *){NULL})->message,
           "output[bytesize] is invalid", "another type is invalid by that name");
}

static void test_required(apr_pool_t *pool)
{
    cib_params_t *params =
        from_json("{\"a\":\"x\",\"empty\":\"\",\"n\":1,\"nul\":\"a\\u0000b\"}", pool);
    const char *value = NULL;
    cib_error_t *err;

    ok(!cib_params_required(params, "a", &value), "it is there");
    is_str(value, "x", "and read");
    err = cib_params_required(params, "empty", &value);
    is_int(reason(err), CIB_REASON_MISSING, "empty is missing");
    is_str(err->message, "empty", "by its name");
    is_int(reason(cib_params_required(params, "b", &value)), CIB_REASON_MISSING, "absent is too");
    err = cib_params_required(params, "n", &value);
    is_int(reason(err), CIB_REASON_INVALID, "a number is no text");
    is_str(err->message, "n is invalid", "and named");
    is_int(reason(cib_params_text(params, "nul", &value)), CIB_REASON_INVALID,
           "a text with NUL is none");
}

static void test_flags(apr_pool_t *pool)
{
    cib_params_t *params = from_json("{\"t\":true,\"f\":false,\"one\":1,\"zero\":0,\"two\":2,"
                                     "\"st\":\"true\",\"sf\":\"false\",\"s1\":\"1\",\"s0\":\"0\","
                                     "\"e\":\"\",\"bad\":\"yes\",\"l\":[]}",
                                     pool);
    static const struct {
        const char *name;
        int want;
    } cases[] = {{"t", 1},  {"f", 0},  {"one", 1}, {"zero", 0}, {"st", 1},
                 {"sf", 0}, {"s1", 1}, {"s0", 0},  {"e", -1},   {"absent", -1}};
    int value;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        value = 7;
        ok(!cib_params_flag(params, cases[i].name, &value) && value == cases[i].want, "the flag %s",
           cases[i].name);
    }
    ok(cib_params_flag(params, "two", &value), "2 is no flag");
    ok(cib_params_flag(params, "bad", &value), "yes is no flag");
    ok(cib_params_flag(params, "l", &value), "a list is no flag");
}

static void test_ints(apr_pool_t *pool)
{
    cib_params_t *params =
        from_json("{\"a\":9223372036854775807,\"b\":\"-12\",\"c\":9223372036854775808,"
                  "\"d\":99999999999999999999,\"e\":\"1x\",\"f\":1.0,\"g\":\"\",\"h\":true}",
                  pool);
    apr_int64_t value = 0;

    ok(!cib_params_int(params, "a", &value) && value == APR_INT64_MAX, "the largest");
    ok(!cib_params_int(params, "b", &value) && value == -12, "a text");
    ok(cib_params_int(params, "c", &value), "one more than the largest");
    ok(cib_params_int(params, "d", &value), "many more");
    ok(cib_params_int(params, "e", &value), "digits and something");
    ok(cib_params_int(params, "f", &value), "a fraction");
    ok(cib_params_int(params, "h", &value), "a boolean");
    value = 5;
    ok(!cib_params_int(params, "g", &value) && value == 5, "an empty text is absent");
    ok(!cib_params_int(params, "absent", &value) && value == 5, "absent leaves it alone");
}

static const char *joined(cib_params_t *params, const char *name, apr_pool_t *pool)
{
    apr_array_header_t *list = NULL;

    if (cib_params_list(params, name, &list))
        return "(invalid)";
    return list ? apr_pstrcat(pool, "|", apr_array_pstrcat(pool, list, '|'), "|", NULL) : NULL;
}

static void test_lists(apr_pool_t *pool)
{
    cib_params_t *params =
        from_json("{\"a\":[\"x\",\" y \",\"\",\"z,w\"],\"b\":\" x, y z ,,w \",\"c\":\"\",\"d\":[],"
                  "\"e\":[1],\"f\":{},\"g\":[null]}",
                  pool);

    is_str(joined(params, "a", pool), "|x|y|z,w|", "a list, trimmed");
    is_str(joined(params, "b", pool), "|x|y z|w|", "a text with commas");
    is_str(joined(params, "c", pool), "||", "an empty text is an empty list");
    is_str(joined(params, "d", pool), "||", "an empty list is one");
    is_str(joined(params, "e", pool), "(invalid)", "numbers are no texts");
    is_str(joined(params, "f", pool), "(invalid)", "an object is no list");
    is_str(joined(params, "g", pool), "(invalid)", "null in a list is no text");
    is_str(joined(params, "absent", pool), NULL, "absent is NULL");
}

/* A request that waits for a build asks for them a thousand times, in one pool. */
static void test_getters_allocate_nothing(apr_pool_t *pool)
{
    cib_params_t *params = from_json("{\"a\":\"x\",\"b\":true,\"c\":7,\"d\":{\"e\":1}}", pool);
    const char *before = apr_palloc(pool, 1), *text;
    apr_int64_t number = 0;
    json_object *object;
    int flag;

    ok(!cib_params_text(params, "a", &text) && !cib_params_text(params, "absent", &text) &&
           !cib_params_flag(params, "b", &flag) && !cib_params_int(params, "c", &number) &&
           !cib_params_object(params, "d", &object) && cib_params_has(params, "a"),
       "texts, flags, numbers, objects");
    is_int((const char *)apr_palloc(pool, 1) - before, APR_ALIGN_DEFAULT(1),
           "nothing was allocated for them");
}

static void test_content_range(void)
{
    is_int(cib_content_range_start("100-200"), 100, "the start of 100-200");
    is_int(cib_content_range_start("0-99"), 0, "of 0-99");
    is_int(cib_content_range_start("12-12/12"), 12, "of 12-12/12");
    is_int(cib_content_range_start("junk"), 0, "of junk");
    is_int(cib_content_range_start(""), 0, "of nothing");
    is_int(cib_content_range_start("-5"), 0, "of a negative one");
    is_int(cib_content_range_start("9223372036854775807-"), APR_INT64_MAX, "of the largest");
    is_int(cib_content_range_start("9223372036854775808-"), APR_INT64_MAX, "of one more");
    is_int(cib_content_range_start("99999999999999999999999-"), APR_INT64_MAX, "of many more");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_first_stays(pool);
    test_encoded(pool);
    test_nested_names(pool);
    test_members(pool);
    test_required(pool);
    test_flags(pool);
    test_ints(pool);
    test_lists(pool);
    test_getters_allocate_nothing(pool);
    test_content_range();
    apr_pool_destroy(pool);
    return done_testing();
}

/* JSON bodies: strict, in constant memory, cut anywhere. */
#include "http_plan.h"

/* Parse `body` in pieces of `step`; `watch` may be NULL: no plan. */
static cib_error_t *parse(const char *body, apr_size_t len, apr_size_t step, watch_t *watch,
                          cib_params_t **params, apr_pool_t *pool)
{
    cib_params_t *made = cib_params_create(pool);

    if (params)
        *params = made;
    return feed_all(cib_parser_json(made, watch ? watch_plan(watch, made, pool) : NULL, pool), body,
                    len, step);
}

static int verdict(const char *body, apr_pool_t *pool)
{
    watch_t watch = {.take = {"trace"}};
    int plain = reason(parse(body, strlen(body), 0, NULL, NULL, pool));
    int bytewise = reason(parse(body, strlen(body), 1, NULL, NULL, pool));
    int planned = reason(parse(body, strlen(body), 1, &watch, NULL, pool));

    return plain == bytewise && plain == planned ? plain : 1000;
}

static void test_accepted(apr_pool_t *pool)
{
    static const char *const bodies[] = {
        "",
        " \n",
        "{}",
        " { } ",
        "{\"a\":1}",
        "{\"a\":-1.5e+10}",
        "{\"a\":[0,-0,0.05,-0.0,10,0e0,1e-05,2.00,1E+00]}",
        "{\"a\":[1,\"x\",{\"b\":null}]}",
        "{\"a\":true , \"b\" : false,\"c\":null}\r\n",
        "{\"\\u0061\":\"\\ud83d\\ude00\\/\"}",
        "{\"a\":\"\xc3\xa4\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":0.5}",
        "{\"a\":\"\\\\u0000\"}",
        "{\"trace\":1}",
        "{\"trace\":[\"x\"]}",
        "{\"\":\"\"}",
    };
    size_t i;

    for (i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
        is_int(verdict(bodies[i], pool), -1, "taken: %s", bodies[i]);
}

static void test_refused(apr_pool_t *pool)
{
    static const char *const bodies[] = {
        "[]",
        "null",
        "1",
        "\"x\"",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,}",
        "{,\"a\":1}",
        "{\"a\":1,,\"b\":2}",
        "{\"a\" 1}",
        "{\"a\"::1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":'b'}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":-Infinity}",
        "{\"a\":01}",
        "{\"a\":00}",
        "{\"a\":-01}",
        "{\"a\":-00}",
        "{\"a\":-.5}",
        "{\"a\":[-.5e+10]}",
        "{\"a\":01.5}",
        "{\"a\":00e1}",
        "{\"a\":[1,-012]}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":0x10}",
        "{\"a\":True}",
        "{\"a\":nul}",
        "{\"a\":tru}",
        "{\"a\":1 2}",
        "{\"a\":[1,]}",
        "{\"a\":[}",
        "{\"a\":[1}}",
        "{\"a\":{]}",
        "{\"a\":1]}",
        "{\"a\":]}",
        "{\"a\":}",
        "{\"a\":,}",
        "{}x",
        "{}{}",
        "{} []",
        "{}\"",
        "{\"a\":1}}",
        "{/**/}",
        "{\"a\":1}//",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\n\"}",
        "{\"\n\":1}",
        "{\"a\":[\"\n\"]}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\\u0000\":1}",
        "{\"a\":[\"\\\\\\u0000\"]}",
        "{\"a\":\"\xff\"}",
        "{\"\xff\":1}",
        "{\"a\":\"\xc0\x80\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\v1}",
        "\xef\xbb\xbf{}",
        "{\"trace\":\"x",
        "{\"trace\":\"x\"",
        "{\"trace\":\"\n\"}",
        "{\"trace\":\"\\q\"}",
        "{\"trace\":\"\\u12g4\"}",
        "{\"trace\":\"x\"x}",
        "{\"trace\":\"x\"\"y\"}",
        "{\"a\":1\"x\"}",
    };
    size_t i;

    for (i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
        is_int(verdict(bodies[i], pool), CIB_REASON_INVALID, "refused: %s", bodies[i]);
    is_int(reason(parse("{\"a\":\"\0\"}", 9, 0, NULL, NULL, pool)), CIB_REASON_INVALID,
           "refused: NUL in a string");
    is_int(reason(parse("{\"a\":1\0}", 8, 0, NULL, NULL, pool)), CIB_REASON_INVALID,
           "refused: NUL outside");
}

/* So many levels, the object being the first, with `inmost` in the last. */
static char *nested(int depth, const char *inmost, apr_pool_t *pool)
{
    char *body = apr_pstrdup(pool, inmost);

    for (int i = 1; i < depth; i++)
        body = apr_pstrcat(pool, "[", body, "]", NULL);
    return apr_pstrcat(pool, "{\"a\":", body, "}", NULL);
}

static void test_depth(apr_pool_t *pool)
{
    for (int depth = 31; depth <= 33; depth++) {
        int want = depth > CIB_JSON_DEPTH ? (int)CIB_REASON_INVALID : -1;

        is_int(verdict(nested(depth, "", pool), pool), want, "%d levels", depth);
        is_int(verdict(nested(depth, "1", pool), pool), want, "%d levels with a number", depth);
        is_int(verdict(nested(depth, "\"x\"", pool), pool), want, "%d levels with a text", depth);
    }
}

static char *padded(apr_size_t len, const char *before, const char *after, apr_pool_t *pool)
{
    apr_size_t head = strlen(before), tail = strlen(after);
    char *body = apr_palloc(pool, len + 1);

    memset(body, 'x', len);
    memcpy(body, before, head);
    memcpy(body + len - tail, after, tail + 1);
    return body;
}

static void test_size(apr_pool_t *pool)
{
    char *blanks = padded(CIB_PARAMS_LIMIT, "{}", "", pool);

    is_int(verdict(padded(CIB_PARAMS_LIMIT, "{\"a\":\"", "\"}", pool), pool), -1,
           "64 KiB are held");
    is_int(verdict(padded(CIB_PARAMS_LIMIT + 1, "{\"a\":\"", "\"}", pool), pool),
           CIB_REASON_TOO_LARGE, "one byte more is not");
    memset(blanks + 2, ' ', CIB_PARAMS_LIMIT - 2);
    is_int(verdict(blanks, pool), -1, "blanks count");
    blanks = apr_pstrcat(pool, blanks, " ", NULL);
    is_int(verdict(blanks, pool), CIB_REASON_TOO_LARGE, "too");
}

static void test_streaming(apr_pool_t *pool)
{
    static const char body[] =
        "{\"token\":\"t\",\"trace\":\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\\u00e4\\u20AC\\ud83d\\ude00|"
        "\\ud800|\\udc00|\\ud800\\ud800\\udc00|\\ud800\\n|\\u0000|\xff|\xc3\xa4\",\"state\":"
        "\"success\","
        "\"trace\":\"second\",\"n\":1}";
    static const char want[] =
        "a\n\t\"\\/\b\f\r\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80|"
        "\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\xf0\x90\x80\x80|\xef\xbf\xbd\n|"
        "\0|\xff|\xc3\xa4";
    apr_size_t step;

    for (step = 0; step < sizeof(body); step++) {
        watch_t watch = {.take = {"trace"}, .probe = "token"};
        cib_params_t *params = NULL;
        apr_int64_t n = 0;
        int held;

        held = !parse(body, sizeof(body) - 1, step, &watch, &params, pool) &&
               watch.len == sizeof(want) - 1 && !memcmp(watch.bytes, want, watch.len) &&
               !strcmp(watch.log, "begin token;begin trace (t);end trace;begin state (t);") &&
               !strcmp(text_of(params, "state"), "success") && !cib_params_has(params, "trace") &&
               !cib_params_int(params, "n", &n) && n == 1;
        if (!held || step < 4)
            ok(held, "a taken member in pieces of %d", (int)step);
        if (!held)
            diag("%s", watch.log);
    }
}

static void test_prefix(apr_pool_t *pool)
{
    static const char body[] =
        "{ \"trace\" : \"\" , \"o\":{\"x\":[\",}\"]},\"s\":\"v\", \"log\":\"L\" }";
    watch_t watch = {.take = {"trace", "log"}, .probe = "s"};
    cib_params_t *params = NULL;
    json_object *object = NULL;

    ok(!parse(body, strlen(body), 3, &watch, &params, pool), "two members are taken");
    is_str(watch.log, "begin trace;end trace;begin s;begin log (v);end log;",
           "what stands before one is known when it begins");
    is_int(watch.len, 1, "an empty one brings no byte");
    ok(!cib_params_object(params, "o", &object) && object, "objects before it are known too");
    ok(!parse("{\"tr\\u0061ce\":\"x\"}", 18, 1, &watch, NULL, pool), "an escaped name");
    is_str(watch.log, "begin trace;end trace;", "is the same name");
    ok(!parse("{\"a\":{\"trace\":\"x\"}}", 19, 1, &watch, NULL, pool), "a nested member");
    is_str(watch.log, "", "is not asked for");
    is_int(reason(parse("{\"a\":[},\"trace\":\"x\"}", 21, 1, &watch, NULL, pool)),
           CIB_REASON_INVALID, "what is malformed before it");
    is_str(watch.log, "", "is refused before it");
    ok(!parse("{\"trace\":null}", 14, 1, &watch, &params, pool), "null");
    is_str(watch.log, "", "is no string");
    ok(!cib_params_has(params, "trace"), "but absent");
}

/* Of a repeated name the first counts, whatever the plan and the type. */
static void test_repeated(apr_pool_t *pool)
{
    static const char body[] =
        "{\"s\":\"first\",\"n\":1,\"l\":null,\"n\":2,\"s\":\"second\",\"l\":\"x\"}";
    watch_t watch = {.take = {"trace"}};
    int planned;

    for (planned = 0; planned < 2; planned++) {
        cib_params_t *params = NULL;
        const char *text = NULL;
        apr_int64_t number = 0;

        ok(!parse(body, strlen(body), 0, planned ? &watch : NULL, &params, pool),
           "names that come twice, %s plan", planned ? "with a" : "without");
        ok(!cib_params_text(params, "s", &text), "a text");
        is_str(text, "first", "is the first");
        ok(!cib_params_int(params, "n", &number), "a number");
        is_int(number, 1, "is the first");
        ok(!cib_params_text(params, "l", &text), "one that was null at first");
        is_str(text, "x", "is the one that is something");
    }
}

/* A large value costs neither memory nor many writes. */
static void test_large(apr_pool_t *pool)
{
    watch_t watch = {.take = {"trace"}};
    cib_params_t *params = cib_params_create(pool);
    cib_parser_t *parser = cib_parser_json(params, watch_plan(&watch, params, pool), pool);
    static const char line[] = "\\u001b[0;mline of text\\n";
    int i, failed = 0;

    failed |= !!parser->feed(parser, "{\"trace\":\"", 10);
    for (i = 0; i < 100000; i++)
        failed |= !!parser->feed(parser, line, sizeof(line) - 1);
    failed |= !!parser->feed(parser, "\"}", 2) || !!parser->finish(parser);
    ok(!failed, "a member of megabytes");
    is_int(watch.len, 100000 * 18, "arrives whole");
    ok(watch.writes < 200, "in large pieces (%d)", watch.writes);

    watch.fail_after = 1;
    is_int(reason(parse("{\"trace\":\"xxxxx\"}", 17, 1, &watch, NULL, pool)), CIB_REASON_NO_SPACE,
           "an error of the sink is the parser's");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_accepted(pool);
    test_refused(pool);
    test_depth(pool);
    test_size(pool);
    test_streaming(pool);
    test_prefix(pool);
    test_repeated(pool);
    test_large(pool);
    apr_pool_destroy(pool);
    return done_testing();
}

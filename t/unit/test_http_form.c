/* Forms: cut anywhere, streamed where the plan says so. */
#include "http_plan.h"

static cib_error_t *parse(const char *body, apr_size_t step, watch_t *watch, cib_params_t **params,
                          apr_pool_t *pool)
{
    cib_params_t *made = cib_params_create(pool);

    if (params)
        *params = made;
    return feed_all(cib_parser_form(made, watch ? watch_plan(watch, made, pool) : NULL, pool), body,
                    strlen(body), step);
}

static void test_split(apr_pool_t *pool)
{
    static const char body[] =
        "token=t%20x&trace=a+b%0a%00%ff%3D=&=none&&state=ok&trace=again&last";
    static const char want[] = "a b\n\0\xff==";
    apr_size_t step;

    for (step = 0; step < sizeof(body); step++) {
        watch_t watch = {.take = {"trace"}, .probe = "token"};
        cib_params_t *params = NULL;
        int held;

        held = !parse(body, step, &watch, &params, pool) && watch.len == sizeof(want) - 1 &&
               !memcmp(watch.bytes, want, watch.len) &&
               !strcmp(watch.log, "begin token;begin trace (t x);end trace;begin  (t x);"
                                  "begin state (t x);begin last (t x);") &&
               !strcmp(text_of(params, "state"), "ok") && !strcmp(text_of(params, "last"), "");
        if (!held || step < 4)
            ok(held, "a taken field in pieces of %d", (int)step);
        if (!held)
            diag("%s", watch.log);
    }
}

static void test_refused(apr_pool_t *pool)
{
    static const char *const bodies[] = {"a=%", "a=%4", "a=%4g", "%", "a=%00", "a=%ff", "a=%%"};
    size_t i;

    for (i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
        is_int(reason(parse(bodies[i], 1, NULL, NULL, pool)), CIB_REASON_INVALID, "refused: %s",
               bodies[i]);
    ok(!parse("", 0, NULL, NULL, pool), "an empty form is one");
}

static void test_size(apr_pool_t *pool)
{
    watch_t watch = {.take = {"trace"}};
    char *body = apr_palloc(pool, CIB_PARAMS_LIMIT + 2);

    memset(body, 'x', CIB_PARAMS_LIMIT + 1);
    memcpy(body, "a=", 2);
    body[CIB_PARAMS_LIMIT + 1] = '\0';
    is_int(reason(parse(body, 0, NULL, NULL, pool)), CIB_REASON_TOO_LARGE, "over the limit");
    body[CIB_PARAMS_LIMIT] = '\0';
    is_int(reason(parse(body, 0, NULL, NULL, pool)), -1, "at the limit");
    memset(body, '&', CIB_PARAMS_LIMIT + 1);
    is_int(reason(parse(body, 0, NULL, NULL, pool)), CIB_REASON_TOO_LARGE, "empty fields count");
    memset(body, 'x', CIB_PARAMS_LIMIT + 1);
    memcpy(body, "trace=", 6);
    is_int(reason(parse(apr_pstrcat(pool, body, body + 6, NULL), 0, &watch, NULL, pool)), -1,
           "a taken field does not");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_split(pool);
    test_refused(pool);
    test_size(pool);
    apr_pool_destroy(pool);
    return done_testing();
}

/* Multipart bodies: strict, streamed, cut anywhere. */
#include "http_plan.h"

#define TYPE "multipart/form-data; boundary=AaB03x"
#define PART(headers, data) "--AaB03x\r\n" headers "\r\n\r\n" data "\r\n"
#define FIELD(name, data) PART("Content-Disposition: form-data; name=\"" name "\"", data)
#define FILE_PART(name, filename, data)                                                            \
    PART("Content-Disposition: form-data; name=\"" name "\"; filename=\"" filename "\"", data)
#define END "--AaB03x--"

static cib_error_t *parse_as(const char *type, const char *body, apr_size_t len, apr_size_t step,
                             watch_t *watch, cib_params_t **params, apr_pool_t *pool)
{
    cib_params_t *made = cib_params_create(pool);
    cib_parser_t *parser = NULL;

    if (params)
        *params = made;
    CIB_TRY(cib_parser_multipart(&parser, type, made, watch ? watch_plan(watch, made, pool) : NULL,
                                 pool));
    return feed_all(parser, body, len, step);
}

/* The reason for `body`, the same whatever the pieces are. */
static int verdict_of(const char *body, apr_size_t len, apr_pool_t *pool)
{
    watch_t watch = {.take = {"file"}};
    int whole = reason(parse_as(TYPE, body, len, 0, &watch, NULL, pool));
    int bytewise = reason(parse_as(TYPE, body, len, 1, &watch, NULL, pool));

    return whole == bytewise ? whole : 1000;
}

static int verdict(const char *body, apr_pool_t *pool)
{
    return verdict_of(body, strlen(body), pool);
}

/* ---- where it is cut does not matter ---- */

static void test_splits(apr_pool_t *pool)
{
    static const char body[] = "preamble --AaB03x\r\n" FIELD("token", "t\r\nu") FILE_PART(
        "file", "a.zip", "data\r\n--AaB03\r\n\r\r\n--AaB03xy\r\n--AaB03x-\r\n--AaB03x \r-\n")
        FIELD("expire_in", "") "--AaB03x-- epilogue\r\n--AaB03x\r\n";
    static const char want[] = "data\r\n--AaB03\r\n\r\r\n--AaB03xy\r\n--AaB03x-\r\n--AaB03x \r-\n";
    apr_size_t step, cut;
    int bad = 0;

    for (step = 0; step < sizeof(body); step++) {
        watch_t watch = {.take = {"file"}, .probe = "token"};
        cib_params_t *params = NULL;

        bad += !(
            !parse_as(TYPE, body, sizeof(body) - 1, step, &watch, &params, pool) &&
            watch.len == sizeof(want) - 1 && !memcmp(watch.bytes, want, watch.len) &&
            !strcmp(watch.log,
                    "begin token;begin file [a.zip] (t\r\nu);end file;begin expire_in (t\r\nu);") &&
            !strcmp(text_of(params, "expire_in"), ""));
    }
    is_int(bad, 0, "every size of piece gives the same");
    bad = 0;
    for (cut = 1; cut < sizeof(body) - 1; cut++) {
        watch_t watch = {.take = {"file"}};
        cib_params_t *params = cib_params_create(pool);
        cib_parser_t *parser = NULL;

        bad += !(
            !cib_parser_multipart(&parser, TYPE, params, watch_plan(&watch, params, pool), pool) &&
            !parser->feed(parser, body, cut) &&
            !parser->feed(parser, body + cut, sizeof(body) - 1 - cut) && !parser->finish(parser) &&
            watch.len == sizeof(want) - 1 && !memcmp(watch.bytes, want, watch.len));
    }
    is_int(bad, 0, "so does every single cut");
}

/* Data made of what delimiters are made of. */
static apr_size_t random_data(char *data, apr_size_t room)
{
    static const char *const pieces[] = {"\r",
                                         "\n",
                                         "-",
                                         "--",
                                         "\r\n",
                                         "\r\n-",
                                         "\r\n--",
                                         "\r\n--AaB03",
                                         "AaB03x",
                                         "\r\n--AaB03xx",
                                         "x",
                                         " ",
                                         "\r\n--AaB03x-x",
                                         "\r\n--AaB03x\rx",
                                         "\r\n--AaB03x \tx"};
    apr_size_t len = 0;
    int count = rand() % 12;

    while (count-- > 0) {
        const char *piece = pieces[rand() % (int)(sizeof(pieces) / sizeof(*pieces))];

        if (len + strlen(piece) > room)
            break;
        memcpy(data + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return len;
}

/* By the definition, slowly: does a delimiter stand in `text` before `end`? */
static int holds_delimiter(const char *text, apr_size_t end)
{
    apr_size_t i;

    for (i = 0; i < end; i++) {
        const char *tail = text + i + 10;

        if (strncmp(text + i, "\r\n--AaB03x", 10))
            continue;
        if (!strncmp(tail, "--", 2) || !strncmp(tail + strspn(tail, " \t"), "\r\n", 2))
            return 1;
    }
    return 0;
}

static void test_random(apr_pool_t *parent)
{
    apr_pool_t *pool = NULL;
    int round, bad = 0, made = 0;

    srand(20260101);
    apr_pool_create(&pool, parent);
    for (round = 0; round < 40000; round++) {
        watch_t watch = {.take = {"file"}};
        char data[256], *line;
        apr_size_t len = random_data(data, sizeof(data) - 1);
        const char *body;

        apr_pool_clear(pool);
        data[len] = '\0';
        /* the blank line may lend its end to a delimiter, so look from there */
        line = apr_pstrcat(pool, "\r\n", data, "\r\n" END, NULL);
        if (holds_delimiter(line, len + 2))
            continue;
        made++;
        body = apr_pstrcat(pool, "--AaB03x\r\nContent-Disposition: form-data; name=file\r\n\r\n",
                           data, "\r\n" END, NULL);
        if (parse_as(TYPE, body, strlen(body), 1 + (apr_size_t)(rand() % 20), &watch, NULL, pool) ||
            watch.len != len || memcmp(watch.bytes, data, len))
            bad++;
    }
    apr_pool_destroy(pool);
    ok(made > 10000, "%d random bodies", made);
    is_int(bad, 0, "come out as they went in");
}

/* ---- what is taken and what is not ---- */

static void test_accepted(apr_pool_t *pool)
{
    static const char *const bodies[] = {
        END,
        FIELD("a", "") END,
        "\r\n" FIELD("a", "b") END "\r\n",
        "--AaB03x \t\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" END,
        "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\n" END, /* no body at all */
        PART("content-disposition:form-data;name=a", "b") END,
        PART("Content-Disposition: form-data;\r\n name=\"a\"", "b") END,
        PART("Content-Disposition: form-data; name=\"a\";", "b") END,
        PART("Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain", "b") END,
        PART("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: Binary", "b")
            END,
        PART("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: 8bit ", "b")
            END,
        PART("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: 7bit", "b")
            END,
        PART("X-Other:\r\nContent-Disposition: form-data; name=\"a\"", "b") END,
    };
    size_t i;

    for (i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
        is_int(verdict(bodies[i], pool), -1, "taken: number %d", (int)i);
}

static void test_refused(apr_pool_t *pool)
{
    static const struct {
        const char *why;
        const char *body;
    } cases[] = {
        {"nothing at all", ""},
        {"only a preamble", "hello\r\n"},
        {"no closing delimiter", FIELD("a", "b")},
        {"half a closing delimiter", FIELD("a", "b") "--AaB03x-"},
        {"cut off in headers", "--AaB03x\r\nContent-Dispo"},
        {"cut off in data", "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\nb"},
        {"LF alone", "--AaB03x\nContent-Disposition: form-data; name=\"a\"\n\nb\n--AaB03x--\n"},
        {"LF in the headers",
         "--AaB03x\r\nContent-Disposition: form-data; name=\"a\"\n\r\nb\r\n" END},
        {"CR in a header", PART("Content-Disposition: form-data; name=\"a\rb\"", "b") END},
        {"a control character", PART("Content-Disposition: form-data; name=\"a\x01\"", "b") END},
        {"no headers", "--AaB03x\r\n\r\nb\r\n" END},
        {"no disposition", PART("Content-Type: text/plain", "b") END},
        {"no name", PART("Content-Disposition: form-data", "b") END},
        {"an empty name", PART("Content-Disposition: form-data; name=\"\"", "b") END},
        {"a disposition that is none",
         PART("Content-Disposition: attachment; name=\"a\"", "b") END},
        {"two dispositions", PART("Content-Disposition: form-data; name=\"a\"\r\n"
                                  "Content-Disposition: form-data; name=\"b\"",
                                  "b") END},
        {"two names", PART("Content-Disposition: form-data; name=\"a\"; name=\"b\"", "b") END},
        {"two file names",
         PART("Content-Disposition: form-data; name=a; filename=b; filename=c", "b") END},
        {"an open quote", PART("Content-Disposition: form-data; name=\"a", "b") END},
        {"junk behind a quote", PART("Content-Disposition: form-data; name=\"a\"b", "b") END},
        {"a parameter without a value", PART("Content-Disposition: form-data; name", "b") END},
        {"base64",
         PART("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "b")
             END},
        {"quoted-printable", PART("Content-Disposition: form-data; name=a\r\n"
                                  "content-transfer-encoding: quoted-printable",
                                  "b") END},
        {"a line without a colon", PART("Content-Disposition: form-data; name=a\r\njunk", "b") END},
        {"a blank before the colon", PART("Content-Disposition : form-data; name=a", "b") END},
        {"a first line that continues nothing",
         PART(" Content-Disposition: form-data; name=a", "b") END},
        {"a line break in a file name", FILE_PART("file", "a%0d%0aX: y", "b") END},
        {"an escaped NUL in a file name", FILE_PART("file", "a%00.zip", "b") END},
        {"a folded line break in filename*",
         PART("Content-Disposition: form-data; name=file; filename*=UTF-8''a%0Ab", "b") END},
        {"NUL in filename*",
         PART("Content-Disposition: form-data; name=file; filename*=UTF-8''a%00b", "b") END},
        {"a broken escape in filename*",
         PART("Content-Disposition: form-data; name=file; filename*=UTF-8''a%4", "b") END},
        {"filename* that is not UTF-8",
         PART("Content-Disposition: form-data; name=file; filename*=UTF-8''%ff", "b") END},
        {"filename* of an unknown charset",
         PART("Content-Disposition: form-data; name=file; filename*=koi8-r''a", "b") END},
        {"filename* without charset",
         PART("Content-Disposition: form-data; name=file; filename*=a", "b") END},
        {"a text that is not UTF-8", FIELD("a", "\xff") END},
    };
    static const char nul_header[] = PART("Content-Disposition: form-data; name=\"a\0b\"", "b") END;
    static const char nul_text[] = FIELD("a", "b\0c") END;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        is_int(verdict(cases[i].body, pool), CIB_REASON_INVALID, "refused: %s", cases[i].why);
    is_int(verdict_of(nul_header, sizeof(nul_header) - 1, pool), CIB_REASON_INVALID,
           "refused: NUL in a header");
    is_int(verdict_of(nul_text, sizeof(nul_text) - 1, pool), CIB_REASON_INVALID,
           "refused: NUL in a text");
}

/* ---- names ---- */

static const char *filename_of(const char *parameters, apr_pool_t *pool)
{
    watch_t watch = {.take = {"file"}};
    const char *body =
        apr_pstrcat(pool, "--AaB03x\r\nContent-Disposition: form-data; name=\"file\"", parameters,
                    "\r\n\r\nx\r\n" END, NULL);
    cib_error_t *err = parse_as(TYPE, body, strlen(body), 0, &watch, NULL, pool);
    apr_size_t len = strlen(watch.log);

    if (err)
        return "(refused)";
    /* "begin file [NAME];end file;" */
    return len < 23 ? NULL : apr_pstrndup(pool, watch.log + 12, len - 12 - 11);
}

static void test_filenames(apr_pool_t *pool)
{
    static const struct {
        const char *parameters;
        const char *want;
    } cases[] = {
        {"", NULL},
        {"; filename=\"\"", ""},
        {"; filename=a.zip", "a.zip"},
        {"; filename=\"x & y; z.zip\"", "x & y; z.zip"},
        {"; filename=\"a\\\"b\\\\c\"", "a\"b\\c"},
        {"; filename=\"C:\\dir\\file.zip\"", "C:\\dir\\file.zip"},
        {"; filename=\"../../etc/passwd\"", "../../etc/passwd"},
        {"; filename=\"100%25.zip\"", "100%25.zip"},
        {"; filename=\"\xc3\xa4.zip\"", "\xc3\xa4.zip"},
        {"; filename=\"\xe4.zip\"", "\xef\xbf\xbd.zip"},
        {"; filename=\"a.zip\"; filename*=UTF-8''%e2%82%ac%20rates", "\xe2\x82\xac rates"},
        {"; filename*=utf-8'en'%c3%a4; filename=\"a.zip\"", "\xc3\xa4"},
        {"; filename*=iso-8859-1''%e4", "\xc3\xa4"},
        {"; FileName=\"a.zip\"", "a.zip"},
    };
    char *longer = apr_palloc(pool, 4097);
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        is_str(filename_of(cases[i].parameters, pool), cases[i].want, "a file named by '%s'",
               cases[i].parameters);
    memset(longer, 'n', 4096);
    longer[4096] = '\0';
    is_str(filename_of(apr_pstrcat(pool, "; filename=\"", longer, "\"", NULL), pool), longer,
           "a file name of 4 KiB");
}

/* ---- boundaries ---- */

static int boundary_verdict(const char *type, const char *boundary, apr_pool_t *pool)
{
    const char *body = apr_pstrcat(pool, "--", boundary,
                                   "\r\nContent-Disposition: form-data; name=a"
                                   "\r\n\r\nb\r\n--",
                                   boundary, "--", NULL);

    return reason(parse_as(type, body, strlen(body), 1, NULL, NULL, pool));
}

static void test_boundaries(apr_pool_t *pool)
{
    char *longest =
        apr_pstrdup(pool, "0123456789012345678901234567890123456789012345678901234567890123456789");
    const char *type = apr_pstrcat(pool, "multipart/form-data; boundary=", longest, NULL);

    is_int(boundary_verdict(TYPE, "AaB03x", pool), -1, "a plain boundary");
    is_int(
        boundary_verdict("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b:c\"", "a b:c", pool),
        -1, "a quoted one");
    is_int(boundary_verdict("multipart/form-data; boundary=--=_x?y", "--=_x?y", pool), -1,
           "one that should be quoted");
    is_int(boundary_verdict(type, longest, pool), -1, "70 characters");
    is_int(boundary_verdict(apr_pstrcat(pool, type, "0", NULL), longest, pool), CIB_REASON_INVALID,
           "71 characters");
    is_int(boundary_verdict("multipart/form-data", "", pool), CIB_REASON_INVALID, "none");
    is_int(boundary_verdict("multipart/form-data; boundary=", "", pool), CIB_REASON_INVALID,
           "empty");
    is_int(boundary_verdict("multipart/form-data; boundary=\"a \"", "a ", pool), CIB_REASON_INVALID,
           "one that ends in a blank");
    is_int(boundary_verdict("multipart/form-data; boundary=a%b", "a%b", pool), CIB_REASON_INVALID,
           "one of other characters");
    is_int(boundary_verdict("multipart/form-data; boundary=a; boundary=b", "a", pool),
           CIB_REASON_INVALID, "two");
}

/* ---- sizes ---- */

static char *run_of(char c, apr_size_t len, apr_pool_t *pool)
{
    char *run = apr_palloc(pool, len + 1);

    memset(run, c, len);
    run[len] = '\0';
    return run;
}

static void test_limits(apr_pool_t *pool)
{
    const char *head = "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n";
    apr_size_t line = strlen("Content-Disposition: form-data; name=a\r\n");
    apr_size_t fill = 8 * 1024 - line - strlen("X: \r\n\r\n");
    char *parts = apr_pstrdup(pool, "");
    int i;

    is_int(
        verdict(apr_pstrcat(pool, head, "X: ", run_of('x', fill, pool), "\r\n\r\nb\r\n" END, NULL),
                pool),
        -1, "8 KiB of headers");
    is_int(verdict(apr_pstrcat(pool, head, "X: ", run_of('x', fill + 1, pool), "\r\n\r\nb\r\n" END,
                               NULL),
                   pool),
           CIB_REASON_TOO_LARGE, "one byte more");
    is_int(verdict(apr_pstrcat(pool, head, "\r\n", run_of('x', CIB_PARAMS_LIMIT - 1, pool),
                               "\r\n" END, NULL),
                   pool),
           -1, "texts of 64 KiB with their names");
    is_int(verdict(apr_pstrcat(pool, head, "\r\n", run_of('x', CIB_PARAMS_LIMIT, pool), "\r\n" END,
                               NULL),
                   pool),
           CIB_REASON_TOO_LARGE, "one byte more");
    is_int(verdict(apr_pstrcat(pool, run_of('x', 30000, pool), "\r\n" FIELD("a", "b") END,
                               run_of('x', 30000, pool), NULL),
                   pool),
           -1, "words before and after");
    is_int(verdict(apr_pstrcat(pool, run_of('x', 70000, pool), "\r\n" FIELD("a", "b") END, NULL),
                   pool),
           CIB_REASON_TOO_LARGE, "too many of them before");
    is_int(verdict(apr_pstrcat(pool, FIELD("a", "b") END, run_of('x', 70000, pool), NULL), pool),
           CIB_REASON_TOO_LARGE, "or after");
    for (i = 0; i < 64; i++)
        parts = apr_pstrcat(pool, parts, FIELD("a", "b"), NULL);
    is_int(verdict(apr_pstrcat(pool, parts, END, NULL), pool), -1, "64 parts");
    is_int(verdict(apr_pstrcat(pool, parts, FIELD("a", "b") END, NULL), pool), CIB_REASON_TOO_LARGE,
           "one part more");
}

/* What is large goes by without being held, and as it came. */
static void test_large(apr_pool_t *pool)
{
    static const char head[] = "--AaB03x\r\nContent-Disposition: form-data; name=file\r\n\r\n";
    watch_t watch = {.take = {"file"}};
    cib_params_t *params = cib_params_create(pool);
    cib_parser_t *parser = NULL;
    char *piece = run_of('\r', 8000, pool);
    int i, failed;

    failed = !!cib_parser_multipart(&parser, TYPE, params, watch_plan(&watch, params, pool), pool);
    failed |= !!parser->feed(parser, head, sizeof(head) - 1);
    for (i = 0; i < 1000; i++)
        failed |= !!parser->feed(parser, piece, 8000);
    failed |= !!parser->feed(parser, "\r\n" END, 2 + sizeof(END) - 1) || !!parser->finish(parser);
    ok(!failed, "a file of eight megabytes");
    is_int(watch.len, 8000000, "arrives whole");
    ok(watch.writes < 3000, "in the pieces it came in (%d)", watch.writes);
    watch.fail_after = 10;
    is_int(reason(parse_as(TYPE, FILE_PART("file", "f", "01234567890123456789") END,
                           strlen(FILE_PART("file", "f", "01234567890123456789") END), 0, &watch,
                           NULL, pool)),
           CIB_REASON_NO_SPACE, "an error of the sink is the parser's");
}

static void test_repeated(apr_pool_t *pool)
{
    static const char body[] = FILE_PART("file", "1", "first") FILE_PART("file", "2", "second")
        FIELD("a", "1") FIELD("a", "2") END;
    watch_t watch = {.take = {"file"}};
    cib_params_t *params = NULL;

    ok(!parse_as(TYPE, body, sizeof(body) - 1, 0, &watch, &params, pool), "names that come twice");
    is_str(watch.log, "begin file [1];end file;begin a;begin a;", "the first file is taken");
    is_int(watch.len, 5, "and no byte of the second");
    is_str(text_of(params, "a"), "1", "the first text stays");
    watch.wants_further = 1;
    ok(!parse_as(TYPE, body, sizeof(body) - 1, 1, &watch, &params, pool), "byte by byte");
    is_int(watch.len, 5, "the first file is what is taken");
    is_int(watch.further_len, 6, "and the second goes where it is asked for");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_splits(pool);
    test_random(pool);
    test_accepted(pool);
    test_refused(pool);
    test_filenames(pool);
    test_boundaries(pool);
    test_limits(pool);
    test_large(pool);
    test_repeated(pool);
    apr_pool_destroy(pool);
    return done_testing();
}

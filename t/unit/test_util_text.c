#include "tap.h"

#include "util/cib_text.h"

#define SEC APR_INT64_C(1000000)
#define BAD APR_INT64_C(-77)

static void test_sizes(void)
{
    static const struct {
        const char *text;
        int unlimited_ok;
        apr_status_t rv;
        apr_int64_t size;
    } cases[] = {
        {"0", 0, APR_SUCCESS, 0},
        {"1", 0, APR_SUCCESS, 1},
        {"100M", 0, APR_SUCCESS, 104857600},
        {"100m", 0, APR_SUCCESS, 104857600},
        {"1K", 0, APR_SUCCESS, 1024},
        {"3g", 0, APR_SUCCESS, APR_INT64_C(3221225472)},
        {"2T", 0, APR_SUCCESS, APR_INT64_C(2199023255552)},
        {"9223372036854775807", 0, APR_SUCCESS, APR_INT64_MAX},
        {"8388607T", 0, APR_SUCCESS, APR_INT64_C(9223370937343148032)},
        {"unlimited", 1, APR_SUCCESS, CIB_UNLIMITED},
        {"Unlimited", 1, APR_SUCCESS, CIB_UNLIMITED},
        {"unlimited", 0, APR_EINVAL, BAD},
        {"9223372036854775808", 0, APR_ERANGE, BAD},
        {"8388608T", 0, APR_ERANGE, BAD},
        {"99999999999999999999999999", 0, APR_ERANGE, BAD},
        {"", 0, APR_EINVAL, BAD},
        {"M", 0, APR_EINVAL, BAD},
        {"-1", 0, APR_EINVAL, BAD},
        {"+1", 0, APR_EINVAL, BAD},
        {" 1", 0, APR_EINVAL, BAD},
        {"1 ", 0, APR_EINVAL, BAD},
        {"1 M", 0, APR_EINVAL, BAD},
        {"1MB", 0, APR_EINVAL, BAD},
        {"1P", 0, APR_EINVAL, BAD},
        {"1.5M", 0, APR_EINVAL, BAD},
        {"1\xFF", 0, APR_EINVAL, BAD},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        apr_int64_t size = BAD;

        is_rv(cib_size_parse(cases[i].text, cases[i].unlimited_ok, &size), cases[i].rv, "size '%s'",
              cases[i].text);
        is_int(size, cases[i].size, "... is %lld", (long long)cases[i].size);
    }
    is_rv(cib_size_parse(NULL, 1, &(apr_int64_t){0}), APR_EINVAL, "no size at all");
}

typedef apr_status_t (*duration_fn)(const char *text, apr_interval_time_t *duration);

typedef struct duration_case_t {
    const char *text;
    apr_status_t rv;
    apr_interval_time_t duration;
} duration_case_t;

static void check_durations(duration_fn parse, const duration_case_t *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        apr_interval_time_t duration = BAD;

        is_rv(parse(cases[i].text, &duration), cases[i].rv, "duration '%s'", cases[i].text);
        is_int(duration, cases[i].rv ? BAD : cases[i].duration, "... is %lld us",
               (long long)cases[i].duration);
    }
}

static void test_durations(void)
{
    static const duration_case_t cases[] = {
        {"60", APR_SUCCESS, 60 * SEC},
        {"60s", APR_SUCCESS, 60 * SEC},
        {"60S", APR_SUCCESS, 60 * SEC},
        {"5sec", APR_SUCCESS, 5 * SEC},
        {"500ms", APR_SUCCESS, SEC / 2},
        {"5mi", APR_SUCCESS, 300 * SEC},
        {"5min", APR_SUCCESS, 300 * SEC},
        {"5m", APR_SUCCESS, 300 * SEC},
        {"1h", APR_SUCCESS, 3600 * SEC},
        {"2d", APR_SUCCESS, 172800 * SEC},
        {"0", APR_SUCCESS, 0},
        {"2556750d", APR_SUCCESS, 86400 * SEC * 2556750},
        {"2556751d", APR_ERANGE, 0},
        {"9223372036854775807", APR_ERANGE, 0},
        {"9223372036854775808", APR_ERANGE, 0},
        {"", APR_EINVAL, 0},
        {"s", APR_EINVAL, 0},
        {"-1s", APR_EINVAL, 0},
        {"1w", APR_EINVAL, 0},
        {"1mo", APR_EINVAL, 0},
        {"1 h", APR_EINVAL, 0},
        {"1h30", APR_EINVAL, 0},
        {"Off", APR_EINVAL, 0},
        {NULL, APR_EINVAL, 0},
    };

    check_durations(cib_duration_parse, cases, sizeof(cases) / sizeof(*cases));
}

static void test_human_durations(void)
{
    static const duration_case_t cases[] = {
        {"1 week", APR_SUCCESS, 604800 * SEC},
        {"1week", APR_SUCCESS, 604800 * SEC},
        {"3 mins 4 sec", APR_SUCCESS, 184 * SEC},
        {"2h20min", APR_SUCCESS, 8400 * SEC},
        {"2h20", APR_SUCCESS, 7220 * SEC},
        {"7d", APR_SUCCESS, 604800 * SEC},
        {"7 days", APR_SUCCESS, 604800 * SEC},
        {"3 days and 2 hours", APR_SUCCESS, 266400 * SEC},
        {"3 days, 2 hours", APR_SUCCESS, 266400 * SEC},
        {"3 days,2 hours, and 1 second", APR_SUCCESS, 266401 * SEC},
        {"1.5 hours", APR_SUCCESS, 5400 * SEC},
        {".5 hours", APR_SUCCESS, 1800 * SEC},
        {"0.1 s", APR_SUCCESS, SEC / 10},
        {"1.0000000000000001 s", APR_SUCCESS, SEC},
        {"42", APR_SUCCESS, 42 * SEC},
        {" 42 ", APR_SUCCESS, 42 * SEC},
        {"6 mos 1 day", APR_SUCCESS, 86400 * SEC * 181},
        {"6 MOS 1 Day", APR_SUCCESS, 86400 * SEC * 181},
        {"1 mon", APR_SUCCESS, 30 * 86400 * SEC},
        {"2 months", APR_SUCCESS, 60 * 86400 * SEC},
        {"1 year", APR_SUCCESS, 31557600 * SEC},
        {"3 yrs", APR_SUCCESS, 3 * 31557600 * SEC},
        {"1y 1mo 1w 1d 1h 1m 1s", APR_SUCCESS,
         (31557600 + 2592000 + 604800 + 86400 + 3600 + 60 + 1) * SEC},
        {"10 secs 1 second 2 seconds 1sec 1 s", APR_SUCCESS, 15 * SEC},
        {"1 hr 2 hrs 3 hour", APR_SUCCESS, 6 * 3600 * SEC},
        {"1 minute 2 minutes 1 min 1 m", APR_SUCCESS, 5 * 60 * SEC},
        {"never", APR_SUCCESS, CIB_UNLIMITED},
        {" Never ", APR_SUCCESS, CIB_UNLIMITED},
        {"0", APR_SUCCESS, CIB_UNLIMITED},
        {"0 days", APR_SUCCESS, CIB_UNLIMITED},
        {"7000 years", APR_SUCCESS, 31557600 * SEC * 7000},
        {"", APR_EINVAL, 0},
        {"   ", APR_EINVAL, 0},
        {",", APR_EINVAL, 0},
        {"and", APR_EINVAL, 0},
        {"nonsense", APR_EINVAL, 0},
        {"never ever", APR_EINVAL, 0},
        {"never 1 day", APR_EINVAL, 0},
        {"1 fortnight", APR_EINVAL, 0},
        {"week", APR_EINVAL, 0},
        {"1 week banana", APR_EINVAL, 0},
        {"banana 1 week", APR_EINVAL, 0},
        {"3 4 sec", APR_EINVAL, 0},
        {"1,000 s", APR_EINVAL, 0},
        {"-1 day", APR_EINVAL, 0},
        {"1.h", APR_EINVAL, 0},
        {".", APR_EINVAL, 0},
        {"1.2.3 s", APR_EINVAL, 0},
        {"1 day!", APR_EINVAL, 0},
        {"1\xC2\xA0week", APR_EINVAL, 0},
        {"1e3 s", APR_EINVAL, 0},
        {"0x10 s", APR_EINVAL, 0},
        {"1 secondsecondsecond", APR_EINVAL, 0},
        {"7001 years", APR_EINVAL, 0},
        {"99999999999999999999 s", APR_EINVAL, 0},
        {"9223372036854775807 y", APR_EINVAL, 0},
        {"9223372036854775807 s", APR_EINVAL, 0},
        {NULL, APR_EINVAL, 0},
    };

    check_durations(cib_human_duration_parse, cases, sizeof(cases) / sizeof(*cases));
}

static void test_times(apr_pool_t *pool)
{
    is_str(cib_time_iso8601(0, pool), NULL, "no time is NULL");
    is_str(cib_time_iso8601(APR_INT64_C(1795367987123456), pool), "2026-11-22T17:19:47.123Z",
           "a time with milliseconds");
    is_str(cib_time_iso8601(1, pool), "1970-01-01T00:00:00.000Z", "the first microsecond");
    is_str(cib_time_iso8601(APR_INT64_C(951782400000000), pool), "2000-02-29T00:00:00.000Z",
           "a leap day");
}

static void test_hex(apr_pool_t *pool)
{
    is_str(cib_hex("\x00\x7f\xff\x10", 4, pool), "007fff10", "hex");
    is_str(cib_hex("", 0, pool), "", "hex of nothing");
    ok(cib_is_hex("0aF9", 4), "either case is hex");
    ok(!cib_is_hex("0aF9", 3), "too long");
    ok(!cib_is_hex("0aF9", 5), "too short");
    ok(!cib_is_hex("0aG9", 4), "not hex");
    ok(!cib_is_hex(NULL, 4), "NULL is not hex");
    ok(cib_is_hex("", 0), "nothing is no digits");
}

static void test_ints(void)
{
    apr_int64_t value = BAD;

    is_rv(cib_int_parse("42", 0, 100, &value), APR_SUCCESS, "an integer");
    is_int(value, 42, "... is 42");
    is_rv(cib_int_parse("-9223372036854775808", APR_INT64_MIN, APR_INT64_MAX, &value), APR_SUCCESS,
          "the smallest");
    is_int(value, APR_INT64_MIN, "... is itself");
    is_rv(cib_int_parse("9223372036854775807", 0, APR_INT64_MAX, &value), APR_SUCCESS,
          "the largest");
    is_int(value, APR_INT64_MAX, "... is itself");
    value = BAD;
    is_rv(cib_int_parse("101", 0, 100, &value), APR_ERANGE, "above the maximum");
    is_rv(cib_int_parse("-1", 0, 100, &value), APR_ERANGE, "below the minimum");
    is_rv(cib_int_parse("9223372036854775808", 0, APR_INT64_MAX, &value), APR_ERANGE, "too large");
    is_rv(cib_int_parse("", 0, 9, &value), APR_EINVAL, "nothing");
    is_rv(cib_int_parse("-", -9, 9, &value), APR_EINVAL, "a sign only");
    is_rv(cib_int_parse("--1", -9, 9, &value), APR_EINVAL, "two signs");
    is_rv(cib_int_parse("+1", 0, 9, &value), APR_EINVAL, "a plus");
    is_rv(cib_int_parse(" 1", 0, 9, &value), APR_EINVAL, "a blank before");
    is_rv(cib_int_parse("1 ", 0, 9, &value), APR_EINVAL, "a blank behind");
    is_rv(cib_int_parse("0x1", 0, 9, &value), APR_EINVAL, "another base");
    is_rv(cib_int_parse(NULL, 0, 9, &value), APR_EINVAL, "NULL");
    is_int(value, BAD, "failures leave the value alone");
}

static void test_size_format(apr_pool_t *pool)
{
    is_str(cib_size_format(0, pool), "0 bytes", "nothing");
    is_str(cib_size_format(1023, pool), "1023 bytes", "bytes");
    is_str(cib_size_format(1024, pool), "1 KiB", "a whole unit has no decimals");
    is_str(cib_size_format(1536, pool), "1.5 KiB", "half a unit");
    is_str(cib_size_format(1048575, pool), "1 MiB", "never 1024 of a unit");
    is_str(cib_size_format(1048000, pool), "1023.4 KiB", "just below");
    is_str(cib_size_format(104857600, pool), "100 MiB", "the usual limit");
    is_str(cib_size_format(APR_INT64_MAX, pool), "8 EiB", "the largest");
    is_str(cib_size_format(CIB_UNLIMITED, pool), "unlimited", "unlimited");
}

static void test_utf8(void)
{
    ok(cib_is_utf8("", 0), "nothing is UTF-8");
    ok(cib_is_utf8("plain", 5), "ASCII");
    ok(cib_is_utf8("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", 9), "two, three and four bytes");
    ok(cib_is_utf8("\xF4\x8F\xBF\xBF", 4), "U+10FFFF");
    ok(!cib_is_utf8("a\0b", 3), "NUL is refused");
    ok(!cib_is_utf8("\x80", 1), "a lone continuation");
    ok(!cib_is_utf8("\xC3", 1), "cut after the lead");
    ok(!cib_is_utf8("\xE2\x82", 2), "cut within");
    ok(!cib_is_utf8("\xE2\x82"
                    "a",
                    3),
       "no continuation");
    ok(!cib_is_utf8("\xC0\xAF", 2), "too long a form of two");
    ok(!cib_is_utf8("\xE0\x80\xAF", 3), "too long a form of three");
    ok(!cib_is_utf8("\xF0\x80\x80\xAF", 4), "too long a form of four");
    ok(!cib_is_utf8("\xED\xA0\x80", 3), "a surrogate");
    ok(!cib_is_utf8("\xF4\x90\x80\x80", 4), "beyond U+10FFFF");
    ok(!cib_is_utf8("\xFF", 1), "no lead at all");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_sizes();
    test_durations();
    test_human_durations();
    test_times(pool);
    test_hex(pool);
    test_ints();
    test_size_format(pool);
    test_utf8();
    return done_testing();
}

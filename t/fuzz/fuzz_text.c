/* Sizes, integers, hex, UTF-8, times and strangers' words: what is accepted is in range and,
 * written again, is the same. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "fuzz.h"
#include "internal.h"
#include "util/cib_text.h"

/* Each unit is 1024 of the one before. */
static void check_units(const char *text, apr_int64_t size, apr_pool_t *pool)
{
    for (const char *unit = "KMGT"; *unit; unit++) {
        apr_int64_t got = -7;
        apr_status_t rv = cib_size_parse(apr_psprintf(pool, "%s%c", text, *unit), 0, &got);

        if (size > APR_INT64_MAX / 1024) {
            holds(rv == APR_ERANGE, "%s%c is too large", text, *unit);
            return;
        }
        size *= 1024;
        holds(rv == APR_SUCCESS && got == size, "%s%c is %" APR_INT64_T_FMT, text, *unit, got);
    }
}

static void check_size(const char *text, apr_pool_t *pool)
{
    apr_int64_t size = -7, again = -7;
    apr_status_t rv = cib_size_parse(text, 0, &size);

    holds(rv == APR_SUCCESS || rv == APR_EINVAL || rv == APR_ERANGE, "one of three answers");
    holds(rv == APR_SUCCESS ? size >= 0 : size == -7, "%s is %" APR_INT64_T_FMT, text, size);
    if (rv == APR_SUCCESS) {
        rv = cib_size_parse(apr_psprintf(pool, "%" APR_INT64_T_FMT, size), 0, &again);
        holds(rv == APR_SUCCESS && again == size, "as large in bytes");
        holds(strlen(cib_size_format(size, pool)) <= 10, "a person can read it");
        if (apr_isdigit(text[strlen(text) - 1]))
            check_units(text, size, pool);
        rv = APR_SUCCESS;
    }
    holds(cib_size_parse(text, 1, &again) == rv || again == CIB_UNLIMITED,
          "where there may be no limit the same are sizes");
}

static void check_int(const char *text, apr_pool_t *pool)
{
    apr_int64_t number = 7, again = 7;
    apr_status_t rv = cib_int_parse(text, APR_INT64_MIN, APR_INT64_MAX, &number);

    holds(rv == APR_SUCCESS || rv == APR_EINVAL || rv == APR_ERANGE, "one of three answers");
    if (rv != APR_SUCCESS)
        return;
    holds(number == apr_strtoi64(text, NULL, 10), "%s is %" APR_INT64_T_FMT, text, number);
    rv = cib_int_parse(apr_psprintf(pool, "%" APR_INT64_T_FMT, number), number, number, &again);
    holds(rv == APR_SUCCESS && again == number, "the same in digits");
    if (number < APR_INT64_MAX)
        holds(cib_int_parse(text, number + 1, APR_INT64_MAX, &again) == APR_ERANGE, "too small");
    if (number > APR_INT64_MIN)
        holds(cib_int_parse(text, APR_INT64_MIN, number - 1, &again) == APR_ERANGE, "too large");
    holds(cib_size_format(number, pool) != NULL, "any number has a text");
}

static void check_hex(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *hex = cib_hex(data, len, pool);
    const char *text = fuzz_text(data, len, pool);

    holds(strlen(hex) == 2 * len && cib_is_hex(hex, 2 * len), "two digits a byte");
    for (apr_size_t i = 0; i < len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        holds((char)apr_strtoi64(pair, NULL, 16) == data[i], "the byte they are made of");
    }
    holds(!cib_is_hex(hex, 2 * len + 1) && !cib_is_hex(apr_pstrcat(pool, hex, "g", NULL), 2 * len),
          "neither more nor fewer");
    holds(cib_is_hex(text, strlen(text)) ==
              (strspn(text, "0123456789abcdefABCDEF") == strlen(text)),
          "of hex digits only");
}

/* One character's code, and its length; 0: it is none. */
static apr_size_t decode(const unsigned char *at, apr_size_t len, unsigned *code)
{
    apr_size_t more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;

    *code = more ? *at & (0x3f >> more) : *at;
    if ((*at & 0xc0) == 0x80 || *at >= 0xf8 || len <= more)
        return 0;
    for (apr_size_t i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    return more + 1;
}

static int is_utf8(const char *data, apr_size_t len)
{
    static const unsigned least[] = {0, 1, 0x80, 0x800, 0x10000};
    unsigned code;

    for (apr_size_t i = 0, step; i < len; i += step) {
        step = decode((const unsigned char *)data + i, len - i, &code);
        if (!step || code < least[step] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return 0;
    }
    return 1;
}

static int is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

/* A stranger's words, for a log or a list. */
static void check_tame(const char *text, apr_size_t max, apr_pool_t *pool)
{
    const char *tame = cib_text_tame(text, max, pool);
    apr_size_t len;

    holds(!tame == !is_utf8(text, strlen(text)), "what is no text becomes none");
    if (!tame)
        return;
    len = strlen(tame);
    holds(len <= max && is_utf8(tame, len) && !cib_text_has_control(tame), "it is short and tame");
    holds(len == strlen(text) || len + 4 > max, "no shorter than it must be");
    for (apr_size_t i = 0; i < len; i++)
        holds(tame[i] == (is_control(text[i]) ? ' ' : text[i]), "else it is as it was");
    holds(cib_text_check("it", text, max, pool) || !strcmp(tame, text), "what is good stays");
}

static void check_time(const char *data, apr_size_t len, apr_pool_t *pool)
{
    apr_time_t when = 0;
    const char *text;

    memcpy(&when, data, len < sizeof(when) ? len : sizeof(when));
    if (when < 0 || when > APR_INT64_C(253402300799999999)) /* the year 9999 */
        return;
    text = cib_time_iso8601(when, pool);
    holds(when ? strlen(text) == 24 : !text, "a time has its form");
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *text = fuzz_text(data, len, pool);

    check_size(text, pool);
    check_int(text, pool);
    check_hex(data, len, pool);
    holds(cib_is_utf8(data, len) == is_utf8(data, len), "UTF-8 is what its definition says");
    check_time(data, len, pool);
    check_tame(text, 255, pool);
    check_tame(text, 8, pool);
    check_tame(text, 1, pool);
}

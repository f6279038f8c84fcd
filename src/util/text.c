#include "util/cib_text.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_errno.h>
#include <apr_strings.h>

/* Not isdigit() and its kin: they ask the locale and take an int. */
static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Read digits; *text is left behind them. APR_EINVAL: there are none; APR_ERANGE: too many. */
static apr_status_t scan_digits(const char **text, apr_int64_t *value)
{
    const char *at = *text;
    apr_int64_t sum = 0;

    if (!is_digit(*at))
        return APR_EINVAL;
    for (; is_digit(*at); at++) {
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, *at - '0', &sum))
            return APR_ERANGE;
    }
    *text = at;
    *value = sum;
    return APR_SUCCESS;
}

apr_status_t cib_int_parse(const char *text, apr_int64_t min, apr_int64_t max, apr_int64_t *value)
{
    int negative;
    apr_int64_t sum = 0;
    const char *at;

    if (!text)
        return APR_EINVAL;
    negative = *text == '-';
    at = text + negative;
    if (!*at || strspn(at, "0123456789") != strlen(at))
        return APR_EINVAL;
    for (; *at; at++) {
        int digit = negative ? '0' - *at : *at - '0';

        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return APR_ERANGE;
    }
    if (sum < min || sum > max)
        return APR_ERANGE;
    *value = sum;
    return APR_SUCCESS;
}

apr_status_t cib_size_parse(const char *text, int unlimited_ok, apr_int64_t *bytes)
{
    static const char units[] = "KMGT";
    apr_int64_t size;
    apr_status_t rv;
    const char *unit;

    if (!text)
        return APR_EINVAL;
    if (unlimited_ok && apr_cstr_casecmp(text, "unlimited") == 0) {
        *bytes = CIB_UNLIMITED;
        return APR_SUCCESS;
    }
    if ((rv = scan_digits(&text, &size)) != APR_SUCCESS)
        return rv;
    if (*text) {
        char letter = *text >= 'a' ? (char)(*text - 'a' + 'A') : *text;

        unit = strchr(units, letter);
        if (!unit || text[1])
            return APR_EINVAL;
        if (__builtin_mul_overflow(size, APR_INT64_C(1024) << (10 * (unit - units)), &size))
            return APR_ERANGE;
    }
    *bytes = size;
    return APR_SUCCESS;
}

#define USEC_MILLI APR_INT64_C(1000)
#define USEC_SEC APR_INT64_C(1000000)
#define SEC_MINUTE APR_INT64_C(60)
#define SEC_HOUR APR_INT64_C(3600)
#define SEC_DAY APR_INT64_C(86400)
#define SEC_YEAR APR_INT64_C(31557600)

/* Longer than this no duration is: added to today it stays within the year 9999, so that every sum
 * fits and every time prints with four digits for the year. */
#define DURATION_MAX (7000 * SEC_YEAR * USEC_SEC)

/* Microseconds of a unit, or 0. Like httpd only its beginning is looked at: "5sec", "5minutes". */
static apr_int64_t directive_unit(const char *unit)
{
    const char *at;

    for (at = unit; *at; at++) {
        if (!is_alpha(*at))
            return 0;
    }
    if (apr_cstr_casecmpn(unit, "ms", 2) == 0)
        return USEC_MILLI;
    if (apr_cstr_casecmp(unit, "m") == 0 || apr_cstr_casecmpn(unit, "mi", 2) == 0)
        return SEC_MINUTE * USEC_SEC;
    if (!*unit || *unit == 's' || *unit == 'S')
        return USEC_SEC;
    if (*unit == 'h' || *unit == 'H')
        return SEC_HOUR * USEC_SEC;
    if (*unit == 'd' || *unit == 'D')
        return SEC_DAY * USEC_SEC;
    return 0;
}

apr_status_t cib_duration_parse(const char *text, apr_interval_time_t *duration)
{
    apr_int64_t count, unit, sum;
    apr_status_t rv;

    if (!text)
        return APR_EINVAL;
    if ((rv = scan_digits(&text, &count)) != APR_SUCCESS)
        return rv;
    unit = directive_unit(text);
    if (!unit)
        return APR_EINVAL;
    if (__builtin_mul_overflow(count, unit, &sum) || sum > DURATION_MAX)
        return APR_ERANGE;
    *duration = sum;
    return APR_SUCCESS;
}

typedef struct human_unit_t {
    const char *names; /* each with a blank before and behind it */
    apr_int64_t seconds;
} human_unit_t;

static const human_unit_t human_units[] = {
    {" s sec secs second seconds ", 1},     {" m min mins minute minutes ", SEC_MINUTE},
    {" h hr hrs hour hours ", SEC_HOUR},    {" d dy day days ", SEC_DAY},
    {" w wk wks week weeks ", 7 * SEC_DAY}, {" mo mos mon month months ", 30 * SEC_DAY},
    {" y yr yrs year years ", SEC_YEAR},
};

#define HUMAN_WORD_MAX 8

/* Read letters in lower case into `word`, which has room for HUMAN_WORD_MAX + 1; a longer word is
 * left whole and empty: no unit is that long. */
static void scan_word(const char **text, char *word)
{
    apr_size_t len = 0;
    const char *at = *text;

    word[0] = '\0';
    while (is_alpha(at[len]))
        len++;
    *text = at + len;
    if (len > HUMAN_WORD_MAX)
        return;
    for (apr_size_t i = 0; i < len; i++)
        word[i] = (char)(at[i] | 0x20);
    word[len] = '\0';
}

static apr_int64_t human_unit(const char *word)
{
    char wanted[HUMAN_WORD_MAX + 3];

    if (!*word)
        return 0;
    apr_snprintf(wanted, sizeof(wanted), " %s ", word);
    for (apr_size_t i = 0; i < sizeof(human_units) / sizeof(*human_units); i++) {
        if (strstr(human_units[i].names, wanted))
            return human_units[i].seconds;
    }
    return 0;
}

/* Blanks and commas between the terms, and the words that join them. */
static void skip_joints(const char **text)
{
    for (;;) {
        const char *word_at;
        char word[HUMAN_WORD_MAX + 1];

        *text += strspn(*text, " \t\r\n,");
        word_at = *text;
        scan_word(text, word);
        if (strcmp(word, "and") && strcmp(word, "with") && strcmp(word, "plus")) {
            *text = word_at;
            return;
        }
    }
}

/* A number with or without decimals: whole part and millionths. */
static apr_status_t scan_decimal(const char **text, apr_int64_t *whole, apr_int64_t *millionths)
{
    const char *at = *text;
    apr_int64_t scale = USEC_SEC;

    *whole = *millionths = 0;
    if (*at != '.' && scan_digits(&at, whole) != APR_SUCCESS)
        return APR_EINVAL;
    if (*at == '.') {
        if (!is_digit(*++at))
            return APR_EINVAL;
        for (; is_digit(*at); at++) {
            scale /= 10;
            *millionths += scale * (*at - '0');
        }
    }
    *text = at;
    return APR_SUCCESS;
}

/* One term ("3 mins", "2h", at the very end "20") added to *sum. */
static apr_status_t add_term(const char **text, apr_int64_t *sum)
{
    apr_int64_t whole, millionths, unit;
    char word[HUMAN_WORD_MAX + 1];

    if (scan_decimal(text, &whole, &millionths) != APR_SUCCESS)
        return APR_EINVAL;
    *text += strspn(*text, " \t\r\n");
    if (**text) {
        scan_word(text, word);
        unit = human_unit(word);
    } else {
        unit = 1;
    }
    if (!unit || __builtin_mul_overflow(whole, unit * USEC_SEC, &whole) ||
        __builtin_add_overflow(whole, millionths * unit, &whole) ||
        __builtin_add_overflow(*sum, whole, sum) || *sum > DURATION_MAX)
        return APR_EINVAL;
    return APR_SUCCESS;
}

apr_status_t cib_human_duration_parse(const char *text, apr_interval_time_t *duration)
{
    apr_int64_t sum = 0;
    const char *at = text;
    char word[HUMAN_WORD_MAX + 1];

    if (!text)
        return APR_EINVAL;
    skip_joints(&at);
    if (!*at)
        return APR_EINVAL;
    scan_word(&at, word);
    if (strcmp(word, "never") == 0) {
        skip_joints(&at);
        if (*at)
            return APR_EINVAL;
        *duration = CIB_UNLIMITED;
        return APR_SUCCESS;
    }
    for (at = text, skip_joints(&at); *at; skip_joints(&at)) {
        if (add_term(&at, &sum) != APR_SUCCESS)
            return APR_EINVAL;
    }
    *duration = sum ? sum : CIB_UNLIMITED;
    return APR_SUCCESS;
}

const char *cib_time_iso8601(apr_time_t when, apr_pool_t *pool)
{
    apr_time_exp_t t;

    if (when == 0 || apr_time_exp_gmt(&t, when) != APR_SUCCESS)
        return NULL;
    return apr_psprintf(pool, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900, t.tm_mon + 1,
                        t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, t.tm_usec / 1000);
}

const char *cib_hex(const void *bytes, apr_size_t len, apr_pool_t *pool)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;
    char *hex = apr_palloc(pool, 2 * len + 1);

    for (apr_size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[from[i] >> 4];
        hex[2 * i + 1] = digits[from[i] & 15];
    }
    hex[2 * len] = '\0';
    return hex;
}

int cib_is_hex(const char *text, apr_size_t len)
{
    return text && strspn(text, "0123456789abcdefABCDEF") == len && text[len] == '\0';
}

const char *cib_size_format(apr_int64_t bytes, apr_pool_t *pool)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    apr_int64_t parts = bytes, tenths; /* parts: 1/1024 of the unit */
    int unit = 0;

    if (bytes < 0)
        return bytes == CIB_UNLIMITED ? "unlimited" : "-";
    if (bytes < 1024)
        return apr_psprintf(pool, "%d bytes", (int)bytes);
    /* 1023.95 of a unit would print as 1024: the next one then */
    while (parts >= 1048525 && unit < 5) {
        parts >>= 10;
        unit++;
    }
    tenths = (parts * 10 + 512) / 1024;
    if (tenths % 10 == 0)
        return apr_psprintf(pool, "%d %s", (int)(tenths / 10), units[unit]);
    return apr_psprintf(pool, "%d.%d %s", (int)(tenths / 10), (int)(tenths % 10), units[unit]);
}

/* How many bytes follow a lead byte; -1: it cannot lead. */
static int utf8_more(unsigned char lead)
{
    if (lead < 0x80)
        return 0;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 1;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 2;
    if (lead >= 0xF0 && lead <= 0xF4)
        return 3;
    return -1;
}

/* The second byte says whether it is too long a form, a surrogate, or beyond U+10FFFF. */
static int utf8_second_ok(unsigned char lead, unsigned char second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second <= 0x9F;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second <= 0x8F;
    default:
        return 1;
    }
}

int cib_is_utf8(const char *text, apr_size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + len;

    while (at < end) {
        int more = utf8_more(*at);

        if (*at == 0 || more < 0 || end - at <= more || (more && !utf8_second_ok(*at, at[1])))
            return 0;
        for (at++; more > 0; more--, at++) {
            if ((*at & 0xC0) != 0x80)
                return 0;
        }
    }
    return 1;
}

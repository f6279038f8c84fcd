/* Durations: those of the directives and those for people. Never negative, never over 7,000 years,
 * and what is said in other words is as long. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "fuzz.h"
#include "util/cib_text.h"

#define MOST (APR_INT64_C(7000) * 31557600 * 1000000)

static void check_directive(const char *text, apr_pool_t *pool)
{
    apr_interval_time_t duration = -7, again = -7;
    apr_status_t rv = cib_duration_parse(text, &duration);

    holds(rv == APR_SUCCESS || rv == APR_EINVAL || rv == APR_ERANGE, "one of three answers");
    if (rv != APR_SUCCESS) {
        holds(duration == -7, "an error sets nothing");
        return;
    }
    holds(duration >= 0 && duration <= MOST, "%s is %" APR_INT64_T_FMT, text, duration);
    holds(duration % 1000 == 0, "whole milliseconds");
    rv = cib_duration_parse(apr_psprintf(pool, "%" APR_INT64_T_FMT "ms", duration / 1000), &again);
    holds(rv == APR_SUCCESS && again == duration, "as long in milliseconds");
}

static char *upper(const char *text, apr_pool_t *pool)
{
    char *up = apr_pstrdup(pool, text);

    for (char *at = up; *at; at++)
        *at = (char)apr_toupper(*at);
    return up;
}

static apr_interval_time_t human(const char *text)
{
    apr_interval_time_t duration = -7;

    return cib_human_duration_parse(text, &duration) == APR_SUCCESS ? duration : -8;
}

static void check_human(const char *text, apr_pool_t *pool)
{
    apr_interval_time_t duration = human(text), twice;
    apr_size_t len = strlen(text);

    holds(duration == CIB_UNLIMITED || duration == -8 || (duration > 0 && duration <= MOST),
          "%s is %" APR_INT64_T_FMT, text, duration);
    holds(human(upper(text, pool)) == duration, "capitals mean nothing");
    holds(human(apr_pstrcat(pool, " ,\n", text, NULL)) == duration, "nor do blanks before it");
    holds(human(apr_pstrcat(pool, text, "\t ", NULL)) == duration || duration == -8 ||
              apr_isdigit(text[len - 1]),
          "nor behind it");
    if (duration < 0)
        return;
    holds(human(apr_psprintf(pool, "%" APR_INT64_T_FMT ".%06d", duration / 1000000,
                             (int)(duration % 1000000))) == duration,
          "as long in seconds");
    if (!apr_isalpha(text[len - 1]))
        return; /* a bare number stands at the very end only */
    twice = human(apr_pstrcat(pool, text, " and ", text, NULL));
    holds(twice == (duration > MOST / 2 ? -8 : 2 * duration), "%s, twice, is twice as long", text);
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *text = fuzz_text(data, len, pool);

    check_directive(text, pool);
    check_human(text, pool);
}

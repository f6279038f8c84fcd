/* Content-Range: never negative, never wrong. */
#include <string.h>

#include <apr_strings.h>

#include "fuzz.h"
#include "http/cib_parser.h"

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *text = fuzz_text(data, len, pool);
    apr_int64_t start = cib_content_range_start(text);
    unsigned __int128 want = 0;

    for (const char *at = text; *at >= '0' && *at <= '9'; at++) {
        want = 10 * want + (unsigned)(*at - '0');
        if (want > APR_INT64_MAX)
            want = APR_INT64_MAX;
    }
    holds(start >= 0 && (unsigned __int128)start == want, "%s starts at %" APR_INT64_T_FMT, text,
          start);
    holds(cib_content_range_start(apr_psprintf(pool, "%" APR_INT64_T_FMT "-%s", start, text)) ==
              start,
          "said again it is the same");
}

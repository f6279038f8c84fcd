/* Where a piece of a trace begins. */
#include <apr_lib.h>

#include "http/cib_parser.h"

apr_int64_t cib_content_range_start(const char *header)
{
    apr_int64_t start = 0;

    for (; header && apr_isdigit(*header); header++) {
        int digit = *header - '0';

        if (start > (APR_INT64_MAX - digit) / 10)
            return APR_INT64_MAX;
        start = start * 10 + digit;
    }
    return start;
}

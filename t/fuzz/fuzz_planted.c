/* A target with faults in it, for the tests of what finds them. */
#include <string.h>

#include "fuzz.h"

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    volatile char last = '\0';
    char *copy = apr_palloc(pool, len);

    if (len)
        memcpy(copy, data, len);
    holds(len < 4 || memcmp(data, "boom", 4) != 0, "nobody says boom");
    /* one byte too far: only AddressSanitizer sees it */
    if (len >= 4 && !memcmp(data, "over", 4))
        last = copy[len];
    (void)last;
}

#include "tap.h"

#include <string.h>

#include "util/cib_memo.h"

#define DAY apr_time_from_sec(86400)

static void test_notes(apr_pool_t *pool)
{
    unsigned char one[CIB_SHA256_LEN], other[CIB_SHA256_LEN];
    cib_memo_t *memo = NULL;

    is_int(cib_memo_create(&memo, pool), APR_SUCCESS, "a memo");
    cib_sha256("one", 3, one);
    cib_sha256("other", 5, other);
    is_int(cib_memo_get(memo, one, 0, DAY), 0, "has nothing at first");
    cib_memo_put(memo, one, 7, 1000);
    is_int(cib_memo_get(memo, one, 999, DAY), 7, "what was noted is there");
    is_int(cib_memo_get(memo, other, 999, DAY), 0, "  and nothing else");
    is_int(cib_memo_get(memo, one, 1000, DAY), 0, "until its time is over");
    is_int(cib_memo_get(memo, one, 899, 100), 0, "and not for longer than it may be good");
    is_int(cib_memo_get(memo, one, 900, 100), 7, "  just as long");
    cib_memo_put(memo, one, 8, 2000);
    is_int(cib_memo_get(memo, one, 1500, DAY), 8, "a new note takes the old one's place");
    cib_memo_put(memo, other, 9, 2000);
    is_int(cib_memo_get(memo, one, 1500, DAY), 8, "  and not another's");
    is_int(cib_memo_get(memo, other, 1500, DAY), 9, "  which is there, too");
    /* all that differs lies behind what finds the place */
    memcpy(other, one, CIB_SHA256_LEN);
    other[CIB_SHA256_LEN - 1] ^= 1;
    is_int(cib_memo_get(memo, other, 1500, DAY), 0, "one that falls on its place is not it");
    cib_memo_put(memo, other, 10, 2000);
    is_int(cib_memo_get(memo, other, 1500, DAY), 10, "  and takes it");
    is_int(cib_memo_get(memo, one, 1500, DAY), 0, "  so that the former is forgotten");
}

int main(void)
{
    test_notes(tap_pool());
    return done_testing();
}

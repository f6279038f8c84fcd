#include "tap.h"

#include <errno.h>

#include "util/cib_error.h"

static cib_error_t *fail_at(apr_pool_t *pool, int step)
{
    CIB_TRY(step == 1 ? cib_error(pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL) : CIB_OK);
    CIB_TRY(step == 2 ? cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "two") : CIB_OK);
    return CIB_OK;
}

static void test_system(apr_pool_t *pool)
{
    static const struct {
        int code;
        cib_reason_e reason;
    } cases[] = {{ENOSPC, CIB_REASON_NO_SPACE},
                 {EDQUOT, CIB_REASON_NO_SPACE},
                 {EFBIG, CIB_REASON_NO_SPACE},
                 {EIO, CIB_REASON_INTERNAL},
                 {ENOENT, CIB_REASON_INTERNAL}};
    cib_error_t *err;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        err = cib_error_system(pool, cases[i].code, "write %d", 7);
        is_int(err->reason, cases[i].reason, "errno %d", cases[i].code);
        is_int(err->rv, cases[i].code, "... is kept");
        is_str(err->message, NULL, "... is none of a client's business");
    }
    err = cib_error_system(pool, ENOSPC, "write the trace of build %d", 7);
    is_str(cib_error_text(err, pool), "write the trace of build 7: No space left on device",
           "what was done, and why it failed");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();
    cib_error_t *err = cib_error(pool, CIB_REASON_MISSING, APR_SUCCESS, "%s", "token");

    is_int(err->reason, CIB_REASON_MISSING, "the reason");
    is_str(err->message, "token", "the message");
    is_str(err->detail, NULL, "no detail");
    is_str(cib_error_text(err, pool), "a required parameter is missing: token", "as one line");
    ok(cib_error_detail(pool, err, "%s of %d", "body", 3) == err, "a detail can be returned");
    is_str(err->detail, "body of 3", "... and is there");
    is_str(cib_error_text(err, pool), "body of 3", "... and is what is logged");
    err = cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "malformed");
    is_str(cib_error_text(err, pool), "malformed", "a message speaks for itself");
    err = cib_error(pool, CIB_REASON_UNAVAILABLE, APR_TIMEUP, NULL);
    ok(strncmp(cib_error_text(err, pool), "the database is not available: ", 31) == 0,
       "a reason without words has some, and the cause");
    is_str(cib_error_text(CIB_OK, pool), "success", "no error");
    ok(fail_at(pool, 0) == CIB_OK, "CIB_TRY goes on");
    is_int(fail_at(pool, 1)->reason, CIB_REASON_NOTHING, "... or returns");
    is_str(fail_at(pool, 2)->message, "two", "... at any step");
    test_system(pool);
    return done_testing();
}

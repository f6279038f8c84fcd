#include "util/cib_error.h"

#include <errno.h>
#include <stdarg.h>

#include <apr_strings.h>

cib_error_t *cib_error(apr_pool_t *pool, cib_reason_e reason, apr_status_t rv, const char *fmt, ...)
{
    cib_error_t *err = apr_pcalloc(pool, sizeof(*err));
    va_list args;

    err->reason = reason;
    err->rv = rv;
    if (fmt) {
        va_start(args, fmt);
        err->message = apr_pvsprintf(pool, fmt, args);
        va_end(args);
    }
    return err;
}

cib_error_t *cib_error_detail(apr_pool_t *pool, cib_error_t *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    err->detail = apr_pvsprintf(pool, fmt, args);
    va_end(args);
    return err;
}

static const char *reason_text(cib_reason_e reason)
{
    switch (reason) {
    case CIB_REASON_INTERNAL:
        return "internal error";
    case CIB_REASON_UNAVAILABLE:
        return "the database is not available";
    case CIB_REASON_NO_SPACE:
        return "no space left in the storage directory";
    case CIB_REASON_INVALID:
        return "malformed request";
    case CIB_REASON_MISSING:
        return "a required parameter is missing";
    case CIB_REASON_WRONG_TOKEN:
        return "not with this token";
    case CIB_REASON_FORBIDDEN:
        return "forbidden";
    case CIB_REASON_NOT_RUNNING:
        return "the build is not running";
    case CIB_REASON_ERASED:
        return "the build has been erased";
    case CIB_REASON_NOTHING:
        return "nothing there";
    case CIB_REASON_NO_RECORD:
        return "no such record";
    case CIB_REASON_NOT_ALLOWED:
        return "switched off";
    case CIB_REASON_BAD_TYPE:
        return "content type not served";
    case CIB_REASON_TOO_LARGE:
        return "too large";
    case CIB_REASON_OUT_OF_RANGE:
        return "offset out of range";
    case CIB_REASON_CONFLICT:
        return "the state does not allow it";
    case CIB_REASON_DUPLICATE:
        return "there is one already";
    case CIB_REASON_CLIENT_GONE:
        return "the client is gone";
    }
    return "unknown error";
}

/* A message that is only a name or a type says too little without its reason. */
static const char *message_text(const cib_error_t *err, apr_pool_t *pool)
{
    if (!err->message)
        return reason_text(err->reason);
    if (err->reason == CIB_REASON_MISSING || err->reason == CIB_REASON_BAD_TYPE)
        return apr_pstrcat(pool, reason_text(err->reason), ": ", err->message, NULL);
    return err->message;
}

const char *cib_error_text(const cib_error_t *err, apr_pool_t *pool)
{
    const char *text;
    char cause[200];

    if (!err)
        return "success";
    text = err->detail ? err->detail : message_text(err, pool);
    if (err->rv == APR_SUCCESS || err->rv == APR_EGENERAL) /* whose text says nothing */
        return text;
    return apr_pstrcat(pool, text, ": ", apr_strerror(err->rv, cause, sizeof(cause)), NULL);
}

static int is_full(apr_status_t rv)
{
    int code = APR_TO_OS_ERROR(rv);

    return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

cib_error_t *cib_error_system(apr_pool_t *pool, apr_status_t rv, const char *fmt, ...)
{
    cib_error_t *err =
        cib_error(pool, is_full(rv) ? CIB_REASON_NO_SPACE : CIB_REASON_INTERNAL, rv, NULL);
    va_list args;

    va_start(args, fmt);
    err->detail = apr_pvsprintf(pool, fmt, args);
    va_end(args);
    return err;
}

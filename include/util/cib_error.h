/* Errors: an apr_status_t plus a reason.
 *
 * A function that can fail for a reason a client or an administrator should read returns a
 * `cib_error_t *`: NULL is success (CIB_OK). The object lives as long as the pool it was made in,
 * which is always the pool the failing call was given. It knows nothing of HTTP; src/http/reply.c
 * is the only place that turns a reason into a status and a body, and a log line.
 */
#ifndef CIB_ERROR_H
#define CIB_ERROR_H

#include <apr_errno.h>
#include <apr_pools.h>

typedef enum {
    CIB_REASON_INTERNAL,     /* a bug, or the system failed in a way nobody foresaw */
    CIB_REASON_UNAVAILABLE,  /* the database cannot be reached or is busy: try again */
    CIB_REASON_NO_SPACE,     /* the storage directory is full, or below CIBuildsMinFree */
    CIB_REASON_INVALID,      /* the request is malformed: message is a text of our own */
    CIB_REASON_MISSING,      /* a required parameter is missing or empty: message is its name */
    CIB_REASON_WRONG_TOKEN,  /* a token is unknown, wrong or missing */
    CIB_REASON_FORBIDDEN,    /* the state forbids it: message is the text after
                                "403 Forbidden  - ", NULL for the plain one */
    CIB_REASON_NOT_RUNNING,  /* the build is in no state for that: as FORBIDDEN, but a dialect may
                                have words of its own for it */
    CIB_REASON_ERASED,       /* the build has been erased: likewise */
    CIB_REASON_NOTHING,      /* nothing to do or nothing there ("404 Not Found") */
    CIB_REASON_NO_RECORD,    /* the record looked for does not exist ("404 Not found") */
    CIB_REASON_NOT_ALLOWED,  /* switched off: 405 */
    CIB_REASON_BAD_TYPE,     /* the content type is not served: message is the type */
    CIB_REASON_TOO_LARGE,    /* the body or the file is over a limit: message names it */
    CIB_REASON_OUT_OF_RANGE, /* a trace offset that is not the length received */
    CIB_REASON_CONFLICT,     /* the state does not allow it (command line) */
    CIB_REASON_DUPLICATE,    /* there is one already that may not be replaced */
    CIB_REASON_CLIENT_GONE   /* the peer vanished or its framing broke: rv says how */
} cib_reason_e;

typedef struct cib_error_t {
    cib_reason_e reason;
    apr_status_t rv;     /* the cause, APR_SUCCESS where there is none */
    const char *message; /* for the client; never holds a token */
    const char *detail; /* for the log and the administrator only; NULL where message says it all */
    int unsure;         /* it may have been done all the same: the answer to a commit was lost */
} cib_error_t;

#define CIB_OK ((cib_error_t *)0)

/* Make an error in `pool`. `fmt` and what follows make the message; fmt may be NULL. */
cib_error_t *cib_error(apr_pool_t *pool, cib_reason_e reason, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Give `err` a detail for the log and return it, so that it can stand in a return statement. */
cib_error_t *cib_error_detail(apr_pool_t *pool, cib_error_t *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* One line for a log or for standard error: detail or message, and the cause's text. In `pool`. */
const char *cib_error_text(const cib_error_t *err, apr_pool_t *pool);

/* An error from a system call: ENOSPC, EDQUOT and EFBIG become NO_SPACE, all others INTERNAL.
 * `what` says what was being done ("write the trace of build 7"). */
cib_error_t *cib_error_system(apr_pool_t *pool, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Return from the calling function when `expr` failed. */
#define CIB_TRY(expr)                                                                              \
    do {                                                                                           \
        cib_error_t *cib_try_err = (expr);                                                         \
        if (cib_try_err)                                                                           \
            return cib_try_err;                                                                    \
    } while (0)

#endif

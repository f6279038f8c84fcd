/* A small TAP producer for the unit tests: one program per test file, run by prove.
 *
 *   int main(void)
 *   {
 *       apr_pool_t *pool = tap_pool();
 *       is_int(cib_x(), 7, "x of nothing");
 *       return done_testing();
 *   }
 *
 * Every check returns whether it held. All functions are static: the header is the whole harness. A
 * test that forks leaves the child with _exit(), which prints nothing and runs no cleanup.
 */
#ifndef CIB_TAP_H
#define CIB_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_general.h>
#include <apr_pools.h>

#define TAP_UNUSED __attribute__((unused))

static int tap_planned;
static int tap_done;
static int tap_failed;

/* ok(condition, "what it means", ...) */
#define ok(cond, ...) tap_ok(!!(cond), #cond, __FILE__, __LINE__, __VA_ARGS__)

/* is_str(got, want, "what", ...): NULL equals NULL only. */
#define is_str(got, want, ...) tap_is_str(got, want, __FILE__, __LINE__, __VA_ARGS__)

/* is_int(got, want, "what", ...): anything that fits a long long. */
#define is_int(got, want, ...)                                                                     \
    tap_is_int((long long)(got), (long long)(want), __FILE__, __LINE__, __VA_ARGS__)

/* is_mem(got, want, len, "what", ...): the same bytes. */
#define is_mem(got, want, len, ...) tap_is_mem(got, want, len, __FILE__, __LINE__, __VA_ARGS__)

/* is_rv(got, want, "what", ...): apr_status_t, shown as text when they differ. */
#define is_rv(got, want, ...) tap_is_rv(got, want, __FILE__, __LINE__, __VA_ARGS__)

/* Say how many checks there will be. Optional: done_testing() prints the plan otherwise. */
TAP_UNUSED static void plan(int tests)
{
    tap_planned = tests;
    printf("1..%d\n", tests);
    fflush(stdout);
}

/* A remark for whoever reads a failure; goes to standard error line by line. */
__attribute__((format(printf, 1, 2))) TAP_UNUSED static void diag(const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fputs("# ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

TAP_UNUSED static void tap_report(int held, const char *fmt, va_list args)
{
    tap_done++;
    if (!held)
        tap_failed++;
    printf("%sok %d - ", held ? "" : "not ", tap_done);
    vprintf(fmt, args);
    putchar('\n');
    fflush(stdout);
}

__attribute__((format(printf, 5, 6))) TAP_UNUSED static int
tap_ok(int held, const char *text, const char *file, int line, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tap_report(held, fmt, args);
    va_end(args);
    if (!held)
        diag("%s:%d: %s", file, line, text);
    return held;
}

__attribute__((format(printf, 5, 6))) TAP_UNUSED static int
tap_is_str(const char *got, const char *want, const char *file, int line, const char *fmt, ...)
{
    va_list args;
    int held = got && want ? strcmp(got, want) == 0 : got == want;

    va_start(args, fmt);
    tap_report(held, fmt, args);
    va_end(args);
    if (!held)
        diag("%s:%d: got '%s', want '%s'", file, line, got ? got : "(null)",
             want ? want : "(null)");
    return held;
}

__attribute__((format(printf, 5, 6))) TAP_UNUSED static int
tap_is_int(long long got, long long want, const char *file, int line, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tap_report(got == want, fmt, args);
    va_end(args);
    if (got != want)
        diag("%s:%d: got %lld, want %lld", file, line, got, want);
    return got == want;
}

__attribute__((format(printf, 6, 7))) TAP_UNUSED static int tap_is_mem(const void *got,
                                                                       const void *want, size_t len,
                                                                       const char *file, int line,
                                                                       const char *fmt, ...)
{
    va_list args;
    size_t at = 0;

    while (at < len && ((const char *)got)[at] == ((const char *)want)[at])
        at++;
    va_start(args, fmt);
    tap_report(at == len, fmt, args);
    va_end(args);
    if (at != len)
        diag("%s:%d: of %lu bytes the first that differs is %lu", file, line, (unsigned long)len,
             (unsigned long)at);
    return at == len;
}

__attribute__((format(printf, 5, 6))) TAP_UNUSED static int
tap_is_rv(apr_status_t got, apr_status_t want, const char *file, int line, const char *fmt, ...)
{
    char got_text[120], want_text[120];
    va_list args;

    va_start(args, fmt);
    tap_report(got == want, fmt, args);
    va_end(args);
    if (got != want)
        diag("%s:%d: got %d (%s), want %d (%s)", file, line, (int)got,
             apr_strerror(got, got_text, sizeof(got_text)), (int)want,
             apr_strerror(want, want_text, sizeof(want_text)));
    return got == want;
}

/* Count `tests` checks that cannot be made here, and why. */
__attribute__((format(printf, 2, 3))) TAP_UNUSED static void skip(int tests, const char *fmt, ...)
{
    char why[240];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    while (tests-- > 0)
        printf("ok %d # SKIP %s\n", ++tap_done, why);
    fflush(stdout);
}

/* The whole program cannot be run here. Ends it. */
__attribute__((format(printf, 1, 2), noreturn)) TAP_UNUSED static void skip_all(const char *fmt,
                                                                                ...)
{
    va_list args;

    fputs("1..0 # SKIP ", stdout);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    exit(0);
}

/* Nothing further makes sense. Ends the program and stops prove. */
__attribute__((format(printf, 1, 2), noreturn)) TAP_UNUSED static void bail_out(const char *fmt,
                                                                                ...)
{
    va_list args;

    fputs("Bail out! ", stdout);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    exit(255);
}

/* Start APR (once) and make a pool below the root one. */
TAP_UNUSED static apr_pool_t *tap_pool(void)
{
    static int started;
    apr_pool_t *pool = NULL;

    if (!started) {
        if (apr_initialize() != APR_SUCCESS)
            bail_out("apr_initialize failed");
        atexit(apr_terminate);
        started = 1;
    }
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS)
        bail_out("out of memory");
    return pool;
}

/* Print the plan where there was none; what main() returns. */
TAP_UNUSED static int done_testing(void)
{
    if (!tap_planned)
        printf("1..%d\n", tap_done);
    else if (tap_planned != tap_done)
        diag("planned %d checks but made %d", tap_planned, tap_done);
    if (tap_failed)
        diag("%d of %d checks failed", tap_failed, tap_done);
    return tap_failed || (tap_planned && tap_planned != tap_done);
}

#endif

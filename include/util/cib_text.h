/* Text that has no opinion: hex, sizes, durations, times, UTF-8. All results live in `pool`. */
#ifndef CIB_TEXT_H
#define CIB_TEXT_H

#include <apr_pools.h>
#include <apr_time.h>

/* "unlimited" and "never", wherever a size or a duration allows it. */
#define CIB_UNLIMITED ((apr_int64_t)-1)

/* A size in powers of 1024: digits, then K, M, G or T in either case, or "unlimited" where
 * `unlimited_ok`. APR_EINVAL: not a size; APR_ERANGE: it does not fit. */
apr_status_t cib_size_parse(const char *text, int unlimited_ok, apr_int64_t *bytes);

/* A duration as ap_timeout_parameter_parse reads it (ms, s, mi, h, no unit: seconds; only the
 * unit's beginning counts, so "5sec" will do), plus m for minutes and d. Microseconds, >= 0.
 * APR_EINVAL: not a duration; APR_ERANGE: over 7,000 years, which keeps every sum with a time of
 * today in range. */
apr_status_t cib_duration_parse(const char *text, apr_interval_time_t *duration);

/* GitLab's human duration (`1 week`, `3 mins 4 sec`, `2h20min`, `7d`, `1.5 hours`, `3 days and 2
 * hours`, a bare number of seconds), as artifacts' `expire_in` says it. Microseconds. "never" and,
 * as there, whatever adds up to zero are CIB_UNLIMITED. APR_EINVAL for nonsense, for nothing at all
 * and for over 7,000 years. A month is 30 days, a year 365.25 days. */
apr_status_t cib_human_duration_parse(const char *text, apr_interval_time_t *duration);

/* "2026-11-22T17:19:47.123Z"; NULL where `when` is 0. */
const char *cib_time_iso8601(apr_time_t when, apr_pool_t *pool);

/* Lower case hex of `len` bytes. */
const char *cib_hex(const void *bytes, apr_size_t len, apr_pool_t *pool);

/* Is `text` exactly `len` hex digits (either case)? */
int cib_is_hex(const char *text, apr_size_t len);

/* A decimal integer, all of `text`, within [min, max]. APR_EINVAL, APR_ERANGE. */
apr_status_t cib_int_parse(const char *text, apr_int64_t min, apr_int64_t max, apr_int64_t *value);

/* Bytes for a person: "1.5 MiB", "512 bytes", "unlimited". */
const char *cib_size_format(apr_int64_t bytes, apr_pool_t *pool);

/* Is it valid UTF-8 without NUL? */
int cib_is_utf8(const char *text, apr_size_t len);

#endif

/* What the files of the core share: sections without their four usual arguments, log lines, and
 * what may be in a text that goes into the database. */
#ifndef CIB_CORE_INTERNAL_H
#define CIB_CORE_INTERNAL_H

#include "core/cib_ctx.h"
#include "store/cib_questions.h"
#include "util/cib_text.h"

/* The longest name, ref, description or other short text, in bytes. */
#define CIB_SHORT_MAX 255

cib_error_t *cib_read(const cib_ctx_t *ctx, cib_section_fn section, void *baton);
cib_error_t *cib_write(const cib_ctx_t *ctx, cib_section_fn section, void *baton);
/* For a section of exactly one changing statement. */
cib_error_t *cib_write_one(const cib_ctx_t *ctx, cib_section_fn section, void *baton);

/* For a section that serves many who ask the same at once. */
cib_error_t *cib_gather(const cib_ctx_t *ctx, cib_gather_e kind, const char *key,
                        cib_wishes_fn section, void *baton);

/* The same context with a pool of its own below, to be cleared after each part of a long work. It
 * is left alone where an error is returned, which lives in it. */
cib_ctx_t cib_ctx_below(const cib_ctx_t *ctx);

/* One line for the log; `fmt` begins with its message id. */
void cib_log(const cib_ctx_t *ctx, cib_log_e level, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for an error that is not returned. */
void cib_log_error(const cib_ctx_t *ctx, const char *id, const cib_error_t *err);

/* INVALID unless `text` is 1 to `max` bytes of UTF-8 without control characters. */
cib_error_t *cib_text_check(const char *what, const char *text, apr_size_t max, apr_pool_t *pool);
/* A text of a stranger made fit: cut to `max` bytes between two characters, control characters
 * become blanks. NULL stays NULL, and what is no UTF-8 becomes NULL. */
const char *cib_text_tame(const char *text, apr_size_t max, apr_pool_t *pool);

/* Has `text` a byte below 0x20 or 0x7f? */
int cib_text_has_control(const char *text);

/* "There is no build 7." */
cib_error_t *cib_no_record(apr_pool_t *pool, const char *kind, apr_int64_t id);

/* Remove blobs (const char *) that no row names any more. What fails is logged and left to upkeep.
 * `freed` (or NULL) grows by their bytes. */
void cib_blobs_remove(const cib_ctx_t *ctx, const apr_array_header_t *blobs, apr_int64_t *freed);

#endif

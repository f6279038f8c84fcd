/* Masking: every occurrence of a secret becomes as many `x` as it is long, also where it is split
 * over two requests. */
#ifndef CIB_MASK_H
#define CIB_MASK_H

#include "core/cib_ctx.h"

/* In bytes. Shorter secrets would mask ordinary words. */
#define CIB_SECRET_SHORTEST 8

typedef struct cib_mask_t cib_mask_t;

/* The secrets of a build: its token, its project's token, every secret variable of
 * CIB_SECRET_SHORTEST or more. */
cib_error_t *cib_mask_for_build(const cib_ctx_t *ctx, const cib_build_t *build, cib_mask_t **mask);

/* A mask of given secrets (const char *). */
cib_mask_t *cib_mask_create(const apr_array_header_t *secrets, apr_pool_t *pool);

/* Mask `len` bytes in place. `tail` are the raw bytes that came just before, as kept by the last
 * call (may be empty). `*reach` takes how many bytes before data[0] must become `x` too;
 * `*new_tail` (in `pool`) and `*new_len` the raw end that may be the beginning of a secret: always
 * shorter than the longest. */
void cib_mask_apply(const cib_mask_t *mask, const char *tail, apr_size_t tail_len, char *data,
                    apr_size_t len, apr_size_t *reach, const char **new_tail, apr_size_t *new_len,
                    apr_pool_t *pool);

#endif

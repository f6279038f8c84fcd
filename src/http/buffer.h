/* A byte buffer that grows up to a limit, for what a parser must hold. */
#ifndef CIB_HTTP_BUFFER_H
#define CIB_HTTP_BUFFER_H

#include "util/cib_error.h"

typedef struct cib_buffer_t {
    apr_pool_t *pool;
    apr_size_t limit;
    char *data; /* always followed by a NUL once something was appended */
    apr_size_t len;
    apr_size_t room;
} cib_buffer_t;

/* An empty buffer for at most `limit` bytes; takes memory from `pool` when it is first needed. */
void cib_buffer_init(cib_buffer_t *buffer, apr_size_t limit, apr_pool_t *pool);

/* TOO_LARGE: it would not fit the limit; nothing is appended then. */
cib_error_t *cib_buffer_append(cib_buffer_t *buffer, const char *data, apr_size_t len);

/* Forget the bytes, keep the memory. */
void cib_buffer_clear(cib_buffer_t *buffer);

/* The bytes, NUL-terminated; "" where there are none. */
const char *cib_buffer_text(const cib_buffer_t *buffer);

#endif

/* A running SHA-256 that lets others work meanwhile: of what is long, a thread of its own computes
 * it, so that hashing and writing take the longer of their two times and not their sum. */
#ifndef CIB_FILES_HASHER_H
#define CIB_FILES_HASHER_H

#include <apr_pools.h>

typedef struct cib_hasher_t cib_hasher_t;

/* Threads of its own are begun late, by whoever gives it more than this. */
#define CIB_HASHER_ALONE (4 * 1024 * 1024)

/* `threads`: it may begin one. */
apr_status_t cib_hasher_begin(cib_hasher_t **hasher, int threads, apr_pool_t *pool);

/* Hash these bytes, which must stay as they are until the next call of any of these returns: it
 * waits for the ones before. */
apr_status_t cib_hasher_take(cib_hasher_t *hasher, const void *data, apr_size_t len);

/* All is hashed that was given. */
apr_status_t cib_hasher_wait(cib_hasher_t *hasher);

/* `digest` takes CIB_SHA256_LEN bytes; nothing more may be given. */
apr_status_t cib_hasher_end(cib_hasher_t *hasher, unsigned char *digest);

/* Stop; also after the end, and again. To be called before the pool or the bytes go. */
void cib_hasher_drop(cib_hasher_t *hasher);

#endif

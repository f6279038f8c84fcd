/* Spools: unnamed files for what is too long for memory on its way from one place to another. They
 * are written at the end and read anywhere; nobody else can open one, and a killed process leaves
 * none behind. Functions return apr_status_t, errno's values as they are.
 */
#ifndef CIB_SPOOL_H
#define CIB_SPOOL_H

#include <apr_errno.h>
#include <apr_pools.h>

typedef struct cib_spool_t cib_spool_t;

/* Make one in the directory `dir`. Closed with `pool`. */
apr_status_t cib_spool_open(cib_spool_t **spool, const char *dir, apr_pool_t *pool);

apr_status_t cib_spool_write(cib_spool_t *spool, const char *data, apr_size_t len);

/* Forget what was written. */
apr_status_t cib_spool_clear(cib_spool_t *spool);

apr_int64_t cib_spool_size(const cib_spool_t *spool);

/* Up to `len` bytes at `offset`; `*got` is less only at the end. */
apr_status_t cib_spool_read(cib_spool_t *spool, apr_int64_t offset, char *data, apr_size_t len,
                            apr_size_t *got);

/* The line that begins at `*offset`, without its end, good until the next call for this spool;
 * `*offset` goes on to the one after it. Lines are read fastest one after the other. APR_EOF:
 * there is none. */
apr_status_t cib_spool_line(cib_spool_t *spool, apr_int64_t *offset, const char **line,
                            apr_size_t *len);

#endif

/* A file for somebody outside of the storage directory, which appears whole or not at all: it has
 * no name until it is finished (a hidden one where the filesystem has no unnamed files), and
 * whoever is killed before leaves nothing. Mode 0600. Functions return apr_status_t, errno's values
 * as they are.
 */
#ifndef CIB_OUTFILE_H
#define CIB_OUTFILE_H

#include <apr_errno.h>
#include <apr_pools.h>

typedef struct cib_outfile_t cib_outfile_t;

/* Begin what is to be `path`. APR_EEXIST: that is there, and is no file or must not be replaced. */
apr_status_t cib_outfile_open(cib_outfile_t **out, const char *path, int replace, apr_pool_t *pool);

/* To write to; good until it is finished. */
int cib_outfile_fd(const cib_outfile_t *out);

/* The folder it is in. */
const char *cib_outfile_folder(const cib_outfile_t *out);

/* On disk, and under its name, afterwards. APR_EEXIST: somebody was faster, and it must not be
 * replaced. Nothing is left of it when this fails, unless what it was to replace is gone
 * already. */
apr_status_t cib_outfile_finish(cib_outfile_t *out);

/* Give it up. */
void cib_outfile_abandon(cib_outfile_t *out);

#endif

/* Files that have no name until they are finished: O_TMPFILE, which a killed process cannot leave
 * behind, or a name beginning with a dot where the filesystem has no such thing. They are locked
 * (flock) from the beginning, so that nobody takes one for a leftover. */
#ifndef CIB_FILES_TEMPFILE_H
#define CIB_FILES_TEMPFILE_H

#include "files/cib_storage.h"

typedef struct cib_tempfile_t {
    int fd;
    const char *hidden; /* FOLDER/.STEM: its name while it has one, or on its way */
    int named;          /* `hidden` is there */
} cib_tempfile_t;

/* For the tests: do as on a filesystem without O_TMPFILE. */
extern int cib_tempfile_always_named;

/* Make one in `folder`. `stem` must be unique; strings live in `pool`, the descriptor until drop.
 */
apr_status_t cib_tempfile_open(cib_tempfile_t *temp, const char *folder, const char *stem,
                               mode_t mode, apr_pool_t *pool);

/* Give it the name `path`. APR_EEXIST: that is taken. */
apr_status_t cib_tempfile_link(cib_tempfile_t *temp, const char *path);

/* Close it; without a name of its own it is gone. */
void cib_tempfile_drop(cib_tempfile_t *temp);

/* 32 random hex digits for a stem; in `pool`. */
apr_status_t cib_tempfile_random(const char **hex, apr_pool_t *pool);

#endif

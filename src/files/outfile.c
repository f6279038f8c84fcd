#include "files/cib_outfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "folder.h"
#include "tempfile.h"

struct cib_outfile_t {
    const char *path;
    const char *folder;
    int replace;
    cib_tempfile_t temp;
};

/* With a dot at its end, for the folder itself may be a link. */
static const char *folder_of(const char *path, apr_pool_t *pool)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return ".";
    return apr_pstrcat(pool, apr_pstrmemdup(pool, path, (apr_size_t)(slash + 1 - path)), ".", NULL);
}

/* Who may write into a folder and not read it leaves that to its owner. */
static apr_status_t sync_folder(const cib_outfile_t *out)
{
    apr_status_t rv = cib_directory_sync(out->folder);

    return rv == EACCES ? APR_SUCCESS : rv;
}

/* A device or a pipe is nothing to put a file in the place of. */
static apr_status_t may_be(const char *path, int replace)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? APR_SUCCESS : errno;
    return replace && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) ? APR_SUCCESS : APR_EEXIST;
}

apr_status_t cib_outfile_open(cib_outfile_t **out, const char *path, int replace, apr_pool_t *pool)
{
    cib_outfile_t *made = apr_pcalloc(pool, sizeof(*made));
    const char *random;
    apr_status_t rv = may_be(path, replace);

    made->path = apr_pstrdup(pool, path);
    made->folder = folder_of(path, pool);
    made->replace = replace;
    if (rv == APR_SUCCESS)
        rv = cib_tempfile_random(&random, pool);
    if (rv == APR_SUCCESS)
        rv = cib_tempfile_open(&made->temp, made->folder, random, 0600, pool);
    if (rv == APR_SUCCESS)
        *out = made;
    return rv;
}

int cib_outfile_fd(const cib_outfile_t *out)
{
    return out->temp.fd;
}

const char *cib_outfile_folder(const cib_outfile_t *out)
{
    return out->folder;
}

/* Atomically: whoever looks sees the old one or the new one. */
static apr_status_t take_place(cib_outfile_t *out)
{
    cib_tempfile_t *temp = &out->temp;
    apr_status_t rv = temp->named ? APR_SUCCESS : cib_tempfile_link(temp, temp->hidden);

    if (rv != APR_SUCCESS)
        return rv;
    temp->named = 1;
    if (rename(temp->hidden, out->path) != 0)
        return errno;
    temp->named = 0;
    return APR_SUCCESS;
}

apr_status_t cib_outfile_finish(cib_outfile_t *out)
{
    apr_status_t rv = cib_fd_sync(out->temp.fd);

    if (rv == APR_SUCCESS && out->replace)
        rv = take_place(out);
    else if (rv == APR_SUCCESS)
        rv = cib_tempfile_link(&out->temp, out->path);
    cib_tempfile_drop(&out->temp);
    if (rv != APR_SUCCESS)
        return rv;
    rv = sync_folder(out);
    if (rv != APR_SUCCESS && !out->replace)
        unlink(out->path);
    return rv;
}

void cib_outfile_abandon(cib_outfile_t *out)
{
    cib_tempfile_drop(&out->temp);
}

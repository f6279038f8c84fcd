#include "files/cib_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <apr_strings.h>

#include "descriptor.h"
#include "tempfile.h"

struct cib_spool_t {
    FILE *file;
    apr_int64_t size;
    enum { NOWHERE, WRITING, READING } doing; /* in between stdio wants to be told */
    apr_int64_t at;                           /* of the next byte that is read */
    char *line;
    size_t line_room;
};

static apr_status_t spool_cleanup(void *data)
{
    cib_spool_t *spool = data;

    fclose(spool->file);
    free(spool->line);
    return APR_SUCCESS;
}

/* What has a name loses it at once: the descriptor is all that is wanted. The directory may be a
 * link. */
static apr_status_t open_unnamed(int *fd, const char *dir, apr_pool_t *pool)
{
    cib_tempfile_t temp;
    const char *random;
    apr_status_t rv = cib_tempfile_random(&random, pool);

    if (rv == APR_SUCCESS)
        rv = cib_tempfile_open(&temp, apr_pstrcat(pool, dir, "/.", NULL), random, 0600, pool);
    if (rv != APR_SUCCESS)
        return rv;
    *fd = fcntl(temp.fd, F_DUPFD_CLOEXEC, 0);
    if (*fd < 0)
        rv = errno;
    cib_tempfile_drop(&temp);
    return rv;
}

apr_status_t cib_spool_open(cib_spool_t **spool, const char *dir, apr_pool_t *pool)
{
    cib_spool_t *made = apr_pcalloc(pool, sizeof(*made));
    int fd;
    apr_status_t rv = open_unnamed(&fd, dir, pool);

    if (rv != APR_SUCCESS)
        return rv;
    made->file = fdopen(fd, "w+");
    if (!made->file) {
        rv = errno;
        cib_fd_close(&fd);
        return rv;
    }
    apr_pool_cleanup_register(pool, made, spool_cleanup, apr_pool_cleanup_null);
    *spool = made;
    return APR_SUCCESS;
}

static apr_status_t go_to(cib_spool_t *spool, apr_int64_t offset)
{
    spool->doing = NOWHERE;
    return fseeko(spool->file, offset, SEEK_SET) == 0 ? APR_SUCCESS : errno;
}

static apr_status_t read_from(cib_spool_t *spool, apr_int64_t offset)
{
    apr_status_t rv = APR_SUCCESS;

    if (spool->doing != READING || spool->at != offset)
        rv = go_to(spool, offset);
    if (rv == APR_SUCCESS)
        spool->doing = READING;
    spool->at = offset;
    return rv;
}

apr_status_t cib_spool_write(cib_spool_t *spool, const char *data, apr_size_t len)
{
    apr_status_t rv = spool->doing == WRITING ? APR_SUCCESS : go_to(spool, spool->size);

    if (rv != APR_SUCCESS)
        return rv;
    spool->doing = WRITING;
    errno = 0;
    if (fwrite(data, 1, len, spool->file) != len)
        return errno ? errno : APR_EGENERAL;
    spool->size += (apr_int64_t)len;
    return APR_SUCCESS;
}

apr_status_t cib_spool_clear(cib_spool_t *spool)
{
    apr_status_t rv = go_to(spool, 0);

    if (rv != APR_SUCCESS)
        return rv;
    if (ftruncate(fileno(spool->file), 0) != 0)
        return errno;
    spool->size = 0;
    return APR_SUCCESS;
}

apr_int64_t cib_spool_size(const cib_spool_t *spool)
{
    return spool->size;
}

apr_status_t cib_spool_read(cib_spool_t *spool, apr_int64_t offset, char *data, apr_size_t len,
                            apr_size_t *got)
{
    apr_status_t rv = read_from(spool, offset);

    *got = 0;
    if (rv != APR_SUCCESS)
        return rv;
    errno = 0;
    *got = fread(data, 1, len, spool->file);
    if (*got < len && ferror(spool->file))
        return errno ? errno : APR_EGENERAL;
    spool->at += (apr_int64_t)*got;
    return APR_SUCCESS;
}

apr_status_t cib_spool_line(cib_spool_t *spool, apr_int64_t *offset, const char **line,
                            apr_size_t *len)
{
    apr_status_t rv = read_from(spool, *offset);
    ssize_t got;

    if (rv != APR_SUCCESS)
        return rv;
    errno = 0;
    got = getline(&spool->line, &spool->line_room, spool->file);
    if (got < 0)
        return errno ? errno : APR_EOF;
    *offset += got;
    spool->at = *offset;
    if (spool->line[got - 1] == '\n')
        spool->line[--got] = '\0';
    *line = spool->line;
    *len = (apr_size_t)got;
    return APR_SUCCESS;
}

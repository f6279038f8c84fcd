/* Writing archives. */
#include "files/cib_archive.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include <apr_strings.h>

#include "util/cib_crypto.h"
#include "util/cib_text.h"

/* What is written at once, and what a tar is a multiple of, as tar(1) has it. */
#define BLOCK (1024 * 1024)
#define LAST_BLOCK 10240

struct cib_archive_t {
    struct archive *tar;
    struct archive_entry *entry;
    int fd;
    apr_pool_t *pool;
    apr_pool_t *member_pool;
    cib_spool_t *sums;
    cib_sha256_t *sha;
    const char *name;
    apr_int64_t left; /* bytes that the member still wants */
    apr_int64_t written;
    int broken; /* errno of the write that failed */
};

cib_pack_e cib_archive_pack(const char *name)
{
    static const char *const endings[] = {
        [CIB_PACK_GZIP] = ".gz", [CIB_PACK_XZ] = ".xz", [CIB_PACK_ZSTD] = ".zst"};
    apr_size_t len = strlen(name);

    for (int pack = CIB_PACK_GZIP; pack <= CIB_PACK_ZSTD; pack++) {
        apr_size_t ending = strlen(endings[pack]);

        if (len > ending && strcmp(name + len - ending, endings[pack]) == 0)
            return (cib_pack_e)pack;
    }
    return CIB_PACK_NOT;
}

static apr_status_t archive_cleanup(void *data)
{
    cib_archive_t *archive = data;

    if (archive->entry)
        archive_entry_free(archive->entry);
    if (archive->tar) {
        /* freeing one that is not closed closes it, and nothing more is to be written; one that is
         * told to fail keeps some of its memory */
        if (!archive->broken)
            archive->broken = ECANCELED;
        archive_write_free(archive->tar);
    }
    archive->entry = NULL;
    archive->tar = NULL;
    return APR_SUCCESS;
}

static cib_error_t *trouble(cib_archive_t *archive)
{
    const char *words = archive_error_string(archive->tar);

    if (archive->broken)
        return cib_error_system(archive->pool, archive->broken, "cannot write the archive");
    return cib_error_detail(archive->pool,
                            cib_error(archive->pool, CIB_REASON_INTERNAL, APR_SUCCESS, NULL),
                            "cannot write the archive: %s", words ? words : "no reason given");
}

static la_ssize_t put(struct archive *tar, void *baton, const void *data, size_t len)
{
    cib_archive_t *archive = baton;
    ssize_t done = -1;

    if (!archive->broken)
        do
            done = write(archive->fd, data, len);
        while (done < 0 && errno == EINTR);
    if (done < 0) {
        if (!archive->broken)
            archive->broken = errno;
        archive_set_error(tar, archive->broken, "write failed");
        return -1;
    }
    archive->written += done;
    return done;
}

static int add_filter(struct archive *tar, cib_pack_e pack)
{
    switch (pack) {
    case CIB_PACK_GZIP:
        return archive_write_add_filter_gzip(tar);
    case CIB_PACK_XZ:
        return archive_write_add_filter_xz(tar);
    case CIB_PACK_ZSTD:
        return archive_write_add_filter_zstd(tar);
    default:
        return ARCHIVE_OK;
    }
}

cib_error_t *cib_archive_begin(cib_archive_t **archive, int fd, cib_pack_e pack, cib_spool_t *sums,
                               apr_pool_t *pool)
{
    cib_archive_t *made = apr_pcalloc(pool, sizeof(*made));

    made->fd = fd;
    made->pool = pool;
    made->sums = sums;
    apr_pool_create(&made->member_pool, pool);
    made->tar = archive_write_new();
    made->entry = archive_entry_new();
    if (!made->tar || !made->entry)
        return cib_error(pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL);
    apr_pool_cleanup_register(pool, made, archive_cleanup, apr_pool_cleanup_null);
    if (archive_write_set_format_pax_restricted(made->tar) != ARCHIVE_OK ||
        add_filter(made->tar, pack) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(made->tar, BLOCK) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(made->tar, pack == CIB_PACK_NOT ? LAST_BLOCK : 1) !=
            ARCHIVE_OK ||
        archive_write_open(made->tar, made, NULL, put, NULL) != ARCHIVE_OK)
        return trouble(made);
    *archive = made;
    return CIB_OK;
}

static cib_error_t *begin_member(cib_archive_t *archive, const char *name, apr_int64_t size,
                                 int mode, apr_time_t mtime)
{
    archive_entry_clear(archive->entry);
    archive_entry_set_pathname(archive->entry, name);
    archive_entry_set_size(archive->entry, size);
    archive_entry_set_filetype(archive->entry, AE_IFREG);
    archive_entry_set_perm(archive->entry, (__LA_MODE_T)mode);
    archive_entry_set_mtime(archive->entry, apr_time_sec(mtime), 0);
    archive->left = size;
    return archive_write_header(archive->tar, archive->entry) == ARCHIVE_OK ? CIB_OK
                                                                            : trouble(archive);
}

cib_error_t *cib_archive_member(cib_archive_t *archive, const char *name, apr_int64_t size,
                                int mode, apr_time_t mtime)
{
    apr_status_t rv;

    apr_pool_clear(archive->member_pool);
    archive->name = apr_pstrdup(archive->member_pool, name);
    rv = cib_sha256_begin(&archive->sha, archive->member_pool);
    if (rv != APR_SUCCESS)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, rv, NULL);
    return begin_member(archive, name, size, mode, mtime);
}

/* libarchive takes as much as it can at a time, and nothing beyond the size that was announced. */
static cib_error_t *put_data(cib_archive_t *archive, const char *data, apr_size_t len)
{
    if ((apr_int64_t)len > archive->left)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, APR_EINVAL, NULL);
    archive->left -= (apr_int64_t)len;
    while (len) {
        la_ssize_t done = archive_write_data(archive->tar, data, len);

        if (done <= 0)
            return trouble(archive);
        data += done;
        len -= (apr_size_t)done;
    }
    return CIB_OK;
}

cib_error_t *cib_archive_write(cib_archive_t *archive, const char *data, apr_size_t len)
{
    apr_status_t rv = cib_sha256_update(archive->sha, data, len);

    if (rv != APR_SUCCESS)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, rv, NULL);
    return put_data(archive, data, len);
}

static cib_error_t *end_entry(cib_archive_t *archive)
{
    if (archive->left)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, APR_EINCOMPLETE, NULL);
    return archive_write_finish_entry(archive->tar) == ARCHIVE_OK ? CIB_OK : trouble(archive);
}

cib_error_t *cib_archive_member_end(cib_archive_t *archive, const char **sha256)
{
    unsigned char digest[CIB_SHA256_LEN];
    const char *hex, *line;
    apr_status_t rv = cib_sha256_end(archive->sha, digest);

    if (rv != APR_SUCCESS)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, rv, NULL);
    hex = cib_hex(digest, sizeof(digest), archive->member_pool);
    line = apr_pstrcat(archive->member_pool, hex, "  ", archive->name, "\n", NULL);
    rv = cib_spool_write(archive->sums, line, strlen(line));
    if (rv != APR_SUCCESS)
        return cib_error_system(archive->pool, rv, "cannot spool the sums");
    if (sha256)
        *sha256 = hex;
    return end_entry(archive);
}

static cib_error_t *put_sums(cib_archive_t *archive)
{
    char buffer[8192];
    apr_int64_t at = 0;
    apr_size_t got;

    do {
        apr_status_t rv = cib_spool_read(archive->sums, at, buffer, sizeof(buffer), &got);

        if (rv != APR_SUCCESS)
            return cib_error_system(archive->pool, rv, "cannot read the spooled sums");
        CIB_TRY(put_data(archive, buffer, got));
        at += (apr_int64_t)got;
    } while (got);
    return CIB_OK;
}

cib_error_t *cib_archive_finish(cib_archive_t *archive)
{
    CIB_TRY(begin_member(archive, CIB_ARCHIVE_SUMS, cib_spool_size(archive->sums), 0644,
                         apr_time_now()));
    CIB_TRY(put_sums(archive));
    CIB_TRY(end_entry(archive));
    return archive_write_close(archive->tar) == ARCHIVE_OK ? CIB_OK : trouble(archive);
}

apr_int64_t cib_archive_bytes(const cib_archive_t *archive)
{
    return archive->written;
}

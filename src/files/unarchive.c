/* Reading archives. */
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include <apr_strings.h>

#include "files/cib_archive.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

#define BUFFER (256 * 1024)

struct cib_unarchive_t {
    struct archive *tar;
    apr_pool_t *pool;
    apr_pool_t *member_pool;
    cib_spool_t *sums; /* what was read so far, as SHA256SUMS is to say it */
    cib_sha256_t *all; /* of these lines */
    const char *name;  /* of the member we are in; NULL: none */
    const char *last;  /* as far as we came, for errors; NULL: no member yet */
    cib_sha256_t *sha; /* of the member */
    char *buffer;
};

static apr_status_t unarchive_cleanup(void *data)
{
    cib_unarchive_t *archive = data;

    archive_read_free(archive->tar);
    return APR_SUCCESS;
}

static cib_error_t *damaged(cib_unarchive_t *archive, const char *what)
{
    return cib_error(archive->pool, CIB_REASON_CONFLICT, APR_SUCCESS, "it is damaged: %s", what);
}

/* libarchive's own words, and how far it came. */
static cib_error_t *trouble(cib_unarchive_t *archive)
{
    const char *words = archive_error_string(archive->tar);

    if (!words)
        words = "it cannot be read";
    if (!archive->last)
        return cib_error(archive->pool, CIB_REASON_CONFLICT, APR_SUCCESS, "it is no backup: %s",
                         words);
    return damaged(archive, apr_psprintf(archive->pool, "%s, %s %s", words,
                                         archive->name ? "in" : "after", archive->last));
}

/* tar, and what packs it; nothing for which another program would be started. */
static int support(struct archive *tar)
{
    return archive_read_support_format_tar(tar) == ARCHIVE_OK &&
           archive_read_support_filter_gzip(tar) == ARCHIVE_OK &&
           archive_read_support_filter_bzip2(tar) == ARCHIVE_OK &&
           archive_read_support_filter_xz(tar) == ARCHIVE_OK &&
           archive_read_support_filter_zstd(tar) == ARCHIVE_OK;
}

cib_error_t *cib_unarchive_begin(cib_unarchive_t **archive, int fd, cib_spool_t *sums,
                                 apr_pool_t *pool)
{
    cib_unarchive_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = cib_sha256_begin(&made->all, pool);

    if (rv != APR_SUCCESS)
        return cib_error(pool, CIB_REASON_INTERNAL, rv, NULL);
    made->pool = pool;
    made->sums = sums;
    made->buffer = apr_palloc(pool, BUFFER);
    apr_pool_create(&made->member_pool, pool);
    made->tar = archive_read_new();
    if (!made->tar)
        return cib_error(pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL);
    apr_pool_cleanup_register(pool, made, unarchive_cleanup, apr_pool_cleanup_null);
    if (!support(made->tar) || archive_read_open_fd(made->tar, fd, BUFFER) != ARCHIVE_OK)
        return trouble(made);
    *archive = made;
    return CIB_OK;
}

cib_error_t *cib_unarchive_read(cib_unarchive_t *archive, const char **data, apr_size_t *len)
{
    la_ssize_t got = archive_read_data(archive->tar, archive->buffer, BUFFER);
    apr_status_t rv;

    *data = archive->buffer;
    *len = 0;
    if (got < 0)
        return trouble(archive);
    *len = (apr_size_t)got;
    rv = archive->sha ? cib_sha256_update(archive->sha, archive->buffer, *len) : APR_SUCCESS;
    return rv == APR_SUCCESS ? CIB_OK : cib_error(archive->pool, CIB_REASON_INTERNAL, rv, NULL);
}

/* Read what nobody wanted of the member, and note its sum. */
static cib_error_t *end_member(cib_unarchive_t *archive)
{
    unsigned char digest[CIB_SHA256_LEN];
    const char *data, *line;
    apr_size_t len;
    apr_status_t rv;

    do
        CIB_TRY(cib_unarchive_read(archive, &data, &len));
    while (len);
    rv = cib_sha256_end(archive->sha, digest);
    if (rv != APR_SUCCESS)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, rv, NULL);
    line = apr_pstrcat(archive->member_pool, cib_hex(digest, sizeof(digest), archive->member_pool),
                       "  ", archive->name, "\n", NULL);
    rv = cib_spool_write(archive->sums, line, strlen(line));
    if (rv == APR_SUCCESS)
        rv = cib_sha256_update(archive->all, line, strlen(line));
    archive->sha = NULL;
    archive->name = NULL;
    return rv == APR_SUCCESS ? CIB_OK
                             : cib_error_system(archive->pool, rv, "cannot spool the sums");
}

/* The header of the next entry; NULL: the archive ends. */
static cib_error_t *next_entry(cib_unarchive_t *archive, struct archive_entry **entry)
{
    int code = archive_read_next_header(archive->tar, entry);

    if (code == ARCHIVE_EOF) {
        *entry = NULL;
        return CIB_OK;
    }
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
        return trouble(archive);
    if (archive_entry_filetype(*entry) != AE_IFREG || !archive_entry_pathname(*entry) ||
        archive_entry_hardlink(*entry))
        return damaged(archive, "it holds what is no file");
    return CIB_OK;
}

/* Spool SHA256SUMS behind our own lines; `same`: it says the same. */
static cib_error_t *read_sums(cib_unarchive_t *archive, int *same)
{
    unsigned char mine[CIB_SHA256_LEN], its[CIB_SHA256_LEN];
    cib_sha256_t *sha;
    const char *data;
    apr_size_t len;
    apr_status_t rv = cib_sha256_begin(&sha, archive->member_pool);

    while (rv == APR_SUCCESS) {
        CIB_TRY(cib_unarchive_read(archive, &data, &len));
        if (!len)
            break;
        rv = cib_sha256_update(sha, data, len);
        if (rv == APR_SUCCESS)
            rv = cib_spool_write(archive->sums, data, len);
    }
    if (rv == APR_SUCCESS)
        rv = cib_sha256_end(sha, its);
    if (rv == APR_SUCCESS)
        rv = cib_sha256_end(archive->all, mine);
    if (rv != APR_SUCCESS)
        return cib_error_system(archive->pool, rv, "cannot spool the sums");
    *same = memcmp(mine, its, sizeof(mine)) == 0;
    return CIB_OK;
}

/* A line in two: the sum, and the name that follows two blanks; NULL where it is none. */
static const char *name_in(const char *line)
{
    return strlen(line) > CIB_SHA256_HEX + 2 ? line + CIB_SHA256_HEX + 2 : NULL;
}

/* The first line in which SHA256SUMS, from `begin` on in the spool, differs from ours. */
static cib_error_t *name_damage(cib_unarchive_t *archive, apr_int64_t begin)
{
    apr_int64_t at = 0, its_at = begin;
    const char *line, *mine, *wanted, *got;
    apr_size_t len;

    for (;;) {
        apr_pool_clear(archive->member_pool);
        mine = at < begin && cib_spool_line(archive->sums, &at, &line, &len) == APR_SUCCESS
                   ? apr_pstrdup(archive->member_pool, line)
                   : "";
        if (cib_spool_line(archive->sums, &its_at, &line, &len) != APR_SUCCESS)
            line = "";
        if (strcmp(mine, line) != 0 || !*mine)
            break;
    }
    wanted = name_in(line);
    got = name_in(mine);
    if (wanted && got && strcmp(wanted, got) == 0)
        return damaged(archive,
                       apr_pstrcat(archive->pool, "the sum of ", wanted, " is not right", NULL));
    if (wanted)
        return damaged(archive, apr_pstrcat(archive->pool, wanted, " is missing", NULL));
    return damaged(archive, CIB_ARCHIVE_SUMS " is not whole");
}

/* That was all: it must say the same as we have seen, and nothing may follow. */
static cib_error_t *end_archive(cib_unarchive_t *archive)
{
    apr_int64_t begin = cib_spool_size(archive->sums);
    struct archive_entry *entry;
    int same = 0;

    archive->last = CIB_ARCHIVE_SUMS;
    CIB_TRY(read_sums(archive, &same));
    if (!same)
        return name_damage(archive, begin);
    CIB_TRY(next_entry(archive, &entry));
    return entry ? damaged(archive, "something follows " CIB_ARCHIVE_SUMS) : CIB_OK;
}

cib_error_t *cib_unarchive_next(cib_unarchive_t *archive, const char **name, apr_int64_t *size)
{
    struct archive_entry *entry;
    apr_status_t rv;

    *name = NULL;
    if (archive->name)
        CIB_TRY(end_member(archive));
    CIB_TRY(next_entry(archive, &entry));
    if (!entry)
        return damaged(archive, "it ends without " CIB_ARCHIVE_SUMS);
    if (strcmp(archive_entry_pathname(entry), CIB_ARCHIVE_SUMS) == 0)
        return end_archive(archive);
    apr_pool_clear(archive->member_pool);
    rv = cib_sha256_begin(&archive->sha, archive->member_pool);
    if (rv != APR_SUCCESS)
        return cib_error(archive->pool, CIB_REASON_INTERNAL, rv, NULL);
    archive->name = archive->last =
        apr_pstrdup(archive->member_pool, archive_entry_pathname(entry));
    *name = archive->name;
    *size = archive_entry_size(entry);
    return CIB_OK;
}

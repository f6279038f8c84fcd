/* A stored file as an answer, down the filter chain like httpd's own files. */
#include <string.h>
#include <apr_base64.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

#include "exchange.h"
#include "http/cib_reply.h"
#include "send.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

/* Below it a plain read is quicker than setting up sendfile. */
#define SENDFILE_SIZE 262144

/* ---- headers ---- */

/* RFC 7230's token: what needs no quotes. */
static int is_token(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x7f || *text <= ' ' || strchr("\"(),/:;<=>?@[\\]{}", *text))
            return 0;
    return 1;
}

static int is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return 0;
    return 1;
}

/* The last component of what the client called it, as anybody who saves it would have to cut it,
 * without control characters. */
static char *clean_filename(const char *filename, apr_pool_t *pool)
{
    const char *start = filename;
    char *clean, *at;

    for (; *filename; filename++)
        if (*filename == '/')
            start = filename + 1;
    clean = apr_pstrdup(pool, start);
    for (at = clean; *at; at++)
        if (apr_iscntrl(*at))
            *at = '_';
    return clean;
}

/* In quotes, with what is not ASCII replaced: for those who cannot read filename*. */
static const char *quote(const char *text, apr_pool_t *pool)
{
    char *quoted = apr_palloc(pool, 2 * strlen(text) + 3);
    char *to = quoted;

    *to++ = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c & 0xc0) == 0x80)
            continue; /* one replacement a character, not a byte */
        if (c == '"' || c == '\\')
            *to++ = '\\';
        *to++ = c >= 0x80 ? '_' : (char)c;
    }
    *to++ = '"';
    *to = '\0';
    return quoted;
}

/* RFC 5987's value-chars; all else as %XX. */
static const char *percent_encode(const char *text, apr_pool_t *pool)
{
    static const char digits[] = "0123456789ABCDEF";
    char *encoded = apr_palloc(pool, 3 * strlen(text) + 1);
    char *to = encoded;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (apr_isalnum(c) || (c < 0x80 && strchr("!#$&+-.^_`|~", c))) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    *to = '\0';
    return encoded;
}

static const char *disposition(const char *filename, apr_pool_t *pool)
{
    const char *name = clean_filename(filename ? filename : "", pool);

    if (!*name)
        return "attachment";
    if (is_token(name))
        return apr_pstrcat(pool, "attachment; filename=", name, NULL);
    if (is_ascii(name))
        return apr_pstrcat(pool, "attachment; filename=", quote(name, pool), NULL);
    return apr_pstrcat(pool, "attachment; filename=", quote(name, pool), "; filename*=UTF-8''",
                       percent_encode(name, pool), NULL);
}

/* `sha-256=:...:`, NULL where the digest is not known. */
static const char *digest_field(const char *hex, apr_pool_t *pool)
{
    char bytes[CIB_SHA256_LEN];
    char encoded[CIB_SHA256_LEN * 2];
    apr_size_t i;

    if (!hex || strlen(hex) != CIB_SHA256_HEX || !cib_is_hex(hex, CIB_SHA256_HEX))
        return NULL;
    for (i = 0; i < CIB_SHA256_LEN; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        bytes[i] = (char)apr_strtoi64(pair, NULL, 16);
    }
    apr_base64_encode(encoded, bytes, sizeof bytes);
    return apr_psprintf(pool, "sha-256=:%s:", encoded);
}

/* Artifacts are made by whoever runs builds and come from our origin: a browser shall save them,
 * and run nothing of them. */
static void set_headers(request_rec *r, const cib_file_reply_t *file)
{
    const char *digest = digest_field(file->sha256, r->pool);
    apr_table_t *headers = r->headers_out;

    ap_set_content_type(r, "application/octet-stream");
    apr_table_setn(headers, "Content-Disposition", disposition(file->filename, r->pool));
    apr_table_setn(headers, "Content-Transfer-Encoding", "binary");
    apr_table_setn(headers, "X-Content-Type-Options", "nosniff");
    apr_table_setn(headers, "Content-Security-Policy", "sandbox; default-src 'none'");
    /* packing an archive again would cost the ranges and the strong ETag */
    apr_table_setn(r->subprocess_env, "no-gzip", "1");
    apr_table_setn(r->subprocess_env, "no-brotli", "1");
    ap_update_mtime(r, file->mtime);
    ap_set_last_modified(r);
    if (digest) {
        apr_table_setn(headers, "ETag", apr_psprintf(r->pool, "\"%s\"", file->sha256));
        apr_table_setn(headers, "Repr-Digest", digest);
    }
    ap_set_accept_ranges(r);
    ap_set_content_length(r, file->size);
}

/* What speaks of a file, where another answer follows. */
static void unset_headers(request_rec *r)
{
    static const char *const names[] = {"Content-Disposition", "Content-Transfer-Encoding",
                                        "Accept-Ranges", "Last-Modified", "Repr-Digest"};
    apr_size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++)
        apr_table_unset(r->headers_out, names[i]);
}

/* ---- the file ---- */

/* Only what EnableSendfile Off says in so many words keeps sendfile away from a large file. */
static int wants_sendfile(request_rec *r, apr_int64_t size)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    return size >= SENDFILE_SIZE && core->enable_sendfile != ENABLE_SENDFILE_OFF;
}

/* Whether a file goes out by sendfile is said when it is opened. Where it was opened the other way,
 * open the same file (it may have lost its name) once more; where that cannot be, it goes out as it
 * is. */
static apr_file_t *with_sendfile(request_rec *r, apr_file_t *file, int wanted)
{
    int has = !!(apr_file_flags_get(file) & APR_FOPEN_SENDFILE_ENABLED);
    apr_int32_t flags = APR_FOPEN_READ | (wanted ? APR_FOPEN_SENDFILE_ENABLED : 0);
    apr_file_t *again;
    apr_os_file_t fd;

    if (has == wanted || apr_os_file_get(&fd, file))
        return file;
    if (apr_file_open(&again, apr_psprintf(r->pool, "/proc/self/fd/%d", fd), flags,
                      APR_FPROT_OS_DEFAULT, r->pool))
        return file;
    return again;
}

/* INTERNAL: the file is not what the database says it is. */
static cib_error_t *check_size(request_rec *r, const cib_file_reply_t *file)
{
    apr_finfo_t info;
    apr_status_t rv = apr_file_info_get(&info, APR_FINFO_SIZE, file->file);

    if (!rv && info.size == file->size)
        return CIB_OK;
    return cib_error_detail(r->pool, cib_error(r->pool, CIB_REASON_INTERNAL, rv, NULL),
                            "a stored file has %" APR_OFF_T_FMT
                            " bytes instead of %" APR_INT64_T_FMT,
                            rv ? (apr_off_t)-1 : info.size, file->size);
}

/* All of the file and the end in one brigade: the range filter works on nothing less. */
static int send_file(request_rec *r, const cib_file_reply_t *file)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, alloc);
    apr_file_t *source = with_sendfile(r, file->file, wants_sendfile(r, file->size));

    if (file->size) {
        apr_bucket *e = apr_brigade_insert_file(bb, source, 0, file->size, r->pool);

        /* a mapped file that somebody truncates kills the process */
        apr_bucket_file_enable_mmap(e, 0);
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    return cib_send_whole(r, bb);
}

int cib_reply_file(request_rec *r, const cib_file_reply_t *file)
{
    cib_error_t *err = check_size(r, file);
    int condition;

    if (err)
        return cib_reply_error(r, err);
    r->status = HTTP_OK;
    set_headers(r, file);
    condition = ap_meets_conditions(r);
    if (condition == OK)
        return send_file(r, file);
    if (condition == HTTP_NOT_MODIFIED)
        return cib_reply_empty(r, condition);
    unset_headers(r);
    return cib_reply_status(r, condition);
}

/* Archives, and the files that they go through. */
#include "scratch.h"

#include <errno.h>
#include <sys/wait.h>

#include "files/cib_archive.h"
#include "files/cib_outfile.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

static cib_spool_t *new_spool(apr_pool_t *pool)
{
    cib_spool_t *spool = NULL;

    if (cib_spool_open(&spool, scratch_dir(), pool) != APR_SUCCESS)
        bail_out("no spool");
    return spool;
}

/* --- spools */

static void test_spool(apr_pool_t *pool)
{
    cib_spool_t *spool = new_spool(pool);
    apr_int64_t at = 0;
    apr_size_t got = 7;
    const char *line;
    char bytes[16] = "";

    is_rv(cib_spool_line(spool, &at, &line, &got), APR_EOF, "an empty spool has no line");
    cib_spool_write(spool, "one\ntwo\n", 8);
    is_int(cib_spool_size(spool), 8, "its size");
    is_rv(cib_spool_line(spool, &at, &line, &got), APR_SUCCESS, "the first line");
    is_str(line, "one", "... without its end");
    cib_spool_write(spool, "\nfour", 5);
    is_rv(cib_spool_line(spool, &at, &line, &got), APR_SUCCESS, "the second, after a write");
    is_str(line, "two", "... is where we were");
    cib_spool_line(spool, &at, &line, &got);
    is_str(line, "", "an empty one");
    is_int(got, 0, "... has no bytes");
    cib_spool_line(spool, &at, &line, &got);
    is_str(line, "four", "one that nothing ends");
    is_int(at, 13, "that was all");
    is_rv(cib_spool_line(spool, &at, &line, &got), APR_EOF, "there is no other");
    is_rv(cib_spool_read(spool, 4, bytes, 3, &got), APR_SUCCESS, "read anywhere");
    is_mem(bytes, "two", 3, "... what is there");
    is_rv(cib_spool_read(spool, 10, bytes, 16, &got), APR_SUCCESS, "read beyond the end");
    is_int(got, 3, "... what there is");
    cib_spool_clear(spool);
    is_int(cib_spool_size(spool), 0, "cleared");
    cib_spool_write(spool, "x", 1);
    cib_spool_read(spool, 0, bytes, 16, &got);
    ok(got == 1 && bytes[0] == 'x', "... and used again");
    is_rv(cib_spool_open(&spool, "/nonexistent", pool), APR_ENOENT, "nowhere there is none");
}

/* --- files that appear whole */

static int count_entries(const char *dir)
{
    apr_pool_t *pool = tap_pool();
    apr_finfo_t entry;
    apr_dir_t *open;
    int count = 0;

    if (apr_dir_open(&open, dir, pool) != APR_SUCCESS)
        return -1;
    while (apr_dir_read(&entry, APR_FINFO_NAME, open) == APR_SUCCESS)
        count += strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0;
    apr_pool_destroy(pool);
    return count;
}

static cib_outfile_t *begin_file(const char *path, int replace, apr_pool_t *pool)
{
    cib_outfile_t *out = NULL;

    is_rv(cib_outfile_open(&out, path, replace, pool), APR_SUCCESS, "a file begins");
    if (!out || write(cib_outfile_fd(out), "new", 3) != 3)
        bail_out("cannot write");
    return out;
}

static void test_outfile(apr_pool_t *pool)
{
    const char *dir = scratch_file(pool, "out");
    const char *path = apr_pstrcat(pool, dir, "/file", NULL);
    cib_outfile_t *out, *other;
    struct stat st;

    mkdir(dir, 0700);
    out = begin_file(path, 0, pool);
    is_int(count_entries(dir), 0, "... and nobody sees it");
    other = begin_file(path, 0, pool);
    is_rv(cib_outfile_finish(out), APR_SUCCESS, "it is finished");
    ok(stat(path, &st) == 0 && st.st_size == 3 && (st.st_mode & 07777) == 0600,
       "... and there, for its owner only");
    is_rv(cib_outfile_finish(other), APR_EEXIST, "who comes second has lost");
    is_rv(cib_outfile_open(&out, path, 0, pool), APR_EEXIST, "and who begins now");
    out = begin_file(path, 1, pool);
    cib_outfile_abandon(out);
    is_int(count_entries(dir), 1, "one that is given up leaves nothing");
    if (truncate(path, 0) != 0)
        bail_out("cannot truncate");
    out = begin_file(path, 1, pool);
    is_rv(cib_outfile_finish(out), APR_SUCCESS, "one takes the place of another");
    ok(stat(path, &st) == 0 && st.st_size == 3, "... whole");
    is_int(count_entries(dir), 1, "... and alone");
    is_rv(cib_outfile_open(&out, dir, 1, pool), APR_EEXIST, "a directory is not replaced");
    is_rv(cib_outfile_open(&out, "/dev/null", 1, pool), APR_EEXIST, "nor is a device");
    is_rv(cib_outfile_open(&out, "/nonexistent/x", 0, pool), APR_ENOENT, "no such folder");
}

static void test_outfile_link(apr_pool_t *pool)
{
    const char *dir = scratch_file(pool, "linked");
    cib_outfile_t *out;

    if (symlink("out", dir) != 0)
        bail_out("cannot make a link");
    out = begin_file(apr_pstrcat(pool, dir, "/through", NULL), 0, pool);
    is_rv(cib_outfile_finish(out), APR_SUCCESS, "its folder may be a link");
    ok(exists(scratch_file(pool, "out/through")), "... to where it is");
}

/* --- archives */

static const char *const names[] = {"first", "folder/second", "folder/empty", "last"};
#define MEMBERS 4

/* Bytes that differ from each other, and from what tar fills up with. */
static char *bytes_of(int member, apr_size_t *len, apr_pool_t *pool)
{
    static const apr_size_t lens[MEMBERS] = {3, 700000, 0, 511};
    char *bytes = apr_palloc(pool, lens[member] + 1);

    *len = lens[member];
    for (apr_size_t i = 0; i < *len; i++)
        bytes[i] = (char)('a' + (i * 7 + i / 251 + (apr_size_t)member) % 23);
    return bytes;
}

static void fine(cib_error_t *err, const char *what)
{
    apr_pool_t *pool = tap_pool();

    if (err)
        bail_out("%s: %s", what, cib_error_text(err, pool));
    apr_pool_destroy(pool);
}

static int new_file(const char *name, apr_pool_t *pool)
{
    int fd = open(scratch_file(pool, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        bail_out("cannot make %s", name);
    return fd;
}

static void write_archive(int fd, cib_pack_e pack, apr_pool_t *pool)
{
    cib_archive_t *archive;

    fine(cib_archive_begin(&archive, fd, pack, new_spool(pool), pool), "begin");
    for (int i = 0; i < MEMBERS; i++) {
        const char *sha256;
        apr_size_t len, half;
        char *bytes = bytes_of(i, &len, pool);

        half = len / 3;
        fine(cib_archive_member(archive, names[i], (apr_int64_t)len, 0640, 0), "member");
        fine(cib_archive_write(archive, bytes, half), "write");
        fine(cib_archive_write(archive, bytes + half, len - half), "write");
        fine(cib_archive_member_end(archive, &sha256), "end");
        if (strcmp(sha256, cib_sha256_hex(bytes, len, pool)) != 0)
            bail_out("the sum of %s is wrong", names[i]);
    }
    fine(cib_archive_finish(archive), "finish");
    is_int(cib_archive_bytes(archive), lseek(fd, 0, SEEK_CUR), "it knows how long it is");
}

/* Read it; NULL, or what was wrong. With `skip` 1 every other member is passed over, with 2 all,
 * and none needs to be one that was written. */
static const char *read_archive(int fd, int skip, apr_pool_t *pool)
{
    cib_unarchive_t *archive;
    cib_error_t *err = cib_unarchive_begin(&archive, fd, new_spool(pool), pool);

    for (int i = 0; !err; i++) {
        const char *name, *data;
        apr_size_t len, wanted, at = 0;
        apr_int64_t size;
        char *bytes;

        err = cib_unarchive_next(archive, &name, &size);
        if (!err && !name)
            return i == MEMBERS ? NULL : "too few";
        if (err || skip == 2 || (skip && i % 2))
            continue;
        bytes = bytes_of(i, &wanted, pool);
        if (i >= MEMBERS || strcmp(name, names[i]) != 0 || size != (apr_int64_t)wanted)
            return "another member";
        while (!(err = cib_unarchive_read(archive, &data, &len)) && len) {
            if (at + len > wanted || memcmp(bytes + at, data, len) != 0)
                return "other bytes"; /* not seen by the archive yet */
            at += len;
        }
    }
    return cib_error_text(err, pool);
}

static const char *read_again(int fd, int skip, apr_pool_t *parent)
{
    apr_pool_t *pool;
    const char *said;

    apr_pool_create(&pool, parent);
    lseek(fd, 0, SEEK_SET);
    said = read_archive(fd, skip, pool);
    said = said ? apr_pstrdup(parent, said) : NULL;
    apr_pool_destroy(pool);
    return said;
}

static int run(const char *command)
{
    int status = system(command); /* NOLINT(cert-env33-c) */

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_archive(apr_pool_t *pool)
{
    int fd = new_file("plain.tar", pool);

    write_archive(fd, CIB_PACK_NOT, pool);
    is_int(lseek(fd, 0, SEEK_END) % 10240, 0, "a tar of whole records");
    is_str(read_again(fd, 0, pool), NULL, "it is read as it was written");
    is_str(read_again(fd, 1, pool), NULL, "... also by who does not look at everything");
    is_int(run(apr_psprintf(pool,
                            "cd %s && mkdir x && tar -xf plain.tar -C x && cd x && "
                            "sha256sum --quiet -c SHA256SUMS && test $(wc -l <SHA256SUMS) = 4",
                            scratch_dir())),
           0, "tar and sha256sum read it too");
    close(fd);
}

static void test_packed(apr_pool_t *pool)
{
    static const char *const packed[] = {"p.tar.gz", "p.tar.xz", "p.tar.zst"};
    static const char *const tools[] = {"gzip", "xz", "zstd -q"};

    for (int i = 0; i < 3; i++) {
        int fd = new_file(packed[i], pool);

        is_int(cib_archive_pack(packed[i]), CIB_PACK_GZIP + i, "packed by its name: %s", packed[i]);
        write_archive(fd, cib_archive_pack(packed[i]), pool);
        is_str(read_again(fd, 0, pool), NULL, "... and read");
        if (run(apr_psprintf(pool, "command -v %.4s >/dev/null", tools[i])) == 0)
            is_int(run(apr_psprintf(pool, "%s -t %s", tools[i], scratch_file(pool, packed[i]))), 0,
                   "... as by its own program");
        ok(ftruncate(fd, lseek(fd, 0, SEEK_END) - 20) == 0 && read_again(fd, 0, pool),
           "... but not without its end");
        close(fd);
    }
    is_int(cib_archive_pack("x.tar"), CIB_PACK_NOT, "a tar is not packed");
    is_int(cib_archive_pack(".gz"), CIB_PACK_NOT, "nor what is only an ending");
}

/* Whatever single byte is changed, somebody notices, but for what fills blocks up and what says
 * nothing of the contents. */
static void test_flipped(apr_pool_t *pool)
{
    int fd = new_file("flipped.tar", pool);
    apr_off_t size;
    int noticed = 0, named = 0, tried = 0;

    write_archive(fd, CIB_PACK_NOT, pool);
    size = lseek(fd, 0, SEEK_END);
    for (apr_off_t at = 0; at < size; at += 4099) {
        const char *said;
        char byte = 0, other;

        if (pread(fd, &byte, 1, at) != 1 || !byte)
            continue;
        other = (char)(byte ^ 1);
        tried++;
        if (pwrite(fd, &other, 1, at) != 1)
            bail_out("cannot write");
        said = read_again(fd, 1, pool);
        noticed += said != NULL;
        named += said && strstr(said, "the sum of folder/second is not right") != NULL;
        if (pwrite(fd, &byte, 1, at) != 1)
            bail_out("cannot write");
    }
    ok(tried > 100, "%d bytes were changed", tried);
    is_int(noticed, tried, "... and each was noticed");
    ok(named > 100, "... most of them by the sum of the member they are in");
    is_str(read_again(fd, 0, pool), NULL, "changed back it is good");
    close(fd);
}

static void test_truncated(apr_pool_t *pool)
{
    int fd = new_file("truncated.tar", pool);
    apr_off_t size, end;
    int noticed = 0, tried = 0;
    char byte = 0;

    write_archive(fd, CIB_PACK_NOT, pool);
    size = end = lseek(fd, 0, SEEK_END);
    /* where the bytes end that say something */
    while (!byte && pread(fd, &byte, 1, end - 1) == 1)
        end -= !byte;
    for (apr_off_t len = end - 1; len >= 0; len -= len > 6000 ? 5003 : 61) {
        tried++;
        if (ftruncate(fd, len) != 0)
            bail_out("cannot truncate");
        noticed += read_again(fd, 1, pool) != NULL;
    }
    ok(tried > 200 && size > end, "%d lengths were tried", tried);
    is_int(noticed, tried, "... and none was good");
    close(fd);
}

/* One member, then what the caller makes of the rest with tar(1). */
static void test_other_tars(apr_pool_t *pool)
{
    static const struct {
        const char *what, *command, *says;
    } tars[] = {
        {"a member that is missing", "tar --delete -f o.tar folder/second",
         "folder/second is missing"},
        {"an archive without sums", "tar --delete -f o.tar SHA256SUMS", "ends without SHA256SUMS"},
        {"a member that is too many",
         "cp plain.tar more && tar --delete -f o.tar SHA256SUMS && "
         "tar -rf o.tar more && tar -xf plain.tar SHA256SUMS && "
         "tar -rf o.tar SHA256SUMS",
         "SHA256SUMS is not whole"},
        {"something behind the sums", "cp plain.tar more && tar -rf o.tar more", "follows"},
        {"a link", "ln -sf x l && tar -rf o.tar l && tar --delete -f o.tar SHA256SUMS", "no file"},
        {"no tar", "echo hello >o.tar", "no backup"},
        {"nothing", ": >o.tar", ""},
    };

    for (size_t i = 0; i < sizeof(tars) / sizeof(*tars); i++) {
        const char *said;
        int fd;

        if (run(apr_psprintf(pool, "cd %s && cp plain.tar o.tar && %s", scratch_dir(),
                             tars[i].command)) != 0)
            bail_out("%s", tars[i].command);
        fd = open(scratch_file(pool, "o.tar"), O_RDONLY | O_CLOEXEC);
        said = read_again(fd, 2, pool);
        ok(said && strstr(said, tars[i].says), "%s: %s", tars[i].what, said ? said : "taken");
        close(fd);
    }
}

static void test_errors(apr_pool_t *pool)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cib_archive_t *archive;
    cib_error_t *err;

    fine(cib_archive_begin(&archive, fd, CIB_PACK_NOT, new_spool(pool), pool), "begin");
    fine(cib_archive_member(archive, "x", 1, 0600, 0), "member");
    is_int(cib_archive_write(archive, "xy", 2)->rv, APR_EINVAL, "more bytes than were announced");
    is_int(cib_archive_member_end(archive, NULL)->rv, APR_EINCOMPLETE, "... or fewer");
    fine(cib_archive_begin(&archive, fd, CIB_PACK_NOT, new_spool(pool), pool), "begin");
    err = cib_archive_finish(archive);
    is_int(err ? (int)err->reason : -1, CIB_REASON_NO_SPACE, "a full disk is told as what it is");
    close(fd);
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    scratch_dir();
    test_spool(pool);
    test_outfile(pool);
    test_outfile_link(pool);
    test_archive(pool);
    test_packed(pool);
    test_flipped(pool);
    test_truncated(pool);
    test_other_tars(pool);
    test_errors(pool);
    return done_testing();
}

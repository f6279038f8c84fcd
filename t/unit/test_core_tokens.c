/* Tokens against vectors made with openssl; seals; tags; slugs and URLs. */
#include <apr_strings.h>

#include "core/cib_description.h"
#include "core/cib_tags.h"
#include "core/cib_token.h"
#include "tap.h"
#include "util/cib_crypto.h"
#include "util/cib_text.h"

static cib_storage_t storage;

static void reason(const cib_error_t *err, cib_reason_e want, const char *what)
{
    is_int(err ? (int)err->reason : -1, (int)want, "%s", what);
}

/* printf %s WHAT | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f, its first 40 digits
 */
static void test_vectors(apr_pool_t *pool)
{
    cib_project_t project = {.id = 7};
    const char *token = NULL;

    is_str(cib_token_registration(&storage, 0, pool), "f7def30387c5403678dcf8023b93eb4a55dda92b",
           "the registration token");
    is_str(cib_token_registration(&storage, 3, pool), "1e7a28ad80a7b779095b9f2b0c25f2ff2d65c09d",
           "after three rotations");
    is_str(cib_token_build(&storage, 12, 1, pool), "92cd889d10ad7947432374894deaee9f890fded1",
           "a build's token");
    is_str(cib_token_build(&storage, 12, 2, pool), "8fd362b21b52b882412838f1c79b7461b6bf5083",
           "of its second claim");
    ok(!cib_token_project(&storage, &project, &token, pool), "a project's");
    is_str(token, "d4f32fb124ac3e7e0414a2f59fb20e452ddefc99", "token");
    is_str(cib_token_hash("abc", pool),
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "a hash");
}

static void test_random(apr_pool_t *pool)
{
    const char *one = NULL, *two = NULL;

    ok(!cib_token_runner(CIB_TOKEN_REGISTERED, &one, pool) &&
           !cib_token_runner(CIB_TOKEN_CREATED, &two, pool),
       "random tokens");
    ok(cib_is_hex(one, 40), "one of 40 hex digits");
    ok(strncmp(two, "glrt-", 5) == 0 && cib_is_hex(two + 5, 40), "one that shows where it is from");
    ok(strcmp(one, two + 5) != 0, "differ");
    is_int(cib_token_runner_kind(one), CIB_TOKEN_REGISTERED, "the kind of the one");
    is_int(cib_token_runner_kind(two), CIB_TOKEN_CREATED, "and of the other");
}

static void test_seals(apr_pool_t *pool)
{
    cib_storage_t other = storage;
    cib_project_t project = {.id = 7};
    unsigned char key[CIB_SHA256_LEN];
    const char *sealed = NULL, *plain = NULL;

    ok(!cib_secret_seal(&storage, "project:7", "imported-token-123", &sealed, pool), "seal");
    ok(!strstr(sealed, "imported"), "cannot be read");
    ok(!cib_secret_open(&storage, "project:7", sealed, &plain, pool), "open");
    is_str(plain, "imported-token-123", "as it was");
    ok(!cib_hmac_sha256(storage.secret, sizeof(storage.secret), "seal", key), "its key");
    is_int(cib_open(key, "project:7", sealed, &plain, pool), APR_SUCCESS, "is no token's");
    reason(cib_secret_open(&storage, "project:8", sealed, &plain, pool), CIB_REASON_INTERNAL,
           "not in another place");
    ok(!plain, "nothing comes out");
    other.secret[0] ^= 1;
    reason(cib_secret_open(&other, "project:7", sealed, &plain, pool), CIB_REASON_INTERNAL,
           "not with another secret");
    project.token_sealed = sealed;
    ok(!cib_token_project(&storage, &project, &plain, pool), "an imported project token");
    is_str(plain, "imported-token-123", "is the one that was imported");
}

static void test_importable(apr_pool_t *pool)
{
    ok(!cib_token_importable("0123456789abcdef", pool), "16 characters");
    reason(cib_token_importable("0123456789abcde", pool), CIB_REASON_INVALID, "15");
    reason(cib_token_importable("0123456789 abcdef", pool), CIB_REASON_INVALID, "a blank");
    reason(cib_token_importable("0123456789\xc3\xa4"
                                "abcdef",
                                pool),
           CIB_REASON_INVALID, "a letter beyond ASCII");
    reason(cib_token_importable(apr_psprintf(pool, "%0256d", 0), pool), CIB_REASON_INVALID, "256");
    ok(!cib_token_importable(apr_psprintf(pool, "%0255d", 0), pool), "255");
}

static const char *canonical(const char *one, const char *two, apr_pool_t *pool)
{
    apr_array_header_t *list = apr_array_make(pool, 2, sizeof(const char *));
    const char *text = NULL;

    if (one)
        APR_ARRAY_PUSH(list, const char *) = one;
    if (two)
        APR_ARRAY_PUSH(list, const char *) = two;
    return cib_tags_canonical(list, &text, pool) ? "invalid" : text;
}

static void test_tags(apr_pool_t *pool)
{
    const char *text = NULL;
    char *many = "";
    apr_array_header_t *split;

    is_str(canonical(NULL, NULL, pool), "", "no tags");
    is_str(canonical(" b, a ,,b", "c", pool), "a,b,c", "sorted, trimmed, each once");
    is_str(canonical("b,B,a b", NULL, pool), "B,a b,b", "byte by byte, blanks within stay");
    is_str(canonical("a\tb", NULL, pool), "invalid", "a control character");
    is_str(canonical("\xff", NULL, pool), "invalid", "no UTF-8");
    is_str(canonical(apr_psprintf(pool, "%0256d", 0), NULL, pool), "invalid", "256 bytes");
    for (int i = 0; i < 100; i++)
        many = apr_psprintf(pool, "%s,%d", many, i);
    ok(strcmp(canonical(many, NULL, pool), "invalid") != 0, "100 tags");
    is_str(canonical(many, "x", pool), "invalid", "101 tags");
    ok(!cib_tags_canonical(NULL, &text, pool) && !*text, "no list");
    split = cib_tags_split("a,b c,d", pool);
    is_int(split->nelts, 3, "split again");
    is_str(APR_ARRAY_IDX(split, 1, const char *), "b c", "in order");
    is_int(cib_tags_split("", pool)->nelts, 0, "none of none");
    is_int(cib_tags_split(NULL, pool)->nelts, 0, "nor of NULL");
}

static void test_texts(apr_pool_t *pool)
{
    is_str(cib_ref_slug("Feature/Ab_c-1", pool), "feature-ab-c-1", "a slug");
    is_str(cib_ref_slug("--x--", pool), "x", "without dashes at its ends");
    is_str(cib_ref_slug("///", pool), "", "of nothing");
    is_int(strlen(cib_ref_slug(apr_psprintf(pool, "%070d", 0), pool)), 63, "cut");
    is_str(cib_url_without_user("https://u:p@h/x@y", pool), "https://h/x@y", "no user");
    is_str(cib_url_without_user("https://u:p@@h/x", pool), "https://h/x", "an @ in the password");
    is_str(cib_url_without_user("https://h/x@y", pool), "https://h/x@y", "had none");
    is_str(cib_url_without_user("git@h:x.git", pool), "git@h:x.git", "no URL");
    is_str(cib_url_without_user("https://h?a@b", pool), "https://h?a@b", "in the query");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    for (int i = 0; i < CIB_SECRET_LEN; i++)
        storage.secret[i] = (unsigned char)i;
    test_vectors(pool);
    test_random(pool);
    test_seals(pool);
    test_importable(pool);
    test_tags(pool);
    test_texts(pool);
    return done_testing();
}

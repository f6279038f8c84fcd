#include "tap.h"

#include <apr_strings.h>

#include "util/cib_crypto.h"
#include "util/cib_text.h"

static const unsigned char key[33] = "0123456789abcdef0123456789abcdef";
static const unsigned char other_key[33] = "0123456789abcdef0123456789abcdeX";

static void test_digests(apr_pool_t *pool)
{
    unsigned char mac[CIB_SHA256_LEN], digest[CIB_SHA256_LEN];
    cib_sha256_t *sha;

    is_str(cib_sha256_hex("", 0, pool),
           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
           "SHA-256 of nothing");
    is_str(cib_sha256_hex("abc", 3, pool),
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "SHA-256 of abc");
    is_rv(cib_hmac_sha256("Jefe", 4, "what do ya want for nothing?", mac), APR_SUCCESS,
          "HMAC of RFC 4231, case 2");
    is_str(cib_hex(mac, sizeof(mac), pool),
           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", "... is its value");
    is_rv(cib_sha256_begin(&sha, pool), APR_SUCCESS, "a running digest");
    cib_sha256_update(sha, "a", 1);
    cib_sha256_update(sha, "", 0);
    cib_sha256_update(sha, "bc", 2);
    is_rv(cib_sha256_end(sha, digest), APR_SUCCESS, "... ends");
    is_str(cib_hex(digest, sizeof(digest), pool), cib_sha256_hex("abc", 3, pool),
           "... and is that of the whole");
    is_rv(cib_sha256_update(sha, "x", 1), APR_EINVAL, "... and takes no more");
    is_rv(cib_sha256_end(sha, digest), APR_EINVAL, "... nor ends twice");
}

static void test_random(void)
{
    unsigned char first[64] = {0}, second[64] = {0};

    is_rv(cib_random(first, sizeof(first)), APR_SUCCESS, "random bytes");
    is_rv(cib_random(second, sizeof(second)), APR_SUCCESS, "and more");
    ok(memcmp(first, second, sizeof(first)) != 0, "they differ");
    is_rv(cib_random(first, 0), APR_SUCCESS, "none is fine");
}

static void test_seal_of(apr_pool_t *pool, const char *plain)
{
    const char *sealed = NULL, *again = NULL, *opened = NULL;

    is_rv(cib_seal(key, "here", plain, &sealed, pool), APR_SUCCESS, "seal %d bytes",
          (int)strlen(plain));
    is_rv(cib_open(key, "here", sealed, &opened, pool), APR_SUCCESS, "... open");
    is_str(opened, plain, "... and find the same");
    cib_seal(key, "here", plain, &again, pool);
    ok(strcmp(sealed, again) != 0, "... sealed twice it looks different");
    opened = NULL;
    is_rv(cib_open(other_key, "here", sealed, &opened, pool), APR_EINVAL, "... not by another key");
    is_rv(cib_open(key, "there", sealed, &opened, pool), APR_EINVAL, "... not in another place");
    is_str(opened, NULL, "... nor does anything come out");
}

/* Each change of a character must be noticed, but for the bits that base64 leaves unused. */
static void test_tampering(apr_pool_t *pool)
{
    const char *sealed, *opened;
    char *changed;
    int noticed = 0, len;

    cib_seal(key, "", "a secret of 21 bytes!", &sealed, pool);
    len = (int)strlen(sealed);
    for (int i = 0; i < len; i++) {
        changed = apr_pstrdup(pool, sealed);
        changed[i] = changed[i] == 'A' ? 'g' : 'A'; /* a bit that is used */
        noticed += cib_open(key, "", changed, &opened, pool) == APR_EINVAL;
    }
    is_int(noticed, len, "every change is noticed");
    for (int cut = 0; cut < len; cut++) {
        if (cib_open(key, "", apr_pstrmemdup(pool, sealed, (apr_size_t)cut), &opened, pool) !=
            APR_EINVAL)
            ok(0, "cut to %d bytes it opened", cut);
    }
    is_rv(cib_open(key, "", "", &opened, pool), APR_EINVAL, "nothing does not open");
    is_rv(cib_open(key, "", "====", &opened, pool), APR_EINVAL, "padding does not open");
    is_rv(cib_open(key, "", "not base64, is it?", &opened, pool), APR_EINVAL, "nor nonsense");
    is_rv(cib_open(key, "", apr_pstrcat(pool, sealed, "\n", NULL), &opened, pool), APR_EINVAL,
          "nor with something behind it");
}

static void test_equal(void)
{
    ok(cib_secret_equal("token", "token"), "equal");
    ok(!cib_secret_equal("token", "tokeN"), "another end");
    ok(!cib_secret_equal("token", "toke"), "shorter");
    ok(!cib_secret_equal("token", "tokens"), "longer");
    ok(!cib_secret_equal("token", ""), "empty");
    ok(cib_secret_equal("", ""), "both empty");
    ok(!cib_secret_equal(NULL, ""), "NULL equals nothing");
    ok(!cib_secret_equal("token", NULL), "nothing equals NULL");
    ok(!cib_secret_equal(NULL, NULL), "not even NULL");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();
    char *large = apr_palloc(pool, 100001);

    memset(large, 'x', 100000);
    large[100000] = '\0';
    test_digests(pool);
    test_random();
    test_seal_of(pool, "");
    test_seal_of(pool, "s");
    test_seal_of(pool, "a secret\nwith two lines and \xC3\xA4");
    test_seal_of(pool, large);
    test_tampering(pool);
    test_equal();
    return done_testing();
}

/* Masking piece by piece is masking the whole. */
#include <apr_strings.h>

#include "core/cib_mask.h"
#include "tap.h"

static unsigned seed = 20260101;

/* The same numbers each time. */
static unsigned draw(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* What masking means: each byte of each occurrence of each secret. */
static void reference(const char *const *secrets, int count, const char *raw, char *masked,
                      size_t len)
{
    memcpy(masked, raw, len);
    for (int s = 0; s < count; s++) {
        size_t size = strlen(secrets[s]);

        for (size_t i = 0; size && i + size <= len; i++) {
            if (memcmp(raw + i, secrets[s], size) == 0)
                memset(masked + i, 'x', size);
        }
    }
}

static cib_mask_t *mask_of(const char *const *secrets, int count, apr_pool_t *pool)
{
    apr_array_header_t *list = apr_array_make(pool, count + 1, sizeof(const char *));

    for (int i = 0; i < count; i++)
        APR_ARRAY_PUSH(list, const char *) = secrets[i];
    return cib_mask_create(list, pool);
}

/* Mask `text` in pieces of at most `most` bytes; 0 where a promise about the tail is broken. */
static int in_pieces(const cib_mask_t *mask, char *text, size_t len, unsigned most, size_t longest,
                     apr_pool_t *pool)
{
    const char *tail = "";
    apr_size_t tail_len = 0, reach;
    int kept = 1;

    for (size_t at = 0; at < len;) {
        size_t part = draw(most) + 1;

        if (part > len - at)
            part = len - at;
        cib_mask_apply(mask, tail, tail_len, text + at, part, &reach, &tail, &tail_len, pool);
        kept &= reach <= at && (tail_len < longest || !longest);
        memset(text + at - reach, 'x', reach);
        at += part;
    }
    return kept;
}

static void test_random(apr_pool_t *pool)
{
    int wrong = 0, broken = 0;

    for (int round = 0; round < 3000; round++) {
        char store[4][24], raw[200], masked[200], pieces[200];
        const char *secrets[4];
        int count = (int)draw(4) + 1;
        size_t len = draw(sizeof(raw)) + 1, longest = 0;
        apr_pool_t *sub;

        apr_pool_create(&sub, pool);
        /* few letters: many occurrences, overlaps and secrets within secrets */
        for (int s = 0; s < count; s++) {
            size_t size = draw(sizeof(store[s]) - 1) % (round % 2 ? 6 : 23) + 1;

            for (size_t i = 0; i < size; i++)
                store[s][i] = (char)('a' + draw(2));
            store[s][size] = '\0';
            secrets[s] = store[s];
            longest = size > longest ? size : longest;
        }
        for (size_t i = 0; i < len; i++)
            raw[i] = (char)('a' + draw(2));
        memcpy(pieces, raw, len);
        reference(secrets, count, raw, masked, len);
        broken += !in_pieces(mask_of(secrets, count, sub), pieces, len, draw(20) + 1, longest, sub);
        wrong += memcmp(pieces, masked, len) != 0;
        apr_pool_destroy(sub);
    }
    is_int(wrong, 0, "3000 random texts in random pieces");
    is_int(broken, 0, "no reach or tail is longer than it may be");
}

static void check(apr_pool_t *pool, const char *const *secrets, int count, const char *raw,
                  const char *want, const char *what)
{
    size_t len = strlen(raw);

    for (unsigned most = 1; most <= len; most++) {
        char *text = apr_pstrmemdup(pool, raw, len);

        seed = most;
        in_pieces(mask_of(secrets, count, pool), text, len, most, 0, pool);
        if (strcmp(text, want) != 0) {
            is_str(text, want, "%s, in pieces of up to %u", what, most);
            return;
        }
    }
    ok(1, "%s", what);
}

static void test_cases(apr_pool_t *pool)
{
    static const char *const one[] = {"secret-token"};
    static const char *const two[] = {"abcdefgh", "efghijkl"};
    static const char *const inner[] = {"xxaaaaaaaayy", "aaaaaaaa"};
    static const char *const self[] = {"abababab"};
    static const char *const none[] = {""};

    check(pool, one, 1, "a secret-token b secret-toke", "a xxxxxxxxxxxx b secret-toke",
          "one secret");
    check(pool, two, 2, "-abcdefghijkl-", "-xxxxxxxxxxxx-", "two that overlap");
    check(pool, inner, 2, "xxaaaaaaaayz xxaaaaaaaayy", "xxxxxxxxxxyz xxxxxxxxxxxx",
          "one within another");
    check(pool, self, 1, "zababababababz", "zxxxxxxxxxxxxz", "one that overlaps itself");
    check(pool, none, 1, "nothing", "nothing", "an empty one masks nothing");
    check(pool, one, 0, "nothing", "nothing", "nor does none");
}

/* A secret of one letter over and over, in a text of that letter: still linear. */
static void test_cost(apr_pool_t *pool)
{
    size_t len = 4 * 1024 * 1024, size = 60000;
    char *secret = apr_palloc(pool, size + 1), *text = apr_palloc(pool, len);
    const char *secrets[1] = {secret};

    memset(secret, 'a', size);
    secret[size] = '\0';
    memset(text, 'a', len);
    ok(in_pieces(mask_of(secrets, 1, pool), text, len, 65536, size, pool), "the worst of texts");
    ok(text[0] == 'x' && text[len - 1] == 'x' && memchr(text, 'a', len) == NULL,
       "is masked throughout");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_random(pool);
    test_cases(pool);
    test_cost(pool);
    return done_testing();
}

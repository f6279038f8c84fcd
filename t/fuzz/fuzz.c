/* What the fuzz targets share. */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

/* Beyond the largest limit there is (64 KiB), and still quick. */
#define EXPANDED_MAX (72 * 1024)
#define LARGE '\xf8'

void fuzz_broken(const char *cond, const char *file, int line, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "\n%s:%d: does not hold: ", file, line);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (%s)\n", cond);
    abort();
}

static apr_pool_t *start(void)
{
    apr_pool_t *pool = NULL;
    apr_size_t before;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS)
        abort();
    before = exact_pools_pieces();
    apr_pstrdup(pool, "exact");
    holds(exact_pools_pieces() > before, "pools take their memory piece by piece");
    return pool;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static apr_pool_t *root;
    apr_pool_t *pool = NULL;

    if (!root)
        root = start();
    apr_pool_create(&pool, root);
    fuzz_one((const char *)data, len, pool);
    apr_pool_destroy(pool);
    return 0;
}

/* ---- pieces of the input ---- */

const char *fuzz_text(const char *data, apr_size_t len, apr_pool_t *pool)
{
    return apr_pstrmemdup(pool, data, strnlen(data, len));
}

const char *fuzz_line(const char **data, apr_size_t *len, apr_pool_t *pool)
{
    const char *end = *len ? memchr(*data, '\n', *len) : NULL;
    apr_size_t line_len = end ? (apr_size_t)(end - *data) : *len;
    const char *line = fuzz_text(*data, line_len, pool);

    if (end)
        line_len++;
    *data += line_len;
    *len -= line_len;
    return line;
}

/* Write what `data` stands for to `to`, or only count it. */
static apr_size_t expand(const char *data, apr_size_t len, char *to)
{
    apr_size_t sum = 0;

    for (apr_size_t i = 0; i < len; i++) {
        apr_size_t times = 1;
        char c = data[i];

        if (c == LARGE && len - i > 2) {
            times = 16 * (apr_size_t)(unsigned char)data[i + 1];
            c = data[i + 2];
            i += 2;
        }
        if (times > EXPANDED_MAX - sum)
            times = EXPANDED_MAX - sum;
        if (to)
            memset(to + sum, c, times);
        sum += times;
    }
    return sum;
}

const char *fuzz_expand(const char *data, apr_size_t *len, apr_pool_t *pool)
{
    apr_size_t sum;
    char *expanded;

    if (!*len || *data != LARGE)
        return data;
    data++;
    *len -= 1;
    sum = expand(data, *len, NULL);
    expanded = apr_palloc(pool, sum);
    expand(data, *len, expanded);
    *len = sum;
    return expanded;
}

/* ---- cuts ---- */

/* So many of the first bytes say how all are cut. */
#define HASHED 1024

void fuzz_cuts_begin(fuzz_cuts_t *cuts, fuzz_cut_e how, const char *data, apr_size_t len)
{
    uint32_t hash = 2166136261u ^ (uint32_t)len;

    for (apr_size_t i = 0; i < len && i < HASHED; i++)
        hash = (hash ^ (unsigned char)data[i]) * 16777619u;
    cuts->how = how;
    cuts->state = hash;
    cuts->cut = 0;
}

apr_size_t fuzz_draw(fuzz_cuts_t *cuts, apr_size_t below)
{
    cuts->state = cuts->state * 1664525u + 1013904223u;
    return (cuts->state >> 8) % below;
}

/* Mostly small: it is in small pieces that a state machine stumbles. */
static apr_size_t any_piece(fuzz_cuts_t *cuts)
{
    static const apr_size_t most[] = {1, 3, 3, 16, 16, 64, 1024, 8192};

    cuts->cut = !cuts->cut && fuzz_draw(cuts, 8) == 0;
    return cuts->cut ? 0 : 1 + fuzz_draw(cuts, most[fuzz_draw(cuts, sizeof(most) / sizeof(*most))]);
}

apr_size_t fuzz_cut(fuzz_cuts_t *cuts, apr_size_t left)
{
    apr_size_t piece = left;

    if (left < 2)
        return left;
    if (cuts->how == FUZZ_BYTES)
        piece = 1;
    else if (cuts->how == FUZZ_PIECES)
        piece = any_piece(cuts);
    else if (cuts->how == FUZZ_ONCE && !cuts->cut) {
        cuts->cut = 1;
        piece = 1 + fuzz_draw(cuts, left - 1);
    }
    return piece < left ? piece : left;
}

/* APR pools that take each piece from malloc. APR cuts its pieces out of blocks of 8 KiB, in which
 * AddressSanitizer sees no end of anything. These functions stand before APR's own, for us and for
 * APR itself.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <apr_pools.h>
#include <apr_strings.h>

#include "fuzz.h"

typedef struct owned_t {
    struct owned_t *next;
    const apr_pool_t *pool;
    void **pieces;
    size_t count, room;
} owned_t;

/* A run has a handful of pools. */
static owned_t *all;
static apr_size_t pieces;

apr_size_t exact_pools_pieces(void)
{
    return pieces;
}

static owned_t **find(const apr_pool_t *pool)
{
    owned_t **at = &all;

    while (*at && (*at)->pool != pool)
        at = &(*at)->next;
    return at;
}

/* The newest pool is the one that most is taken from, so it stands first. */
static owned_t *made_for(const apr_pool_t *pool)
{
    owned_t *owned = *find(pool);

    if (!owned) {
        owned = calloc(1, sizeof(*owned));
        if (!owned)
            abort();
        owned->pool = pool;
        owned->next = all;
        all = owned;
    }
    return owned;
}

void *apr_palloc(apr_pool_t *pool, apr_size_t size)
{
    owned_t *owned = made_for(pool);
    void *piece = malloc(size);

    if (owned->count == owned->room) {
        owned->room = owned->room ? 2 * owned->room : 64;
        owned->pieces = realloc(owned->pieces, owned->room * sizeof(*owned->pieces));
    }
    if (!piece || !owned->pieces)
        abort();
    owned->pieces[owned->count++] = piece;
    pieces++;
    return piece;
}

static void give_back(const apr_pool_t *pool)
{
    owned_t **at = find(pool);
    owned_t *owned = *at;

    if (!owned)
        return;
    *at = owned->next;
    for (size_t i = 0; i < owned->count; i++)
        free(owned->pieces[i]);
    free(owned->pieces);
    free(owned);
}

typedef void (*pool_fn)(apr_pool_t *pool);

/* APR's own function, which runs the cleanups and ends the pools below. */
static void call_aprs(const char *name, apr_pool_t *pool)
{
    pool_fn fn = (pool_fn)dlsym(RTLD_NEXT, name);

    if (!fn)
        abort();
    fn(pool);
    give_back(pool);
}

void apr_pool_clear(apr_pool_t *pool)
{
    call_aprs("apr_pool_clear", pool);
}

void apr_pool_destroy(apr_pool_t *pool)
{
    call_aprs("apr_pool_destroy", pool);
}

/* APR's writes straight into its block. */
char *apr_pvsprintf(apr_pool_t *pool, const char *fmt, va_list args)
{
    int room = 256, len;
    char *text = NULL, *copy;

    do {
        va_list again;

        room *= 2;
        text = realloc(text, (size_t)room);
        if (!text)
            abort();
        va_copy(again, args);
        len = apr_vsnprintf(text, (apr_size_t)room, fmt, again);
        va_end(again);
    } while (len >= room - 1);
    copy = apr_pstrmemdup(pool, text, (apr_size_t)len);
    free(text);
    return copy;
}

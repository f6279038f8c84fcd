/* Tag lists in their one form. */
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "core/cib_tags.h"
#include "internal.h"

#define TAGS_MOST 100

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *trimmed(const char *from, const char *end, apr_pool_t *pool)
{
    while (from < end && apr_isspace(*from))
        from++;
    while (end > from && apr_isspace(end[-1]))
        end--;
    return apr_pstrmemdup(pool, from, (apr_size_t)(end - from));
}

/* Add the tags of one text, which may be a list itself. */
static cib_error_t *collect(apr_array_header_t *into, const char *text, apr_pool_t *pool)
{
    for (;;) {
        const char *end = strchrnul(text, ',');
        const char *tag = trimmed(text, end, pool);

        if (*tag) {
            CIB_TRY(cib_text_check("a tag", tag, CIB_SHORT_MAX, pool));
            APR_ARRAY_PUSH(into, const char *) = tag;
        }
        if (!*end)
            return CIB_OK;
        text = end + 1;
    }
}

cib_error_t *cib_tags_canonical(const apr_array_header_t *tags, const char **canonical,
                                apr_pool_t *pool)
{
    apr_array_header_t *all = apr_array_make(pool, 8, sizeof(const char *));
    apr_array_header_t *unique = apr_array_make(pool, 8, sizeof(const char *));

    *canonical = "";
    for (int i = 0; tags && i < tags->nelts; i++)
        CIB_TRY(collect(all, APR_ARRAY_IDX(tags, i, const char *), pool));
    if (all->nelts)
        qsort(all->elts, (size_t)all->nelts, sizeof(const char *), by_bytes);
    for (int i = 0; i < all->nelts; i++) {
        const char *tag = APR_ARRAY_IDX(all, i, const char *);

        if (i == 0 || strcmp(tag, APR_ARRAY_IDX(all, i - 1, const char *)) != 0)
            APR_ARRAY_PUSH(unique, const char *) = tag;
    }
    if (unique->nelts > TAGS_MOST)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "more than %d tags", TAGS_MOST);
    if (unique->nelts)
        *canonical = apr_array_pstrcat(pool, unique, ',');
    return CIB_OK;
}

apr_array_header_t *cib_tags_split(const char *canonical, apr_pool_t *pool)
{
    apr_array_header_t *tags = apr_array_make(pool, 4, sizeof(const char *));

    while (canonical && *canonical) {
        const char *end = strchrnul(canonical, ',');

        APR_ARRAY_PUSH(tags, const char *) =
            apr_pstrmemdup(pool, canonical, (apr_size_t)(end - canonical));
        canonical = *end ? end + 1 : end;
    }
    return tags;
}

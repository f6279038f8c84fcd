/* Tag lists, a line each: the canonical form is one, whatever the order they came in. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "core/cib_tags.h"
#include "fuzz.h"
#include "util/cib_text.h"

static const char *canonical_of(const apr_array_header_t *tags, cib_error_t **err, apr_pool_t *pool)
{
    const char *canonical = NULL;

    *err = cib_tags_canonical(tags, &canonical, pool);
    return canonical;
}

static void check_tag(const char *tag, const char *before, const char *data, apr_size_t len)
{
    apr_size_t tag_len = strlen(tag);

    holds(tag_len > 0 && tag_len <= 255, "a tag has 1 to 255 bytes");
    holds(!apr_isspace(tag[0]) && !apr_isspace(tag[tag_len - 1]), "no blanks around it");
    holds(!strpbrk(tag, ",\n\r\t") && cib_is_utf8(tag, tag_len), "it is one line of text");
    holds(!before || strcmp(before, tag) < 0, "the list is sorted, each tag once");
    holds(memmem(data, len, tag, tag_len), "it is among those that came");
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    apr_array_header_t *tags = apr_array_make(pool, 4, sizeof(const char *));
    apr_array_header_t *reversed = apr_array_make(pool, 4, sizeof(const char *));
    apr_array_header_t *split;
    const char *all = data, *canonical, *again;
    apr_size_t left = len;
    cib_error_t *err, *again_err;

    while (left)
        APR_ARRAY_PUSH(tags, const char *) = fuzz_line(&data, &left, pool);
    for (int i = tags->nelts; i > 0; i--)
        APR_ARRAY_PUSH(reversed, const char *) = APR_ARRAY_IDX(tags, i - 1, const char *);
    canonical = canonical_of(tags, &err, pool);
    again = canonical_of(reversed, &again_err, pool);
    holds(!err == !again_err, "the order makes no tag good or bad");
    if (err) {
        holds(err->reason == CIB_REASON_INVALID, "bad tags are the client's mistake");
        return;
    }
    holds(!strcmp(canonical, again), "nor does it change the list");
    split = cib_tags_split(canonical, pool);
    holds(split->nelts <= 100, "at most a hundred");
    for (int i = 0; i < split->nelts; i++)
        check_tag(APR_ARRAY_IDX(split, i, const char *),
                  i ? APR_ARRAY_IDX(split, i - 1, const char *) : NULL, all, len);
    again = canonical_of(split, &again_err, pool);
    holds(!again_err && !strcmp(canonical, again), "the canonical form of it is itself");
}

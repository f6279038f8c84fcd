/* Masking.
 *
 * Each secret is searched with the automaton of Knuth, Morris and Pratt: it finds occurrences that
 * overlap each other, never looks at a byte twice, and where it stands at the end of the bytes is
 * the length of what may be the beginning of a secret that goes on in the next request.
 */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_mask.h"
#include "core/cib_token.h"
#include "internal.h"
#include "variables.h"

typedef struct secret_t {
    const char *bytes;
    apr_size_t len;
    unsigned *border; /* of each prefix, by its length: the longest proper prefix that ends it */
} secret_t;

struct cib_mask_t {
    apr_array_header_t *secrets; /* secret_t */
};

/* One call of apply. */
typedef struct search_t {
    const char *raw; /* tail and data before anything was masked */
    apr_size_t len;
    apr_size_t tail_len;
    char *data;
    apr_size_t reach;
} search_t;

static unsigned *borders_of(const char *bytes, apr_size_t len, apr_pool_t *pool)
{
    unsigned *border = apr_palloc(pool, (len + 1) * sizeof(*border));
    unsigned at = 0;

    border[0] = border[1] = 0;
    for (apr_size_t i = 1; i < len; i++) {
        while (at && bytes[at] != bytes[i])
            at = border[at];
        if (bytes[at] == bytes[i])
            at++;
        border[i + 1] = at;
    }
    return border;
}

cib_mask_t *cib_mask_create(const apr_array_header_t *secrets, apr_pool_t *pool)
{
    cib_mask_t *mask = apr_palloc(pool, sizeof(*mask));

    mask->secrets = apr_array_make(pool, secrets->nelts + 1, sizeof(secret_t));
    for (int i = 0; i < secrets->nelts; i++) {
        const char *bytes = APR_ARRAY_IDX(secrets, i, const char *);
        secret_t *secret;

        if (!bytes || !*bytes)
            continue;
        secret = &APR_ARRAY_PUSH(mask->secrets, secret_t);
        secret->bytes = bytes;
        secret->len = strlen(bytes);
        secret->border = borders_of(bytes, secret->len, pool);
    }
    return mask;
}

/* raw[from..to) is a secret. */
static void cover(search_t *search, apr_size_t from, apr_size_t to)
{
    if (to <= search->tail_len)
        return; /* was seen by the call before */
    if (from < search->tail_len) {
        if (search->tail_len - from > search->reach)
            search->reach = search->tail_len - from;
        from = search->tail_len;
    }
    memset(search->data + (from - search->tail_len), 'x', to - from);
}

/* Returns how many bytes at the end may be the beginning of this secret. */
static apr_size_t find(search_t *search, const secret_t *secret)
{
    apr_size_t at = 0, covered = 0;

    for (apr_size_t i = 0; i < search->len; i++) {
        char c = search->raw[i];

        if (!at && c != secret->bytes[0]) {
            const char *next = memchr(search->raw + i, secret->bytes[0], search->len - i);

            if (!next)
                return 0;
            i = (apr_size_t)(next - search->raw);
            c = *next;
        }
        while (at && secret->bytes[at] != c)
            at = secret->border[at];
        if (secret->bytes[at] == c)
            at++;
        if (at == secret->len) {
            apr_size_t from = i + 1 - secret->len;

            cover(search, from > covered ? from : covered, i + 1);
            covered = i + 1;
            at = secret->border[at];
        }
    }
    return at;
}

void cib_mask_apply(const cib_mask_t *mask, const char *tail, apr_size_t tail_len, char *data,
                    apr_size_t len, apr_size_t *reach, const char **new_tail, apr_size_t *new_len,
                    apr_pool_t *pool)
{
    search_t search = {.len = tail_len + len, .tail_len = tail_len, .data = data};
    apr_size_t open = 0;
    char *raw;

    *reach = *new_len = 0;
    *new_tail = "";
    if (!mask->secrets->nelts || !len) {
        *new_len = mask->secrets->nelts ? tail_len : 0;
        if (*new_len)
            *new_tail = apr_pstrmemdup(pool, tail, *new_len);
        return;
    }
    raw = apr_palloc(pool, search.len);
    if (tail_len)
        memcpy(raw, tail, tail_len);
    memcpy(raw + tail_len, data, len);
    search.raw = raw;
    for (int i = 0; i < mask->secrets->nelts; i++) {
        apr_size_t end = find(&search, &APR_ARRAY_IDX(mask->secrets, i, secret_t));

        if (end > open)
            open = end;
    }
    *reach = search.reach;
    *new_tail = raw + search.len - open;
    *new_len = open;
}

/* --- whose secrets --------------------------------------------------------------------------- */

typedef struct asking_t {
    const cib_ctx_t *ctx;
    const cib_build_t *build;
    apr_array_header_t *secrets; /* const char * */
} asking_t;

static cib_error_t *collect(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    asking_t *asking = baton;
    const cib_storage_t *storage = asking->ctx->storage;
    const cib_build_t *build = asking->build;
    apr_array_header_t *variables;
    cib_project_t *project;
    const char *token;

    asking->secrets = apr_array_make(pool, 8, sizeof(const char *));
    APR_ARRAY_PUSH(asking->secrets, const char *) =
        cib_token_build(storage, build->id, build->claim, pool);
    CIB_TRY(cib_q_project(db, build->project_id, &project, pool));
    if (project) {
        CIB_TRY(cib_token_project(storage, project, &token, pool));
        APR_ARRAY_PUSH(asking->secrets, const char *) = token;
    }
    CIB_TRY(cib_variables_open(db, storage, build->id, &variables, pool));
    for (int i = 0; i < variables->nelts; i++) {
        const cib_variable_t *variable = &APR_ARRAY_IDX(variables, i, cib_variable_t);

        if (!variable->is_public && strlen(variable->value) >= CIB_SECRET_SHORTEST)
            APR_ARRAY_PUSH(asking->secrets, const char *) = variable->value;
    }
    return CIB_OK;
}

cib_error_t *cib_mask_for_build(const cib_ctx_t *ctx, const cib_build_t *build, cib_mask_t **mask)
{
    asking_t asking = {.ctx = ctx, .build = build};

    CIB_TRY(cib_read(ctx, collect, &asking));
    *mask = cib_mask_create(asking.secrets, ctx->pool);
    return CIB_OK;
}

/* Runners that ask in vain, remembered. */
#include <string.h>

#include "core/cib_idle.h"
#include "store/cib_listener.h"

/* Each with its length, so that no two words are the same; NULL is not "". */
static int add(cib_sha256_t *sha, const char *text)
{
    apr_int64_t len = text ? (apr_int64_t)strlen(text) : -1;

    return cib_sha256_update(sha, &len, sizeof(len)) == APR_SUCCESS &&
           (!text || cib_sha256_update(sha, text, (apr_size_t)len) == APR_SUCCESS);
}

static int digest_of(const cib_idle_word_t *word, unsigned char *digest, apr_pool_t *pool)
{
    static const cib_runner_info_t silence;
    const cib_runner_info_t *info = word->info ? word->info : &silence;
    const char *const texts[] = {word->token,    word->last_update, info->system_id,
                                 info->name,     info->version,     info->revision,
                                 info->platform, info->architecture};
    cib_sha256_t *sha;
    int good = cib_sha256_begin(&sha, pool) == APR_SUCCESS;

    for (apr_size_t i = 0; good && i < sizeof(texts) / sizeof(texts[0]); i++)
        good = add(sha, texts[i]);
    return good && cib_sha256_end(sha, digest) == APR_SUCCESS;
}

int cib_idle_is_known(const cib_ctx_t *ctx, const cib_idle_word_t *word)
{
    unsigned char digest[CIB_SHA256_LEN];
    apr_int64_t id;

    if (!ctx->idle || !ctx->gen || !word->token || !word->last_update ||
        !cib_store_hears(ctx->store) || !digest_of(word, digest, ctx->pool))
        return 0;
    id = cib_memo_get(ctx->idle, digest, apr_time_now(), CIB_CONTACT_EVERY);
    return id && cib_generation_is_current(ctx->gen, id, word->last_update);
}

void cib_idle_learn(const cib_ctx_t *ctx, const cib_idle_word_t *word, const cib_runner_t *runner)
{
    unsigned char digest[CIB_SHA256_LEN];

    if (ctx->idle && word->token && word->last_update && digest_of(word, digest, ctx->pool))
        cib_memo_put(ctx->idle, digest, runner->id, runner->contacted_at + CIB_CONTACT_EVERY);
}

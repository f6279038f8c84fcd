/* Idle runners: those that ask again and again while nothing changes are answered without a
 * question to the database.
 *
 * What is remembered is that a runner of this token, saying this of itself, was looked up and told
 * that there is nothing new since the queue's value that it brought. As long as that is its value
 * (whatever could change the answer raises it: new builds, settings, a pause, another token, a
 * removal), and its contact time need not be written, the answer to the same words is the same.
 * Remembered per process; tokens are not kept for it, only a digest of all that was said.
 */
#ifndef CIB_IDLE_H
#define CIB_IDLE_H

#include "core/cib_ctx.h"
#include "core/cib_runner.h"

/* What a runner says when it asks. NULL texts and a NULL `info` are no difference. */
typedef struct cib_idle_word_t {
    const char *token;
    const char *last_update; /* NULL: never known */
    const cib_runner_info_t *info;
} cib_idle_word_t;

/* Is there surely nothing for who says this? Always 0 where ctx->idle is NULL. */
int cib_idle_is_known(const cib_ctx_t *ctx, const cib_idle_word_t *word);

/* It was just so: `runner` was authenticated by the token, is active, and its value was the one it
 * brought when it was looked up. */
void cib_idle_learn(const cib_ctx_t *ctx, const cib_idle_word_t *word, const cib_runner_t *runner);

#endif

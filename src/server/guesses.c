/* Wrong tokens, counted and told. */
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "internal.h"
#include "server/cib_guesses.h"
#include "util/cib_crypto.h"

APLOG_USE_MODULE(ci_builds);

/* The text of a line; the client's address is its own, so that who reads a log by patterns finds it
 * whoever wrote the line. */
static const char *text_of(const cib_tally_line_t *line, apr_pool_t *pool)
{
    const char *what =
        line->fresh ? "CIB0260: wrong tokens" : "CIB0261: the same wrong tokens again";

    return apr_psprintf(pool, "%s from %s, times since the last such line: %u", what, line->who,
                        line->times);
}

static int level_of(const cib_tally_line_t *line)
{
    return line->fresh ? APLOG_WARNING : APLOG_INFO;
}

/* Tells tokens apart and nothing more. */
static apr_uint32_t mark_of(const char *token)
{
    unsigned char digest[CIB_SHA256_LEN];
    apr_uint32_t mark = 0;

    if (cib_sha256(token, strlen(token), digest) == APR_SUCCESS)
        memcpy(&mark, digest, sizeof(mark));
    return mark ? mark : 1;
}

void cib_guess_note(request_rec *r, const char *token)
{
    const cib_instance_t *instance = cib_instance_of(r->server);
    const apr_sockaddr_t *from = r->useragent_addr;
    cib_tally_line_t line;
    apr_uint64_t who;

    if (!instance || !from || !token || !*token)
        return;
    who = cib_tally_who(from->ipaddr_ptr, (apr_size_t)from->ipaddr_len);
    if (cib_tally_count(cib_board_guesses(instance->slot), who, mark_of(token), apr_time_now(),
                        &line))
        ap_log_rerror(APLOG_MARK, level_of(&line), 0, r, "%s", text_of(&line, r->pool));
}

static void tell(server_rec *s, cib_slot_t *slot, int all)
{
    cib_tally_t *guesses = cib_board_guesses(slot);
    cib_tally_line_t line;
    apr_pool_t *pool;
    int at = 0;

    apr_pool_create(&pool, NULL);
    while (cib_tally_next(guesses, &at, apr_time_now(), all, &line)) {
        ap_log_error(APLOG_MARK, level_of(&line), 0, s, "%s", text_of(&line, pool));
        apr_pool_clear(pool);
    }
    apr_pool_destroy(pool);
}

void cib_guesses_tell(const cib_instance_t *instance)
{
    tell(instance->server, instance->slot, 0);
}

/* --- what is left when a configuration ends */

typedef struct declared_t {
    server_rec *server;
    cib_slot_t *slot;
    pid_t parent;
} declared_t;

/* In the parent, before its log is closed. A child has inherited this and leaves it alone. */
static apr_status_t tell_rest(void *data)
{
    const declared_t *declared = data;

    if (getpid() == declared->parent)
        tell(declared->server, declared->slot, 1);
    return APR_SUCCESS;
}

void cib_guesses_declare(apr_pool_t *pconf, server_rec *s, cib_slot_t *slot)
{
    declared_t *declared = apr_palloc(pconf, sizeof(*declared));

    declared->server = s;
    declared->slot = slot;
    declared->parent = getpid();
    apr_pool_pre_cleanup_register(pconf, declared, tell_rest);
}

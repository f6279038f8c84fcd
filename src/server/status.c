/* What mod_status shows of the instances. */
#include <apr_strings.h>

#include <httpd.h>
#include <http_protocol.h>
#include <mod_status.h>

#include "internal.h"
#include "store/cib_questions.h"
#include "util/cib_text.h"

typedef struct numbers_t {
    const char *dir;
    int known; /* the database answered */
    cib_stats_t load;
    int parked;
    apr_uint64_t looks;
    apr_time_t failed;
    const char *failure;
} numbers_t;

static cib_error_t *read_load(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    return cib_q_load(db, apr_time_now(), baton, pool);
}

static numbers_t numbers_of(server_rec *s, apr_pool_t *pool)
{
    numbers_t numbers = {0};
    cib_instance_t *instance = cib_instance_of(s);

    if (!instance)
        return numbers;
    numbers.dir = instance->storage->dir;
    numbers.known = !cib_store_read(instance->store, cib_instance_source(s, pool), read_load,
                                    &numbers.load, pool);
    numbers.parked = cib_board_parked_now(instance->slot);
    numbers.looks = cib_board_looks(instance->slot);
    numbers.failed = cib_board_last_db_error(instance->slot, &numbers.failure, pool);
    return numbers;
}

static const char *count(const numbers_t *numbers, apr_int64_t n, apr_pool_t *pool)
{
    return numbers->known ? apr_psprintf(pool, "%" APR_INT64_T_FMT, n) : "n/a";
}

/* --- the two forms */

typedef struct line_t {
    const char *key;
    const char *title;
    const char *value;
} line_t;
#define LINES 7

static void make_lines(line_t *lines, const numbers_t *n, apr_pool_t *pool)
{
    const char *when = n->failed ? cib_time_iso8601(n->failed, pool) : "never";
    const line_t all[LINES] = {
        {"Pending", "builds pending", count(n, n->load.builds[CIB_PENDING], pool)},
        {"Running", "builds running", count(n, n->load.builds[CIB_RUNNING], pool)},
        {"RunnersOnline", "runners seen in the last minute",
         count(n, n->load.runners_online, pool)},
        {"Parked", "requests parked", apr_itoa(pool, n->parked)},
        {"Looks", "times a parked request was woken to look",
         apr_psprintf(pool, "%" APR_UINT64_T_FMT, n->looks)},
        {"LastDatabaseError", "last database error", when},
        {"LastDatabaseErrorText", "which was", n->failed ? n->failure : ""},
    };

    for (int i = 0; i < LINES; i++)
        lines[i] = all[i];
}

static void put_short(request_rec *r, const line_t *lines, const numbers_t *n, const char *number)
{
    ap_rprintf(r, "CIBuilds%sStorage: %s\n", number, n->dir ? n->dir : "n/a");
    for (int i = 0; i < LINES; i++)
        ap_rprintf(r, "CIBuilds%s%s: %s\n", number, lines[i].key,
                   ap_escape_logitem(r->pool, lines[i].value));
}

static void put_html(request_rec *r, const line_t *lines, const numbers_t *n)
{
    ap_rprintf(r, "<h3>%s</h3>\n<dl>\n",
               n->dir ? ap_escape_html(r->pool, n->dir) : "a storage that cannot be opened");
    for (int i = 0; i < LINES; i++)
        if (*lines[i].value)
            ap_rprintf(r, "<dt>%s: %s</dt>\n", lines[i].title,
                       ap_escape_html(r->pool, lines[i].value));
    ap_rputs("</dl>\n", r);
}

int cib_board_status(request_rec *r, int flags)
{
    const apr_array_header_t *servers = cib_instance_servers(r->pool);

    if (servers->nelts == 0)
        return DECLINED;
    if (!(flags & AP_STATUS_SHORT))
        ap_rputs("<hr>\n<h2>CI builds</h2>\n", r);
    for (int i = 0; i < servers->nelts; i++) {
        numbers_t numbers = numbers_of(APR_ARRAY_IDX(servers, i, server_rec *), r->pool);
        const char *number = servers->nelts > 1 ? apr_itoa(r->pool, i + 1) : "";
        line_t lines[LINES];

        make_lines(lines, &numbers, r->pool);
        if (flags & AP_STATUS_SHORT)
            put_short(r, lines, &numbers, number);
        else
            put_html(r, lines, &numbers);
    }
    return OK;
}

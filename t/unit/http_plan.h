/* For the tests of the body parsers: a plan that takes the fields it is told to and remembers all
 * that happens, and a way to feed a parser piece by piece.
 */
#ifndef CIB_TEST_HTTP_PLAN_H
#define CIB_TEST_HTTP_PLAN_H

#include "tap.h"

#include <apr_strings.h>

#include "http/cib_parser.h"

typedef struct watch_t {
    const char *take[3]; /* the names to take */
    const char *probe;   /* a parameter to look up when a field begins */
    cib_params_t *params;
    apr_pool_t *pool;
    char *log;   /* "begin NAME [FILENAME] (probe);" and "end NAME;" */
    char *bytes; /* of the fields taken */
    apr_size_t len;
    apr_size_t room;
    int writes;
    apr_size_t fail_after; /* bytes, where not 0 */
    int wants_further;     /* of the names taken */
    cib_sink_t further;
    apr_size_t further_len;
} watch_t;

static cib_error_t *watch_write(void *baton, const char *data, apr_size_t len)
{
    watch_t *watch = baton;

    watch->writes++;
    if (watch->len + len > watch->room) {
        char *more;

        watch->room = (watch->len + len) * 2;
        more = apr_palloc(watch->pool, watch->room);
        if (watch->len)
            memcpy(more, watch->bytes, watch->len);
        watch->bytes = more;
    }
    memcpy(watch->bytes + watch->len, data, len);
    watch->len += len;
    if (watch->fail_after && watch->len > watch->fail_after)
        return cib_error(watch->pool, CIB_REASON_NO_SPACE, APR_SUCCESS, "full");
    return CIB_OK;
}

static cib_error_t *watch_begin(void *baton, const char *name, const char *filename,
                                const cib_sink_t **sink)
{
    watch_t *watch = baton;
    const char *probed = NULL;
    int i;

    if (watch->probe)
        CIB_TRY(cib_params_text(watch->params, watch->probe, &probed));
    watch->log = apr_pstrcat(watch->pool, watch->log, "begin ", name, filename ? " [" : "",
                             filename ? filename : "", filename ? "]" : "", probed ? " (" : "",
                             probed ? probed : "", probed ? ")" : "", ";", NULL);
    for (i = 0; i < 3 && watch->take[i]; i++) {
        if (!strcmp(watch->take[i], name)) {
            cib_sink_t *made = apr_palloc(watch->pool, sizeof(*made));

            made->write = watch_write;
            made->baton = watch;
            *sink = made;
        }
    }
    return CIB_OK;
}

static cib_error_t *watch_end(void *baton, const char *name)
{
    watch_t *watch = baton;

    watch->log = apr_pstrcat(watch->pool, watch->log, "end ", name, ";", NULL);
    return CIB_OK;
}

static cib_error_t *watch_further(void *baton, const char *data, apr_size_t len)
{
    watch_t *watch = baton;

    (void)data;
    watch->further_len += len;
    return CIB_OK;
}

TAP_UNUSED static cib_body_plan_t *watch_plan(watch_t *watch, cib_params_t *params,
                                              apr_pool_t *pool)
{
    cib_body_plan_t *plan_of = apr_pcalloc(pool, sizeof(*plan_of));

    watch->params = params;
    watch->pool = pool;
    watch->log = apr_pstrdup(pool, "");
    watch->bytes = apr_pstrdup(pool, "");
    watch->len = watch->room = 0;
    watch->writes = 0;
    plan_of->begin = watch_begin;
    plan_of->end = watch_end;
    plan_of->baton = watch;
    watch->further.write = watch_further;
    watch->further.baton = watch;
    watch->further_len = 0;
    if (watch->wants_further)
        plan_of->further = &watch->further;
    return plan_of;
}

/* Feed `len` bytes in pieces of at most `step` (0: all at once), each in memory of exactly its
 * size, so that reading beyond it is seen by AddressSanitizer and valgrind; then finish. */
TAP_UNUSED static cib_error_t *feed_all(cib_parser_t *parser, const char *data, apr_size_t len,
                                        apr_size_t step)
{
    cib_error_t *err = CIB_OK;

    while (len && !err) {
        apr_size_t piece = step && step < len ? step : len;
        char *copy = malloc(piece);

        if (!copy)
            bail_out("out of memory");
        memcpy(copy, data, piece);
        err = parser->feed(parser, copy, piece);
        free(copy);
        data += piece;
        len -= piece;
    }
    return err ? err : parser->finish(parser);
}

/* The reason of an error, -1 where there is none. */
TAP_UNUSED static int reason(const cib_error_t *err)
{
    return err ? (int)err->reason : -1;
}

TAP_UNUSED static const char *text_of(cib_params_t *params, const char *name)
{
    const char *text = NULL;

    if (cib_params_text(params, name, &text))
        return "(invalid)";
    return text;
}

#endif

/* The route table: which function answers which path. */
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <httpd.h>

#include "http/cib_reply.h"
#include "http/cib_route.h"

#define SUFFIX ".json"

const cib_dialect_t *cib_route_dialect(const cib_dialect_t *const *dialects, const char *uri)
{
    for (; *dialects; dialects++) {
        const char *prefix = (*dialects)->prefix;
        apr_size_t len = strlen(prefix);

        if (!strncmp(uri, prefix, len) || (!strncmp(uri, prefix, len - 1) && !uri[len - 1]))
            return *dialects;
    }
    return NULL;
}

/* All of `text` as an int64. */
static int parse_id(const char *text, apr_int64_t *id)
{
    const char *digits = *text == '-' ? text + 1 : text;
    char *end;

    if (!apr_isdigit(*digits))
        return 0;
    errno = 0;
    *id = apr_strtoi64(text, &end, 10);
    return !*end && errno != ERANGE;
}

/* Does the path of `len` bytes have the shape of `pattern`? Neither begins with a slash. */
static int matches(const char *pattern, const char *path, apr_size_t len, cib_route_match_t *match,
                   apr_pool_t *pool)
{
    const char *end = path + len;

    for (;;) {
        apr_size_t want = strcspn(pattern, "/");
        const char *slash = memchr(path, '/', end - path);
        apr_size_t have = slash ? slash - path : end - path;

        if (*pattern == ':') {
            if (!have)
                return 0;
            match->id_text = apr_pstrmemdup(pool, path, have);
            match->id_is_number = parse_id(match->id_text, &match->id);
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return 0;
        }
        if (!pattern[want] || !slash)
            return !pattern[want] && !slash;
        pattern += want + 1;
        path += have + 1;
    }
}

static int serves(const cib_route_t *route, const char *method)
{
    return !strcmp(route->method, method) ||
           (!strcmp(route->method, "GET") && !strcmp(method, "HEAD"));
}

int cib_route_run(const cib_dialect_t *dialect, request_rec *r)
{
    apr_size_t prefix = strlen(dialect->prefix);
    const char *path = strlen(r->uri) > prefix ? r->uri + prefix : "";
    apr_size_t len = strlen(path);
    const char *allow = NULL;
    const cib_route_t *route;

    if (len > strlen(SUFFIX) && !strcmp(path + len - strlen(SUFFIX), SUFFIX))
        len -= strlen(SUFFIX);
    for (route = dialect->routes; route->path; route++) {
        cib_route_match_t match = {0, NULL, 0};

        if (!matches(route->path, path, len, &match, r->pool))
            continue;
        if (serves(route, r->method))
            return route->handle(r, &match);
        allow = apr_pstrcat(r->pool, allow ? allow : "", allow ? ", " : "", route->method,
                            strcmp(route->method, "GET") ? "" : ", HEAD", NULL);
    }
    if (allow)
        return cib_reply_wrong_method(r, allow);
    return cib_reply_error(r, cib_error(r->pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL));
}

cib_error_t *cib_route_id(const cib_route_match_t *match, apr_int64_t *id, apr_pool_t *pool)
{
    *id = match->id;
    return match->id_is_number ? CIB_OK : cib_error(pool, CIB_REASON_NOTHING, APR_SUCCESS, NULL);
}

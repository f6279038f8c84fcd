/* What handlers of the same httpd are held against: they read the body and answer, no more.
 *
 *   SetHandler bench-trivial    reads the body, answers 204
 *   SetHandler bench-trace      reads the body, parses it with json-c, writes its "trace" with one
 *                               write into a new file, syncs it; answers 200
 */
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_protocol.h>

#include <fcntl.h>
#include <json-c/json.h>
#include <unistd.h>

#include <apr_strings.h>

static int answer_trivially(request_rec *r)
{
    int rv = ap_discard_request_body(r);

    return rv == OK ? HTTP_NO_CONTENT : rv;
}

/* The body in one piece; NULL: it did not come. */
static char *read_body(request_rec *r, apr_size_t *len)
{
    apr_off_t length = 0;
    const char *told = apr_table_get(r->headers_in, "Content-Length");
    char *body, *end = NULL;
    long got;

    if (!told || apr_strtoff(&length, told, &end, 10) != APR_SUCCESS ||
        ap_setup_client_block(r, REQUEST_CHUNKED_ERROR) != OK || !ap_should_client_block(r))
        return NULL;
    body = apr_palloc(r->pool, (apr_size_t)length);
    for (*len = 0; *len < (apr_size_t)length; *len += (apr_size_t)got)
        if ((got = ap_get_client_block(r, body + *len, (apr_size_t)length - *len)) <= 0)
            return NULL;
    return body;
}

static int write_whole(request_rec *r, const char *data, size_t len)
{
    const char *dir = ap_server_root_relative(r->pool, "dav/files");
    int fd = open(dir, O_TMPFILE | O_WRONLY, 0600);
    int done = fd >= 0 && write(fd, data, len) == (ssize_t)len && fdatasync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return done;
}

static int take_trace(request_rec *r)
{
    struct json_object *root, *trace = NULL;
    struct json_tokener *tokener;
    apr_size_t len = 0;
    char *body = read_body(r, &len);
    int done = 0;

    if (!body)
        return HTTP_BAD_REQUEST;
    tokener = json_tokener_new();
    root = json_tokener_parse_ex(tokener, body, (int)len);
    if (root && json_object_object_get_ex(root, "trace", &trace))
        done = write_whole(r, json_object_get_string(trace),
                           (size_t)json_object_get_string_len(trace));
    json_object_put(root);
    json_tokener_free(tokener);
    if (!done)
        return HTTP_INTERNAL_SERVER_ERROR;
    ap_set_content_type(r, "application/json");
    ap_rputs("null", r);
    return OK;
}

static int handle(request_rec *r)
{
    if (!r->handler)
        return DECLINED;
    if (strcmp(r->handler, "bench-trivial") == 0)
        return answer_trivially(r);
    if (strcmp(r->handler, "bench-trace") == 0)
        return take_trace(r);
    return DECLINED;
}

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(bench_trivial) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                                    register_hooks,          0};

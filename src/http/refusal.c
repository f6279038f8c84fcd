/* Where httpd itself refuses a request for one of our paths (a broken escape in it, a `Require`, a
 * limit) the client, which is a program, gets JSON all the same and not a page. */
#include <string.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_protocol.h>
#include <util_filter.h>

#include "http/cib_refusal.h"

static ap_filter_rec_t *filter;

static apr_status_t send_instead(ap_filter_t *f, apr_bucket_brigade *page)
{
    request_rec *r = f->r;
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    /* names of statuses hold nothing that JSON would have to escape */
    const char *text =
        apr_pstrcat(r->pool, "{\"message\":\"", ap_get_status_line(r->status), "\"}", NULL);

    apr_brigade_cleanup(page);
    ap_set_content_type(r, "application/json");
    ap_set_content_length(r, (apr_off_t)strlen(text));
    if (!r->header_only)
        APR_BRIGADE_INSERT_TAIL(page, apr_bucket_pool_create(text, strlen(text), r->pool, alloc));
    APR_BRIGADE_INSERT_TAIL(page, apr_bucket_eos_create(alloc));
    return ap_pass_brigade(f->next, page);
}

/* The page comes in pieces: the first of them makes room for what is sent instead. */
static apr_status_t replace(ap_filter_t *f, apr_bucket_brigade *page)
{
    if (!f->ctx) {
        f->ctx = f;
        return send_instead(f, page);
    }
    apr_brigade_cleanup(page);
    return APR_SUCCESS;
}

void cib_refusal_register(void)
{
    filter = ap_register_output_filter("CI_BUILDS_REFUSAL", replace, NULL, AP_FTYPE_RESOURCE);
}

void cib_refusal_in_json(request_rec *r)
{
    ap_add_output_filter_handle(filter, NULL, r, r->connection);
}

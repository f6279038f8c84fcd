/* What the HTTP room remembers of one request. */
#include <httpd.h>
#include <http_protocol.h>

#include "exchange.h"

/* Not the module's slot in r->request_config: that one is for the module, this room is not alone.
 */
static const char key[] = "cib_exchange";

cib_exchange_t *cib_exchange(request_rec *r)
{
    void *found = NULL;
    cib_exchange_t *exchange;

    apr_pool_userdata_get(&found, key, r->pool);
    if (found)
        return found;
    exchange = apr_pcalloc(r->pool, sizeof *exchange);
    apr_pool_userdata_setn(exchange, key, NULL, r->pool);
    return exchange;
}

int cib_exchange_unread(request_rec *r)
{
    cib_read_e read = cib_exchange(r)->read;

    return read == CIB_READ_PART || (read == CIB_READ_NOTHING && ap_request_has_body(r));
}

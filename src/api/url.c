/* URLs that are handed out. */
#include <string.h>
#include <httpd.h>
#include <http_core.h>
#include <apr_strings.h>

#include "internal.h"
#include "server/cib_config.h"

const char *cib_call_url(request_rec *r, const char *path)
{
    const char *base = cib_config_text(r->server, CIB_CONF_EXTERNAL_URL);
    apr_size_t len = base ? strlen(base) : 0;

    if (!base)
        return ap_construct_url(r->pool, path, r);
    while (len && base[len - 1] == '/')
        len--;
    return apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, base, len), path, NULL);
}

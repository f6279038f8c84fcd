/* What the HTTP room remembers of one request: how far its body was read, and what it is about. */
#ifndef CIB_HTTP_EXCHANGE_H
#define CIB_HTTP_EXCHANGE_H

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

APLOG_USE_MODULE(ci_builds);

typedef enum {
    CIB_READ_NOTHING, /* not one read yet: a client that waits for 100 Continue still waits */
    CIB_READ_PART,
    CIB_READ_ALL,
    CIB_READ_BROKEN /* the input filters failed: whatever comes now is not the body */
} cib_read_e;

typedef struct cib_exchange_t {
    cib_read_e read;
    int delivered; /* on a stream of HTTP/2: all but the end of the answer */
    int about_build;
    apr_int64_t build_id;
} cib_exchange_t;

/* This request's; made at the first call, lives in r->pool. */
cib_exchange_t *cib_exchange(request_rec *r);

/* Are there bytes of the body that nobody has read? */
int cib_exchange_unread(request_rec *r);

#endif

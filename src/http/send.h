/* An answer on its way out. */
#ifndef CIB_HTTP_SEND_H
#define CIB_HTTP_SEND_H

#include <httpd.h>
#include <apr_buckets.h>

/* Pass a whole answer (its end included; the headers are set) to the filters, and see to what was
 * not read of the request's body: a little is left to httpd, more than that ends the connection.
 * Returns what the handler returns. */
int cib_send(request_rec *r, apr_bucket_brigade *bb);

/* The same for a file: what makes ranges of it must see its end with it. */
int cib_send_whole(request_rec *r, apr_bucket_brigade *bb);

#endif

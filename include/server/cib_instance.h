/* Instances: one per storage directory and process, however many virtual hosts name it. What is
 * shared in memory is kept here, by storage and not by server.
 */
#ifndef CIB_INSTANCE_H
#define CIB_INSTANCE_H

#include <httpd.h>
#include "store/cib_db.h"

typedef struct cib_instance_t {
    const cib_storage_t *storage;
    cib_store_t *store;
    cib_generation_t *gen;
    server_rec *server; /* the first virtual host that names it */
    apr_time_t since;   /* silence of runners before that does not count */
} cib_instance_t;

/* child_init: open the storage of every virtual host with `CIBuilds On`. What fails is logged and
 * tried again by cib_instance_of. */
void cib_instances_open(apr_pool_t *pool, server_rec *main_server);

/* The instance of a virtual host; NULL where its storage cannot be opened now (logged once a
 * minute).
 * `*why` takes a text for the log. Thread-safe. */
cib_instance_t *cib_instance_of(server_rec *s);

/* Visit all (watchdog, mod_status). */
apr_array_header_t *cib_instances(apr_pool_t *pool); /* cib_instance_t * */

/* mod_dbd as a source of connections, for a virtual host. Checks, at the first sight of each
 * connection, that the database belongs to the storage and has the schema (else the connection is
 * refused, and the log says why, once a minute). In `pool`. */
const cib_source_t *cib_instance_source(server_rec *s, apr_pool_t *pool);

#endif

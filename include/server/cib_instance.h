/* Instances: one per storage directory and process, however many virtual hosts name it. What is
 * shared in memory is kept here, by storage and not by server.
 */
#ifndef CIB_INSTANCE_H
#define CIB_INSTANCE_H

#include <httpd.h>
#include "server/cib_board.h"
#include "store/cib_db.h"
#include "store/cib_schema.h"
#include "util/cib_memo.h"

typedef struct cib_gate_t cib_gate_t;

typedef struct cib_instance_t {
    const cib_storage_t *storage;
    cib_store_t *store;
    cib_generation_t *gen;
    cib_memo_t *idle;   /* for core/cib_idle.h */
    server_rec *server; /* the first virtual host that names it */
    cib_slot_t *slot;   /* its numbers in shared memory */
    cib_gate_t *pool;   /* as much room as mod_dbd has connections */
    cib_gate_t *door;   /* one at a time asks mod_dbd */
    apr_time_t asleep;  /* until then its database is not asked for connections (source.c) */
} cib_instance_t;

/* optional_fn_retrieve: find mod_dbd's functions. */
void cib_instances_find_dbd(void);

/* post_config, after cib_board_create: note which storages there are. OK or an HTTP status. */
int cib_instances_declare(apr_pool_t *pconf, server_rec *main_server);

/* child_init: open the storage of every virtual host with `CIBuilds On`. What fails is logged and
 * tried again by cib_instance_of. */
void cib_instances_open(apr_pool_t *pool, server_rec *main_server);

/* The instance of a virtual host; NULL where it has none, and where its storage cannot be opened
 * now (tried again once a second, logged once a minute). Thread-safe; good as long as the process.
 */
cib_instance_t *cib_instance_of(server_rec *s);

/* The first virtual host of each storage: server_rec *. Good from post_config on. */
apr_array_header_t *cib_instance_servers(apr_pool_t *pool);

/* mod_dbd as a source of connections, for a virtual host. Checks, at the first sight of each
 * connection, that the database belongs to the storage and has the schema (else the connection is
 * refused, and the log says why, once a minute). A database that lets those who connect wait until
 * they give up is left alone for a moment. In `pool`; NULL where there is no instance. */
const cib_source_t *cib_instance_source(server_rec *s, apr_pool_t *pool);

/* One line that says why a database in that state does not suit the storage and this program, and
 * what to do; NULL where it does. */
const char *cib_instance_mismatch(const cib_storage_t *storage, const cib_schema_state_t *state,
                                  apr_pool_t *pool);

#endif

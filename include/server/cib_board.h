/* The board: a few numbers about each instance in anonymous shared memory that every process of the
 * server reads and writes, and mod_status shows. It stays over restarts.
 *
 * No locks: a process may be killed at any instruction, and none of this is worth waiting for.
 */
#ifndef CIB_BOARD_H
#define CIB_BOARD_H

#include <httpd.h>

/* One instance's place on it. */
typedef struct cib_slot_t cib_slot_t;

/* post_config: make the board, or find the one that an earlier configuration of this httpd made. OK
 * or an HTTP status, logged. */
int cib_board_create(server_rec *s);

/* The slot of a storage directory; NULL where there are too many of them. post_config only. */
cib_slot_t *cib_board_slot(const char *dir, apr_pool_t *pool);

/* Requests parked by this process, one more (1) or less (-1): by one thread at a time. By all that
 * live. */
void cib_board_parked(cib_slot_t *slot, int change);
int cib_board_parked_now(const cib_slot_t *slot);

/* A parked request was woken to look for a build. And: how often that has been so. */
void cib_board_looked(cib_slot_t *slot);
apr_uint64_t cib_board_looks(const cib_slot_t *slot);

/* The database failed, now; at most 200 bytes of the text are kept. And: when and how it last did;
 * 0 when it never has. */
void cib_board_db_error(cib_slot_t *slot, const char *text);
apr_time_t cib_board_last_db_error(const cib_slot_t *slot, const char **text, apr_pool_t *pool);

/* A turn of upkeep begins: since when this server hears its runners without a break (its start, or
 * the end of an outage, of the database or of the turns). It ended; `heard` 0: runners cannot have
 * been heard, the database is away. */
apr_time_t cib_board_turn_begins(cib_slot_t *slot, apr_time_t now);
void cib_board_turn_ends(cib_slot_t *slot, apr_time_t now, int heard);

/* mod_status's hook: per instance, builds pending and running, runners seen in the last minute,
 * requests parked, and how often one of them was woken to look, the last database error and when.
 * For ?auto the keys are CIBuildsPending and so on, with the instance's number where there are
 * several: CIBuilds2Pending. */
int cib_board_status(request_rec *r, int flags);

#endif

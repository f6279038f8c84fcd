/* What the files of this room share and nobody else sees. */
#ifndef CIB_SERVER_INTERNAL_H
#define CIB_SERVER_INTERNAL_H

#include <apr_time.h>

#include <httpd.h>

#include "server/cib_instance.h"
#include "util/cib_tally.h"

/* --- quiet.c: what repeats itself is logged once a minute */

/* In shared memory: for all processes of the server together. */
typedef struct cib_quiet_t {
    apr_time_t spoke;
} cib_quiet_t;

typedef enum {
    CIB_QUIET_OPEN,   /* the storage cannot be opened */
    CIB_QUIET_REFUSE, /* a database that does not suit */
    CIB_QUIET_TURN,   /* a turn of upkeep failed */
    CIB_QUIET_TOPICS
} cib_quiet_e;

/* The slot's remembrance of one topic (board.c). */
cib_quiet_t *cib_board_quiet(cib_slot_t *slot, cib_quiet_e topic);

/* May this be logged now? To one caller a minute. */
int cib_quiet_may_speak(cib_quiet_t *quiet, apr_time_t now);

/* It is over: the next is worth a line at once. Returns whether anything had been said. */
int cib_quiet_over(cib_quiet_t *quiet);

/* --- guesses.c: wrong tokens, see server/cib_guesses.h */

/* The slot's count of them (board.c). */
cib_tally_t *cib_board_guesses(cib_slot_t *slot);

/* post_config: when this configuration ends, by a restart or a stop, tell what was counted until
 * then. */
void cib_guesses_declare(apr_pool_t *pconf, server_rec *s, cib_slot_t *slot);

/* Tell what a minute has passed for. */
void cib_guesses_tell(const cib_instance_t *instance);

/* --- gate.c */

apr_status_t cib_gate_create(cib_gate_t **gate, int room, apr_pool_t *pool);

/* Enter where there is room, or there comes to be some until that time; else 0. */
int cib_gate_enter(cib_gate_t *gate, apr_time_t until);
void cib_gate_leave(cib_gate_t *gate);

/* --- tree.c */

/* The argument of a directive of another module as it holds for a server: the last one in its
 * section, else the last one of the main server; NULL where neither has it. Only while the
 * configuration is being read or checked. */
const char *cib_tree_argument(const server_rec *s, const char *directive, apr_pool_t *pool);

/* --- startup.c */

/* "www-data", or "uid 33" where nobody is called that. */
const char *cib_user_name(uid_t uid, apr_pool_t *pool);

/* --- probe.c */

/* What is tried at start-up. */
typedef struct cib_probe_t {
    const char *dir;
    const char *driver; /* what mod_dbd will use, and its */
    const char *params;
} cib_probe_t;

typedef struct cib_verdict_t {
    enum { CIB_VERDICT_GOOD, CIB_VERDICT_WARN, CIB_VERDICT_STOP } kind;
    const char *line; /* with its id; no parameters of a connection */
} cib_verdict_t;

/* Open the storage and the database in a child process that is httpd's User and is gone when this
 * returns, after 10 seconds at most. The verdict's line lives in `pool`. */
void cib_probe_run(const cib_probe_t *probe, cib_verdict_t *verdict, apr_pool_t *pool);

/* --- watch.c */

/* child_init: from here on there are turns of upkeep, until `pool` ends, which waits for the one
 * that is being taken. */
void cib_watch_begin(apr_pool_t *pool, server_rec *s);

/* child_init, after that: what ends `pool` in the midst of a section ends the process with it. */
void cib_source_begin(apr_pool_t *pool);

#endif

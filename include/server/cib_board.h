/* The board: a few numbers in anonymous shared memory that every process of the server writes and
 * mod_status reads: requests parked, the last database error and when. */
#ifndef CIB_BOARD_H
#define CIB_BOARD_H

#include <httpd.h>

/* post_config. */
apr_status_t cib_board_create(apr_pool_t *pconf);

void cib_board_parked(int change); /* +1, -1 */
int cib_board_parked_now(void);
void cib_board_db_error(const char *text); /* now; at most 200 bytes are kept */
apr_time_t cib_board_last_db_error(const char **text, apr_pool_t *pool);

/* mod_status's hook: builds pending and running, runners seen in the last minute, requests parked,
 * the last database error and when; per instance; short form for ?auto. */
int cib_board_status(request_rec *r, int flags);

#endif

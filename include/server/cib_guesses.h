/* Wrong tokens: counted by address in the instance's slot of the board, for all processes together,
 * and logged once a minute for each address:
 *
 *   CIB0260 (warning)  wrong tokens from 192.0.2.7, times since the last such line: 499
 *   CIB0261 (info)     the same wrong tokens again from 192.0.2.7, times since the last such line:
 * 20
 *
 * The first is for tokens that the address has not tried lately, as one who guesses does; the
 * second for what a runner does that was removed and was not told. What is counted and not yet told
 * is told by the turns of upkeep (cib_watch.h), at a restart and at a stop.
 */
#ifndef CIB_GUESSES_H
#define CIB_GUESSES_H

#include <httpd.h>

/* The request's token is wrong. NULL or empty is no guess. */
void cib_guess_note(request_rec *r, const char *token);

#endif

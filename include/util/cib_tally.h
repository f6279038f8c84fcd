/* A tally: how often each address did what is not worth a line each time, and when it is to be
 * told: at once, and then once a minute with the number since.
 *
 * Flat and of one size, for memory that processes share; all zero is an empty one. No locks: a
 * process may be killed at any instruction, and then a number is wrong or a place lost at worst. It
 * knows so many addresses as it has places; when all of them are of the last minute, the rest is
 * counted together. So it never tells more than that many lines a minute.
 *
 * What is done again and again in the same way (a token that was good once) is told apart from what
 * is new each time (guesses).
 */
#ifndef CIB_TALLY_H
#define CIB_TALLY_H

#include <apr_time.h>

#define CIB_TALLY_PLACES 256
/* What an address did last, so many different ones. */
#define CIB_TALLY_SEEN 8

typedef struct cib_tally_place_t {
    apr_uint64_t who; /* 0: free */
    apr_time_t told;  /* the last line; 0: never */
    apr_time_t last;  /* when it last did it */
    apr_uint32_t fresh;
    apr_uint32_t again; /* since that line */
    apr_uint32_t turn;
    apr_uint32_t seen[CIB_TALLY_SEEN];
} cib_tally_place_t;

typedef struct cib_tally_t {
    cib_tally_place_t places[CIB_TALLY_PLACES + 1]; /* the last is for all who find no other */
} cib_tally_t;

/* A line that is due. */
typedef struct cib_tally_line_t {
    char who[48];   /* "192.0.2.7", "2001:db8:1:2::/64", "other addresses" */
    unsigned times; /* since the last line about them */
    unsigned fresh; /* of them those that were not the same again */
} cib_tally_line_t;

/* The name of an address of 4 or 16 bytes in network order. An IPv6 address counts as its /64,
 * which is what one client has; an IPv4 address within IPv6 is that. */
apr_uint64_t cib_tally_who(const void *address, apr_size_t len);

/* `who` did it, in the way that `what` names (any number but 0). Nonzero: `*line` is due. */
int cib_tally_count(cib_tally_t *tally, apr_uint64_t who, apr_uint32_t what, apr_time_t now,
                    cib_tally_line_t *line);

/* The next line that is due although nothing more was done, `*at` being 0 at first; 0: there is no
 * more. `all`: before its time, too. Forgets who has been silent for an hour. */
int cib_tally_next(cib_tally_t *tally, int *at, apr_time_t now, int all, cib_tally_line_t *line);

#endif

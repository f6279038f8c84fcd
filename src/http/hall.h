/* The hall: where parked requests wait, in lines, each with a deadline and an eye on its client.
 * Knows sockets and bells, and nothing of connections and requests (park.c does).
 *
 * Thread-safe. A seat belongs to its connection; it is in the hall between cib_hall_enter and
 * cib_hall_leave, and there it waits, or it was woken: then a thread is on its way to it.
 */
#ifndef CIB_HTTP_HALL_H
#define CIB_HTTP_HALL_H

#include <apr_pools.h>
#include <apr_ring.h>

#include "http/cib_park.h"

typedef struct cib_hall_t cib_hall_t;
typedef struct cib_line_t cib_line_t;

typedef struct cib_seat_t {
    /* set before cib_hall_enter */
    const cib_park_order_t *order;
    int socket; /* looked at for the client's going away */
    int bell;   /* rung to wake */
    /* the hall's own */
    APR_RING_ENTRY(cib_seat_t) in_line;
    APR_RING_ENTRY(cib_seat_t) in_time;
    cib_line_t *line; /* NULL: not in the hall */
    apr_time_t until; /* by the monotonic clock */
    int waiting;
    int out;                /* woken, and not back */
    int looking;            /* woken to look for its line */
    cib_park_cause_e cause; /* once woken */
} cib_seat_t;

/* Opens for so many, with a thread of its own, which ends with `pool`. Of those that are woken to
 * look, or because their time is over, at most `at_once` are under way. */
apr_status_t cib_hall_open(cib_hall_t **hall, int capacity, int at_once, apr_pool_t *pool);

/* Begin to wait. 0: there is no room, or the server stops. */
int cib_hall_enter(cib_hall_t *hall, cib_seat_t *seat);

/* One that was woken waits again, for the rest of its time; what it saw (order->seen) holds for
 * its line. */
void cib_hall_again(cib_hall_t *hall, cib_seat_t *seat);

/* Somebody has taken it up, woken or not: it waits no longer, and its socket is not looked at. It
 * stays in the hall. Returns whether it was not woken. */
int cib_hall_hold(cib_hall_t *hall, cib_seat_t *seat);

/* Leave. If it was to look, the next one of its line will. No harm if it is not in the hall. */
void cib_hall_leave(cib_hall_t *hall, cib_seat_t *seat);

/* The thread that it was woken to has done its work, which goes on after it left. */
void cib_hall_free_thread(cib_hall_t *hall, cib_seat_t *seat);

/* See cib_park_look. */
void cib_hall_look(cib_hall_t *hall, const void *place_baton);

/* Wake all; from now on nobody waits. */
void cib_hall_stop(cib_hall_t *hall);

#endif

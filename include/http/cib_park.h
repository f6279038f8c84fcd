/* Parked requests: a request waits for something without holding a thread.
 *
 * Under the event MPM of httpd 2.4.63 or later a connection can be given back to the MPM until its
 * socket is readable. A parked request's connection is given back with an eventfd, its bell, in the
 * place of the socket: to wake the request is to ring the bell, and a worker thread takes it up
 * again. Everywhere else cib_park declines, and the request is answered at once.
 *
 * Requests that wait for the same thing form a line. When there may be something for a line, its
 * first request is woken to look; the others sleep on. One that looks and leaves lets the next one
 * look, for there may be more; one that finds nothing and parks again has looked for all of them.
 */
#ifndef CIB_PARK_H
#define CIB_PARK_H

#include <httpd.h>
#include <ap_mmn.h>

/* Does this httpd have what it takes? The hooks below exist only there. */
#define CIB_CAN_PARK AP_MODULE_MAGIC_AT_LEAST(20120211, 137)

/* What lines are about. Their places are told apart by `baton`. */
typedef struct cib_park_place_t {
    /* A number that changes when there may be something for the line `key`. Called with the hall's
     * mutex held, for every line of the place: it must be quick and not wait. */
    apr_uint64_t (*value)(void *baton, apr_int64_t key);
    /* A request more (1) or less (-1) is parked here. Likewise. */
    void (*count)(void *baton, int change);
    void *baton;
} cib_park_place_t;

typedef enum {
    CIB_PARK_LOOK, /* there may be something */
    CIB_PARK_END,  /* its time is over, or the server stops: to be answered without looking */
} cib_park_cause_e;

typedef struct cib_park_order_t {
    cib_park_place_t place;
    apr_int64_t key;
    /* Up to which value there is nothing, known by a look that began after it was read. */
    apr_uint64_t seen;
    apr_interval_time_t patience; /* below the server's Timeout */
    /* In a worker thread; the client was still there a moment ago. The answer's result, as a
     * handler's, or SUSPENDED to park for the rest of the time, with `seen` renewed (only if the
     * cause was LOOK). */
    int (*resume)(request_rec *r, cib_park_cause_e cause, void *baton);
    void *baton;
} cib_park_order_t;

/* child_init: open the hall where requests wait, for at most `capacity` of them, after a trial of
 * what parking rests on. It closes with `pool`. What fails is logged, and requests are not parked.
 */
void cib_park_open(apr_pool_t *pool, server_rec *s, int capacity);

/* Can the running MPM do it? From post_config on. */
int cib_park_is_possible(void);

/* Park a request whose body was read to its end; `order` must live as long as r->pool. SUSPENDED,
 * for the handler to return; or DECLINED: answer it at once. */
int cib_park(request_rec *r, cib_park_order_t *order);

/* Wake the first of each line of the place whose value has changed. From any thread. */
void cib_park_look(const void *place_baton);

#if CIB_CAN_PARK
/* process_connection, REALLY_FIRST: takes woken requests up. */
int cib_park_connection(conn_rec *c);
/* suspend_connection and resume_connection. */
void cib_park_suspend(conn_rec *c, request_rec *r);
void cib_park_resume(conn_rec *c, request_rec *r);
/* child_stopping: answer all of them. */
void cib_park_stop(apr_pool_t *pool, int graceful);
#endif

#endif

/* Parked requests: the way of a connection from the handler that parks its request, through the
 * MPM, back to a worker thread. Who waits, and when he is woken, is the hall's.
 *
 *   cib_park             the handler: the request gets a seat, SUSPENDED is returned
 *   cib_park_connection  makes of httpd's "suspended" the MPM's "wait until it is readable"
 *   cib_park_suspend     the MPM is about to poll: the bell takes the socket's place
 *   cib_park_resume      the MPM, for whatever reason, goes on: the socket is back
 *   cib_park_connection  again, if it was the bell: the request goes on
 */
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "hall.h"
#include "http/cib_park.h"

#if !CIB_CAN_PARK

int cib_park_is_possible(void)
{
    return 0;
}

void cib_park_open(apr_pool_t *pool, server_rec *s, int capacity)
{
}

int cib_park(request_rec *r, cib_park_order_t *order)
{
    return DECLINED;
}

void cib_park_look(const void *place_baton)
{
}

#else

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <apr_allocator.h>
#include <apr_portable.h>

#include <ap_mpm.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mpm_common.h>
#include <scoreboard.h>

#include "trial.h"

/* How long the first request that is parked may take to come back. */
#define TRIAL_TIME apr_time_from_sec(10)

/* What APR cuts pools out of, but for its own head; and so many of them may be free. */
#define BLOCK 8000
#define RESERVE 3

/* One per connection, made when its first request is parked; in the connection's pool. */
typedef struct parked_t {
    cib_seat_t seat;
    conn_rec *c;
    request_rec *r; /* NULL: none is parked */
    apr_socket_t *socket;
    int swapped; /* the bell is in the socket's place */
    int unwoken; /* the MPM took it up, but nobody had woken it */
    int on_trial;
} parked_t;

static const char key[] = "cib_parked";

/* Of this process. */
static cib_hall_t *hall;

/* Whether the MPM wakes what it was given is seen by the first that is parked: its bell rings at
 * once, and it must come back. */
enum { UNTRIED, TRYING, PROVEN, BROKEN };
static int trial;
static apr_time_t trial_began;

/* The connection whose process_connection hooks this thread runs inside of ours. */
static __thread conn_rec *inside;

static parked_t *parked_on(conn_rec *c)
{
    void *found = NULL;

    apr_pool_userdata_get(&found, key, c->pool);
    return found;
}

/* --- opening */

int cib_park_is_possible(void)
{
    int can = 0;

    return ap_mpm_query(AP_MPMQ_CAN_WAITIO, &can) == APR_SUCCESS && can;
}

/* Woken requests take that many of the MPM's threads at a time. With a quarter of 16 threads none
 * of 2,000 kept-alive connections was closed when all were woken at once, with half of them up to
 * half of the connections, without a bound nearly all: the MPM closes them when no thread is idle.
 */
static int some_threads(void)
{
    int threads = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads > 4 ? threads / 4 : 1;
}

static apr_status_t forget_hall(void *data)
{
    hall = NULL;
    return APR_SUCCESS;
}

void cib_park_open(apr_pool_t *pool, server_rec *s, int capacity)
{
    cib_hall_t *opened;
    apr_pool_t *scratch;
    apr_status_t rv;

    hall = NULL;
    if (!cib_park_is_possible())
        return;
    trial = UNTRIED;
    apr_pool_create(&scratch, pool);
    rv = cib_trial(scratch);
    apr_pool_destroy(scratch);
    if (rv == APR_SUCCESS)
        rv = cib_hall_open(&opened, capacity, some_threads(), pool);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "CIB0130: requests cannot be parked here, they are answered at once");
        return;
    }
    hall = opened;
    apr_pool_pre_cleanup_register(pool, NULL, forget_hall);
}

/* --- parking */

/* The connection dies: by the MPM's hand if a request is parked still. */
static apr_status_t connection_cleanup(void *data)
{
    parked_t *parked = data;

    if (hall) {
        cib_hall_leave(hall, &parked->seat);
        cib_hall_free_thread(hall, &parked->seat);
    }
    if (parked->seat.bell >= 0)
        close(parked->seat.bell);
    parked->seat.bell = -1;
    return APR_SUCCESS;
}

static parked_t *make_parked(conn_rec *c)
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    parked_t *parked;

    if (bell < 0)
        return NULL;
    parked = apr_pcalloc(c->pool, sizeof(*parked));
    parked->c = c;
    parked->seat.bell = bell;
    apr_pool_userdata_setn(parked, key, NULL, c->pool);
    apr_pool_cleanup_register(c->pool, parked, connection_cleanup, apr_pool_cleanup_null);
    return parked;
}

/* Streams of HTTP/2 have no socket, and filters that clog the input are read by a waiting thread.
 */
static int can_be_parked(const request_rec *r)
{
    const conn_rec *c = r->connection;

    return c->cs && !c->master && !c->clogging_input_filters && !c->aborted && !r->main && !r->prev;
}

static int trial_holds(request_rec *r)
{
    int state = __atomic_load_n(&trial, __ATOMIC_SEQ_CST);

    if (state == TRYING &&
        apr_time_now() - __atomic_load_n(&trial_began, __ATOMIC_SEQ_CST) > TRIAL_TIME) {
        __atomic_store_n(&trial, BROKEN, __ATOMIC_SEQ_CST);
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "CIB0131: this MPM does not wake what was parked: requests are answered at "
                      "once");
    }
    return state != BROKEN;
}

/* What a connection keeps in reserve, having read and parsed, is of no use to one that waits: a
 * block is a page or two, and the connection has five. APR gives back to the system what is freed
 * beyond a limit; so what may be there is taken, and freed with nearly none. */
static void give_back_reserve(conn_rec *c)
{
    apr_allocator_t *allocator = apr_pool_allocator_get(c->pool);
    apr_memnode_t *reserve = NULL;

    apr_allocator_max_free_set(allocator, 1);
    for (int i = 0; i < RESERVE; i++) {
        apr_memnode_t *node = apr_allocator_alloc(allocator, BLOCK);

        if (!node)
            break;
        node->next = reserve;
        reserve = node;
    }
    if (reserve)
        apr_allocator_free(allocator, reserve);
    apr_allocator_max_free_set(allocator, ap_max_mem_free);
}

/* The first one is the trial. */
static int begins_trial(void)
{
    int untried = __atomic_load_n(&trial, __ATOMIC_SEQ_CST);

    if (untried != UNTRIED)
        return 0;
    __atomic_store_n(&trial_began, apr_time_now(), __ATOMIC_SEQ_CST);
    return __atomic_compare_exchange_n(&trial, &untried, TRYING, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

int cib_park(request_rec *r, cib_park_order_t *order)
{
    conn_rec *c = r->connection;
    parked_t *parked;

    if (!hall || !can_be_parked(r) || !trial_holds(r))
        return DECLINED;
    parked = parked_on(c);
    if (!parked)
        parked = make_parked(c);
    if (!parked)
        return DECLINED;
    parked->socket = ap_get_conn_socket(c);
    if (apr_os_sock_get(&parked->seat.socket, parked->socket) != APR_SUCCESS)
        return DECLINED;
    parked->seat.order = order;
    if (!cib_hall_enter(hall, &parked->seat)) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                      "CIB0132: no room to park another request in this process");
        return DECLINED;
    }
    parked->r = r;
    parked->on_trial = begins_trial();
    give_back_reserve(c);
    return SUSPENDED;
}

void cib_park_look(const void *place_baton)
{
    if (hall)
        cib_hall_look(hall, place_baton);
}

void cib_park_stop(apr_pool_t *pool, int graceful)
{
    if (hall)
        cib_hall_stop(hall);
}

/* --- between the MPM and us */

static int give_to_mpm(conn_rec *c)
{
    c->cs->state = CONN_STATE_ASYNC_WAITIO;
    c->cs->sense = CONN_SENSE_WANT_READ;
    return OK;
}

void cib_park_suspend(conn_rec *c, request_rec *r)
{
    parked_t *parked = hall && !c->master ? parked_on(c) : NULL;

    if (!parked || !parked->r || parked->swapped || c->cs->state != CONN_STATE_ASYNC_WAITIO)
        return;
    apr_os_sock_put(&parked->socket, &parked->seat.bell, c->pool);
    parked->swapped = 1;
    if (parked->on_trial)
        eventfd_write(parked->seat.bell, 1);
}

/* The MPM may have closed what it took for the socket. */
static void swap_back(parked_t *parked)
{
    apr_os_sock_t at = -1;

    parked->swapped = 0;
    if (apr_os_sock_get(&at, parked->socket) == APR_SUCCESS && at == parked->seat.bell) {
        apr_os_sock_put(&parked->socket, &parked->seat.socket, parked->c->pool);
    } else {
        close(parked->seat.socket);
        parked->seat.bell = -1;
    }
}

/* Also called when the connection has timed out or is to be closed: then nothing of ours follows
 * but the cleanup. */
void cib_park_resume(conn_rec *c, request_rec *r)
{
    parked_t *parked = c->master ? NULL : parked_on(c);

    if (!parked || !parked->swapped)
        return;
    if (hall)
        parked->unwoken = cib_hall_hold(hall, &parked->seat);
    swap_back(parked);
}

/* --- going on */

static int client_is_there(const parked_t *parked)
{
    struct pollfd look = {.fd = parked->seat.socket, .events = POLLRDHUP};
    int n;

    do
        n = poll(&look, 1, 0);
    while (n < 0 && errno == EINTR);
    return n == 0;
}

/* Nobody reads the answer: none is made. The log shows what others see of broken requests. */
static void let_go(request_rec *r)
{
    r->connection->aborted = 1;
    r->status = HTTP_BAD_REQUEST;
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "CIB0133: a parked request's client went away");
}

/* What its handler says of it; SUSPENDED: it is parked again. */
static int go_on(parked_t *parked)
{
    request_rec *r = parked->r;
    const cib_park_order_t *order = parked->seat.order;
    int result;

    ap_update_child_status(r->connection->sbh, SERVER_BUSY_WRITE, r);
    apr_thread_mutex_lock(r->invoke_mtx);
    result = order->resume(r, parked->seat.cause, order->baton);
    apr_thread_mutex_unlock(r->invoke_mtx);
    return result;
}

/* The end of a request, as the core does it after a handler. */
static int finish(parked_t *parked, int result)
{
    request_rec *r = parked->r;

    parked->r = NULL;
    cib_hall_leave(hall, &parked->seat);
    if (!r->connection->aborted)
        ap_die(result, r);
    ap_process_request_after_handler(r); /* `r` is gone */
    cib_hall_free_thread(hall, &parked->seat);
    return OK;
}

static int park_again(parked_t *parked)
{
    give_back_reserve(parked->c);
    cib_hall_again(hall, &parked->seat);
    return give_to_mpm(parked->c);
}

/* Did it come back because its bell rang? */
static int has_rung(parked_t *parked)
{
    eventfd_t ignored;
    int rang = eventfd_read(parked->seat.bell, &ignored) == 0;

    if (rang)
        __atomic_store_n(&trial, PROVEN, __ATOMIC_SEQ_CST);
    return rang;
}

static int take_up(parked_t *parked)
{
    int rang = has_rung(parked);
    int tried = rang && parked->on_trial && parked->unwoken;
    int result;

    parked->on_trial = 0;
    if (!client_is_there(parked)) {
        let_go(parked->r);
        return finish(parked, OK);
    }
    if (tried)
        return park_again(parked);
    result = go_on(parked);
    return result == SUSPENDED ? park_again(parked) : finish(parked, result);
}

/* A connection's next turn, of whatever kind, runs inside of this: only here can be said what
 * becomes of a request that its handler has suspended. */
static int run_inside(conn_rec *c)
{
    conn_rec *outside = inside;
    parked_t *parked;
    int result;

    inside = c;
    result = ap_run_process_connection(c);
    inside = outside;
    if (c->cs->state != CONN_STATE_SUSPENDED)
        return result;
    parked = parked_on(c);
    return parked && parked->r ? give_to_mpm(c) : result;
}

int cib_park_connection(conn_rec *c)
{
    parked_t *parked;

    if (!hall || !c->cs || c->master || inside == c)
        return DECLINED;
    parked = parked_on(c);
    return parked && parked->r ? take_up(parked) : run_inside(c);
}

#endif

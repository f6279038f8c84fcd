/* The hall: lines, deadlines, and the keeper, a thread that watches both deadlines and clients. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "hall.h"

#define EVENTS 256
#define NEVER APR_INT64_MAX

APR_RING_HEAD(cib_seats_t, cib_seat_t);
APR_RING_HEAD(cib_lines_t, cib_line_t);

/* No gaps: it is hashed as bytes. */
typedef struct line_key_t {
    const void *place;
    apr_int64_t key;
} line_key_t;
_Static_assert(sizeof(line_key_t) == sizeof(void *) + sizeof(apr_int64_t), "a key has no gaps");

/* Who waits for the same. There while anybody of it is in the hall, then spare. */
struct cib_line_t {
    APR_RING_ENTRY(cib_line_t) link; /* among the spare ones, or the due ones */
    line_key_t key;
    cib_park_place_t place;
    struct cib_seats_t waiting; /* in the order they came */
    int members;                /* in the hall, waiting or woken */
    int due;                    /* the first one is to look as soon as it is the line's turn */
    int looking;                /* one of them was woken to look and is not back */
    apr_uint64_t seen;          /* up to here somebody has looked, or is looking */
};

struct cib_hall_t {
    apr_thread_mutex_t *mutex; /* over all of it, and every seat in it */
    apr_pool_t *pool;
    apr_hash_t *lines;            /* line_key_t to cib_line_t */
    struct cib_lines_t spare;     /* memory for lines to come */
    struct cib_lines_t due;       /* lines whose first is to look */
    struct cib_seats_t deadlines; /* all who wait, the first deadline first */
    int capacity;
    int at_once; /* so many may be woken and not back, */
    int out;     /* and so many are */
    int members;
    int stopping;
    apr_thread_t *keeper;
    int epoll;            /* clients' sockets, and */
    int nudge;            /* what makes the keeper look at the hall anew */
    apr_time_t nap_until; /* when it does so by itself */
    int closing;
};

/* Deadlines must not move with the system's clock. */
static apr_time_t now(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    return apr_time_from_sec(t.tv_sec) + t.tv_nsec / 1000;
}

/* It cannot fail: the counter is far from full, and both kinds of eventfd are ours. */
static void ring(int bell)
{
    while (eventfd_write(bell, 1) != 0 && errno == EINTR)
        continue;
}

static void lock(cib_hall_t *hall)
{
    apr_thread_mutex_lock(hall->mutex);
}

static void unlock(cib_hall_t *hall)
{
    apr_thread_mutex_unlock(hall->mutex);
}

/* --- waiting and waking; the mutex is held from here on */

/* The keeper sleeps until the first deadline that it knew of, or for good while too many are out.
 */
static void nudge_keeper(cib_hall_t *hall)
{
    apr_time_t first;

    if (hall->out >= hall->at_once || APR_RING_EMPTY(&hall->deadlines, cib_seat_t, in_time))
        return;
    first = APR_RING_FIRST(&hall->deadlines)->until;
    if (first >= hall->nap_until)
        return;
    hall->nap_until = first;
    ring(hall->nudge);
}

/* Mostly everybody has the same patience: the place is at the end. */
static void insert_by_time(cib_hall_t *hall, cib_seat_t *seat)
{
    cib_seat_t *before = APR_RING_LAST(&hall->deadlines);

    while (before != APR_RING_SENTINEL(&hall->deadlines, cib_seat_t, in_time) &&
           before->until > seat->until)
        before = APR_RING_PREV(before, in_time);
    if (before == APR_RING_SENTINEL(&hall->deadlines, cib_seat_t, in_time))
        APR_RING_INSERT_HEAD(&hall->deadlines, seat, cib_seat_t, in_time);
    else
        APR_RING_INSERT_AFTER(before, seat, in_time);
    nudge_keeper(hall);
}

/* No longer waiting; the socket's number may soon be another's. */
static void take_out(cib_hall_t *hall, cib_seat_t *seat)
{
    if (!seat->waiting)
        return;
    seat->waiting = 0;
    APR_RING_REMOVE(seat, in_line);
    APR_RING_REMOVE(seat, in_time);
    epoll_ctl(hall->epoll, EPOLL_CTL_DEL, seat->socket, NULL);
    seat->line->place.count(seat->line->place.baton, -1);
}

static void wake(cib_hall_t *hall, cib_seat_t *seat, cib_park_cause_e cause)
{
    if (!seat->waiting)
        return;
    take_out(hall, seat);
    seat->cause = cause;
    seat->out = 1;
    hall->out++;
    ring(seat->bell);
}

/* One that was woken is back, whatever becomes of it. */
static void come_back(cib_hall_t *hall, cib_seat_t *seat)
{
    hall->out -= seat->out;
    seat->out = 0;
}

/* Who waited already and comes back stays the first of its line. */
static int sit_down(cib_hall_t *hall, cib_seat_t *seat, int first)
{
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = seat};

    if (epoll_ctl(hall->epoll, EPOLL_CTL_ADD, seat->socket, &event) != 0)
        return 0;
    if (first)
        APR_RING_INSERT_HEAD(&seat->line->waiting, seat, cib_seat_t, in_line);
    else
        APR_RING_INSERT_TAIL(&seat->line->waiting, seat, cib_seat_t, in_line);
    insert_by_time(hall, seat);
    seat->waiting = 1;
    seat->line->place.count(seat->line->place.baton, 1);
    return 1;
}

/* --- lines */

static apr_uint64_t value_of(const cib_line_t *line)
{
    return line->place.value(line->place.baton, line->key.key);
}

/* The value is read before the look that begins here: what changes from now on makes another one.
 */
static void let_first_look(cib_hall_t *hall, cib_line_t *line)
{
    cib_seat_t *seat;

    if (line->looking || APR_RING_EMPTY(&line->waiting, cib_seat_t, in_line))
        return;
    seat = APR_RING_FIRST(&line->waiting);
    line->seen = value_of(line);
    line->looking = seat->looking = 1;
    wake(hall, seat, CIB_PARK_LOOK);
}

static void see_whose_time_is_over(cib_hall_t *hall)
{
    apr_time_t moment = now();

    while (hall->out < hall->at_once && !APR_RING_EMPTY(&hall->deadlines, cib_seat_t, in_time) &&
           APR_RING_FIRST(&hall->deadlines)->until <= moment)
        wake(hall, APR_RING_FIRST(&hall->deadlines), CIB_PARK_END);
}

static void make_undue(cib_line_t *line)
{
    if (line->due)
        APR_RING_REMOVE(line, link);
    line->due = 0;
}

/* Those woken at one time must not take every thread of the process: others want to be served, and
 * a busy MPM closes kept-alive connections. The rest is woken as they come back. */
static void wake_some(cib_hall_t *hall)
{
    while (hall->out < hall->at_once && !APR_RING_EMPTY(&hall->due, cib_line_t, link)) {
        cib_line_t *line = APR_RING_FIRST(&hall->due);

        make_undue(line);
        let_first_look(hall, line);
    }
    see_whose_time_is_over(hall);
    nudge_keeper(hall);
}

static void make_due(cib_hall_t *hall, cib_line_t *line)
{
    if (line->due)
        return;
    line->due = 1;
    APR_RING_INSERT_TAIL(&hall->due, line, cib_line_t, link);
}

/* While one is looking this waits until that one is back. */
static void make_due_if_changed(cib_hall_t *hall, cib_line_t *line)
{
    if (!line->looking && !line->due && value_of(line) != line->seen)
        make_due(hall, line);
}

static cib_line_t *make_line(cib_hall_t *hall)
{
    cib_line_t *line = APR_RING_FIRST(&hall->spare);

    if (APR_RING_EMPTY(&hall->spare, cib_line_t, link))
        return apr_palloc(hall->pool, sizeof(*line));
    APR_RING_REMOVE(line, link);
    return line;
}

/* The line of an order, begun where there is none. */
static cib_line_t *line_for(cib_hall_t *hall, const cib_park_order_t *order)
{
    const line_key_t key = {order->place.baton, order->key};
    cib_line_t *line = apr_hash_get(hall->lines, &key, sizeof(key));

    if (line)
        return line;
    line = make_line(hall);
    *line = (cib_line_t){.key = key, .place = order->place, .seen = order->seen};
    APR_RING_INIT(&line->waiting, cib_seat_t, in_line);
    apr_hash_set(hall->lines, &line->key, sizeof(line->key), line);
    return line;
}

static void join(cib_hall_t *hall, cib_seat_t *seat)
{
    seat->line = line_for(hall, seat->order);
    seat->line->members++;
    hall->members++;
}

static void part(cib_hall_t *hall, cib_seat_t *seat)
{
    cib_line_t *line = seat->line;

    seat->line = NULL;
    hall->members--;
    if (--line->members > 0)
        return;
    make_undue(line);
    apr_hash_set(hall->lines, &line->key, sizeof(line->key), NULL);
    APR_RING_INSERT_HEAD(&hall->spare, line, cib_line_t, link);
}

/* --- the keeper */

/* What epoll says now, under the mutex: every seat it speaks of is in the hall. */
static void see_who_left(cib_hall_t *hall)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(hall->epoll, events, EVENTS, 0);

    for (int i = 0; i < n; i++) {
        eventfd_t ignored;

        if (events[i].data.ptr)
            wake(hall, events[i].data.ptr, CIB_PARK_END);
        else
            eventfd_read(hall->nudge, &ignored);
    }
}

/* How long it may sleep, in milliseconds, -1: until something happens. */
static int plan_nap(cib_hall_t *hall)
{
    apr_interval_time_t left;

    hall->nap_until = NEVER;
    if (APR_RING_EMPTY(&hall->deadlines, cib_seat_t, in_time) || hall->out >= hall->at_once)
        return -1; /* who comes back wakes who is due */
    hall->nap_until = APR_RING_FIRST(&hall->deadlines)->until;
    left = (hall->nap_until - now()) / 1000 + 1;
    if (left < 0)
        return 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

static void *APR_THREAD_FUNC keep(apr_thread_t *thread, void *baton)
{
    cib_hall_t *hall = baton;
    struct pollfd something = {.fd = hall->epoll, .events = POLLIN};
    int closing = 0, nap = -1;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* they are the MPM's */
    while (!closing) {
        poll(&something, 1, nap);
        lock(hall);
        see_who_left(hall);
        wake_some(hall);
        nap = plan_nap(hall);
        closing = hall->closing;
        unlock(hall);
    }
    return NULL;
}

/* --- the hall; the mutex is not held from here on */

int cib_hall_enter(cib_hall_t *hall, cib_seat_t *seat)
{
    int entered = 0;

    lock(hall);
    if (!hall->stopping && hall->members < hall->capacity) {
        seat->looking = 0;
        seat->until = now() + seat->order->patience;
        join(hall, seat);
        entered = sit_down(hall, seat, 0);
        if (entered)
            make_due_if_changed(hall, seat->line); /* between the look and now */
        else
            part(hall, seat);
        wake_some(hall);
    }
    unlock(hall);
    return entered;
}

void cib_hall_again(cib_hall_t *hall, cib_seat_t *seat)
{
    cib_line_t *line = seat->line;

    lock(hall);
    come_back(hall, seat);
    if (seat->looking) {
        seat->looking = line->looking = 0;
        line->seen = seat->order->seen;
    }
    if (!sit_down(hall, seat, 1)) {
        seat->cause = CIB_PARK_END;
        ring(seat->bell);
    } else if (hall->stopping) {
        wake(hall, seat, CIB_PARK_END);
    }
    make_due_if_changed(hall, line);
    wake_some(hall);
    unlock(hall);
}

int cib_hall_hold(cib_hall_t *hall, cib_seat_t *seat)
{
    int unwoken;

    lock(hall);
    unwoken = seat->waiting;
    if (unwoken)
        seat->cause = CIB_PARK_END;
    take_out(hall, seat);
    unlock(hall);
    return unwoken;
}

void cib_hall_leave(cib_hall_t *hall, cib_seat_t *seat)
{
    lock(hall);
    if (seat->line) {
        take_out(hall, seat);
        if (seat->looking) {
            seat->looking = seat->line->looking = 0;
            make_due(hall, seat->line); /* there may be more */
        }
        part(hall, seat);
        wake_some(hall);
    }
    unlock(hall);
}

void cib_hall_free_thread(cib_hall_t *hall, cib_seat_t *seat)
{
    lock(hall);
    come_back(hall, seat);
    wake_some(hall);
    unlock(hall);
}

void cib_hall_look(cib_hall_t *hall, const void *place_baton)
{
    apr_hash_index_t *at;

    lock(hall);
    for (at = apr_hash_first(NULL, hall->lines); at; at = apr_hash_next(at)) {
        cib_line_t *line = apr_hash_this_val(at);

        if (line->key.place == place_baton)
            make_due_if_changed(hall, line);
    }
    wake_some(hall);
    unlock(hall);
}

static void wake_all(cib_hall_t *hall)
{
    while (!APR_RING_EMPTY(&hall->deadlines, cib_seat_t, in_time))
        wake(hall, APR_RING_FIRST(&hall->deadlines), CIB_PARK_END);
}

void cib_hall_stop(cib_hall_t *hall)
{
    lock(hall);
    hall->stopping = 1;
    wake_all(hall);
    unlock(hall);
}

/* Before anything that the places need is gone. Nobody may be left to be counted. */
static apr_status_t hall_cleanup(void *data)
{
    cib_hall_t *hall = data;
    apr_status_t ended;

    lock(hall);
    hall->stopping = hall->closing = 1;
    wake_all(hall);
    unlock(hall);
    ring(hall->nudge);
    if (hall->keeper)
        apr_thread_join(&ended, hall->keeper);
    close(hall->nudge);
    close(hall->epoll);
    return APR_SUCCESS;
}

/* The keeper's eyes. */
static apr_status_t open_eyes(cib_hall_t *hall)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    apr_status_t rv;

    hall->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (hall->epoll < 0)
        return errno;
    hall->nudge = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (hall->nudge >= 0 && epoll_ctl(hall->epoll, EPOLL_CTL_ADD, hall->nudge, &event) == 0)
        return APR_SUCCESS;
    rv = errno;
    close(hall->epoll);
    if (hall->nudge >= 0)
        close(hall->nudge);
    return rv;
}

apr_status_t cib_hall_open(cib_hall_t **hall, int capacity, int at_once, apr_pool_t *pool)
{
    cib_hall_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    if (rv == APR_SUCCESS)
        rv = open_eyes(made);
    if (rv != APR_SUCCESS)
        return rv;
    made->pool = pool;
    made->lines = apr_hash_make(pool);
    APR_RING_INIT(&made->spare, cib_line_t, link);
    APR_RING_INIT(&made->due, cib_line_t, link);
    APR_RING_INIT(&made->deadlines, cib_seat_t, in_time);
    made->capacity = capacity;
    made->at_once = at_once;
    made->nap_until = NEVER;
    apr_pool_pre_cleanup_register(pool, made, hall_cleanup);
    rv = apr_thread_create(&made->keeper, NULL, keep, made, pool);
    *hall = made;
    return rv;
}

/* Who did how often what is told once a minute only. */
#include <stddef.h>
#include <string.h>

#include <apr_strings.h>

#include "util/cib_tally.h"

#define MINUTE apr_time_from_sec(60)
#define HOUR apr_time_from_sec(3600)

/* Names are the first half of an IPv6 address. These begin none that a client can have: IPv4 as
 * ffff:ffff:a.b.c.d, what would be 0, and a place that changes hands. */
#define IPV4 (~(apr_uint64_t)0 << 32)
#define ZERO 1
#define BUSY 2

/* Others may be quicker to take a place that was free, but not so often. */
#define TRIES 16

/* --- names */

static apr_uint64_t big_endian(const unsigned char *bytes, int len)
{
    apr_uint64_t number = 0;

    for (int i = 0; i < len; i++)
        number = number << 8 | bytes[i];
    return number;
}

apr_uint64_t cib_tally_who(const void *address, apr_size_t len)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const unsigned char *bytes = address;
    apr_uint64_t prefix;

    if (len == 16 && !memcmp(bytes, mapped, sizeof(mapped)))
        return IPV4 | big_endian(bytes + sizeof(mapped), 4);
    if (len == 4)
        return IPV4 | big_endian(bytes, 4);
    prefix = len == 16 ? big_endian(bytes, 8) : 0;
    return prefix ? prefix : ZERO;
}

static void name(apr_uint64_t who, char *text, apr_size_t size)
{
    const unsigned low = (unsigned)(who & 0xffffffff);
    const unsigned high = (unsigned)(who >> 32);

    if ((who & IPV4) == IPV4)
        apr_snprintf(text, size, "%u.%u.%u.%u", low >> 24, low >> 16 & 255, low >> 8 & 255,
                     low & 255);
    else if (who == ZERO)
        apr_cpystrn(text, "::/64", size);
    else
        apr_snprintf(text, size, "%x:%x:%x:%x::/64", high >> 16, high & 0xffff, low >> 16,
                     low & 0xffff);
}

/* --- places */

static apr_uint64_t owner(const cib_tally_place_t *place)
{
    return __atomic_load_n(&place->who, __ATOMIC_ACQUIRE);
}

static int passed(apr_time_t since, apr_time_t now, apr_interval_time_t span)
{
    return since > now || now - since >= span;
}

static apr_time_t last_of(const cib_tally_place_t *place)
{
    return __atomic_load_n(&place->last, __ATOMIC_RELAXED);
}

static int has_untold(const cib_tally_place_t *place)
{
    return __atomic_load_n(&place->fresh, __ATOMIC_RELAXED) ||
           __atomic_load_n(&place->again, __ATOMIC_RELAXED);
}

/* Who has only just taken a place has not done anything yet. */
static int is_silent(const cib_tally_place_t *place, apr_time_t now, apr_interval_time_t span)
{
    apr_time_t last = last_of(place);

    return last && passed(last, now, span) && !has_untold(place);
}

/* A free place is all zero. Whoever is killed in the middle of this leaves it to nobody. */
static void release(cib_tally_place_t *place, apr_uint64_t who)
{
    if (!__atomic_compare_exchange_n(&place->who, &who, BUSY, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return;
    memset((char *)place + offsetof(cib_tally_place_t, told), 0,
           sizeof(*place) - offsetof(cib_tally_place_t, told));
    __atomic_store_n(&place->who, 0, __ATOMIC_RELEASE);
}

/* The place of `who`, or else the first free one (NULL: there is none). All who look begin at the
 * same one, so that two who come for one name at once do not get two. */
static cib_tally_place_t *find(cib_tally_t *tally, apr_uint64_t who)
{
    cib_tally_place_t *nobodys = NULL;
    unsigned start = (unsigned)((who ^ who >> 32) % CIB_TALLY_PLACES);

    for (unsigned i = 0; i < CIB_TALLY_PLACES; i++) {
        cib_tally_place_t *place = &tally->places[(start + i) % CIB_TALLY_PLACES];
        apr_uint64_t whose = owner(place);

        if (whose == who)
            return place;
        if (!whose && !nobodys)
            nobodys = place;
    }
    return nobodys;
}

/* Free the place of who was silent longest, and for a minute at least. */
static int make_room(cib_tally_t *tally, apr_time_t now)
{
    cib_tally_place_t *oldest = NULL;
    apr_uint64_t whose = 0;

    for (int i = 0; i < CIB_TALLY_PLACES; i++) {
        cib_tally_place_t *place = &tally->places[i];
        apr_uint64_t who = owner(place);

        if (!who || who == BUSY || !is_silent(place, now, MINUTE) ||
            (oldest && last_of(place) >= last_of(oldest)))
            continue;
        oldest = place;
        whose = who;
    }
    if (oldest)
        release(oldest, whose);
    return oldest != NULL;
}

static cib_tally_place_t *place_of(cib_tally_t *tally, apr_uint64_t who, apr_time_t now)
{
    for (int tries = 0; tries < TRIES; tries++) {
        cib_tally_place_t *place = find(tally, who);
        apr_uint64_t none = 0;

        if (!place && !make_room(tally, now))
            break;
        if (place && (owner(place) == who ||
                      __atomic_compare_exchange_n(&place->who, &none, who, 0, __ATOMIC_ACQ_REL,
                                                  __ATOMIC_RELAXED)))
            return place;
    }
    return &tally->places[CIB_TALLY_PLACES];
}

/* --- counting */

static int is_known(cib_tally_place_t *place, apr_uint32_t what)
{
    apr_uint32_t turn;

    for (int i = 0; i < CIB_TALLY_SEEN; i++)
        if (__atomic_load_n(&place->seen[i], __ATOMIC_RELAXED) == what)
            return 1;
    turn = __atomic_fetch_add(&place->turn, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&place->seen[turn % CIB_TALLY_SEEN], what, __ATOMIC_RELAXED);
    return 0;
}

/* Nonzero: it is for this caller to tell what was counted. */
static int take_line(cib_tally_t *tally, cib_tally_place_t *place, apr_uint64_t who, apr_time_t now,
                     int all, cib_tally_line_t *line)
{
    apr_time_t told = __atomic_load_n(&place->told, __ATOMIC_RELAXED);

    if (told && !all && !passed(told, now, MINUTE))
        return 0;
    if (!__atomic_compare_exchange_n(&place->told, &told, now, 0, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return 0;
    line->fresh = __atomic_exchange_n(&place->fresh, 0, __ATOMIC_RELAXED);
    line->times = line->fresh + __atomic_exchange_n(&place->again, 0, __ATOMIC_RELAXED);
    if (place == &tally->places[CIB_TALLY_PLACES])
        apr_cpystrn(line->who, "other addresses", sizeof(line->who));
    else
        name(who, line->who, sizeof(line->who));
    return line->times != 0;
}

int cib_tally_count(cib_tally_t *tally, apr_uint64_t who, apr_uint32_t what, apr_time_t now,
                    cib_tally_line_t *line)
{
    cib_tally_place_t *place = place_of(tally, who, now);
    int shared = place == &tally->places[CIB_TALLY_PLACES];

    __atomic_store_n(&place->last, now, __ATOMIC_RELAXED);
    __atomic_add_fetch(!shared && is_known(place, what) ? &place->again : &place->fresh, 1,
                       __ATOMIC_RELAXED);
    return take_line(tally, place, who, now, 0, line);
}

int cib_tally_next(cib_tally_t *tally, int *at, apr_time_t now, int all, cib_tally_line_t *line)
{
    while (*at <= CIB_TALLY_PLACES) {
        cib_tally_place_t *place = &tally->places[*at];
        int shared = *at == CIB_TALLY_PLACES;
        apr_uint64_t who = owner(place);

        ++*at;
        if (!shared && (!who || who == BUSY))
            continue;
        if (has_untold(place) && take_line(tally, place, who, now, all, line))
            return 1;
        if (!shared && is_silent(place, now, HOUR))
            release(place, who);
    }
    return 0;
}

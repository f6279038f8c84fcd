/* Tallies: one line at once, then one a minute with the right number, for as many addresses as
 * there are places, and for the rest together. */
#include <apr_thread_proc.h>

#include "tap.h"

#include "util/cib_tally.h"

#define SEC apr_time_from_sec(1)
#define T0 (1000000 * SEC)

static cib_tally_t tally;
static cib_tally_line_t line;

static void begin(void)
{
    memset(&tally, 0, sizeof(tally));
    memset(&line, 0, sizeof(line));
}

static apr_uint64_t ipv4(unsigned number)
{
    const unsigned char bytes[4] = {10, (unsigned char)(number >> 16), (unsigned char)(number >> 8),
                                    (unsigned char)number};

    return cib_tally_who(bytes, sizeof(bytes));
}

static int count(unsigned number, apr_uint32_t what, apr_time_t now)
{
    return cib_tally_count(&tally, ipv4(number), what, now, &line);
}

static int next(apr_time_t now, int all)
{
    int at = 0;

    return cib_tally_next(&tally, &at, now, all, &line);
}

static void test_names(void)
{
    static const struct {
        unsigned char bytes[16];
        apr_size_t len;
        const char *text;
    } cases[] = {
        {{192, 0, 2, 7}, 4, "192.0.2.7"},
        {{255, 255, 255, 255}, 4, "255.255.255.255"},
        {{0}, 4, "0.0.0.0"},
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 8}, 16, "192.0.2.8"},
        {{0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2, 0xaa, 0, 0, 0, 0, 0, 0, 1}, 16, "2001:db8:1:2::/64"},
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16, "::/64"},
        {{0}, 0, "::/64"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        begin();
        cib_tally_count(&tally, cib_tally_who(cases[i].bytes, cases[i].len), 1, T0, &line);
        is_str(line.who, cases[i].text, "its name is %s", cases[i].text);
    }
}

static void test_minute(void)
{
    begin();
    ok(count(1, 1, T0), "the first is told at once");
    is_int(line.times, 1, "... as one");
    for (apr_uint32_t i = 2; i <= 500; i++)
        if (count(1, i, T0 + 59 * SEC))
            ok(0, "told too soon");
    ok(!next(T0 + 60 * SEC - 1, 0), "within the minute there is nothing to tell");
    ok(next(T0 + 60 * SEC, 0), "then there is, even if nothing more is done");
    is_int(line.times, 499, "... the number since");
    is_int(line.fresh, 499, "... all of them new");
    is_str(line.who, "10.0.0.1", "... and who it was");
    ok(!next(T0 + 300 * SEC, 0), "and once");
    ok(count(1, 501, T0 + 120 * SEC), "after the next minute the next is told at once");
    is_int(line.times, 1, "... as one");
    ok(!count(1, 502, T0 + 121 * SEC), "the one after it is not");
    ok(next(T0 + 122 * SEC, 1), "unless it must be told before its time");
    ok(count(2, 1, T0 + 122 * SEC), "another address has its own minute");
    ok(!count(2, 2, T0 + 123 * SEC), "... and its own silence");
    ok(count(2, 3, T0), "a clock that was set back does not silence it");
}

static void test_again(void)
{
    begin();
    count(1, 7, T0);
    for (int i = 0; i < 20; i++)
        count(1, 7, T0 + SEC);
    ok(next(T0 + 61 * SEC, 0), "what is done again is told");
    is_int(line.times, 20, "... with its number");
    is_int(line.fresh, 0, "... as nothing new");
    for (int i = 0; i < 100; i++)
        count(1, 1 + i % CIB_TALLY_SEEN, T0 + 62 * SEC);
    next(T0 + 200 * SEC, 0);
    is_int(line.times, 100, "several ways by turns");
    is_int(line.fresh, CIB_TALLY_SEEN - 1, "... are each new once");
    for (apr_uint32_t i = 0; i < 100; i++)
        count(1, 1000 + i, T0 + 201 * SEC);
    next(T0 + 300 * SEC, 0);
    is_int(line.fresh, 100, "more of them than are remembered are all new");
}

static void test_full(void)
{
    int told = 0;

    begin();
    for (unsigned i = 0; i < CIB_TALLY_PLACES; i++)
        told += count(i, 1, T0 + i);
    is_int(told, CIB_TALLY_PLACES, "each of as many addresses as there are places is told of");
    told = 0;
    for (unsigned i = 0; i < 10000; i++)
        told += count(1000 + i, 1, T0 + SEC);
    is_int(told, 1, "one line for all that find no place");
    is_str(line.who, "other addresses", "... which says so");
    is_int(line.times, 1, "... at once");
    ok(!count(3, 2, T0 + SEC), "who has a place keeps it");
    ok(next(T0 + 61 * SEC, 0), "after a minute");
    is_str(line.who, "10.0.0.3", "... that address is told of");
    ok(next(T0 + 61 * SEC, 0), "... and the others");
    is_str(line.who, "other addresses", "... together");
    is_int(line.times, 9999, "... with their number");
    ok(count(5000, 1, T0 + 62 * SEC), "a place that was silent for a minute is another's");
    is_str(line.who, "10.0.19.136", "... by name");
    ok(count(0, 1, T0 + 62 * SEC), "it was that of who was silent longest");
    ok(!count(3, 2, T0 + 63 * SEC), "and not of who was heard since");
}

static void test_forgotten(void)
{
    begin();
    for (unsigned i = 0; i < 10; i++)
        count(i, 1, T0);
    ok(!next(T0 + 3599 * SEC, 0), "nothing to tell");
    ok(!count(1, 1, T0 + 30 * SEC) || line.fresh == 0, "known for an hour");
    next(T0 + 3600 * SEC, 0);
    next(T0 + 3660 * SEC, 1);
    ok(!next(T0 + 9000 * SEC, 0), "after an hour of silence");
    for (int i = 0; i < CIB_TALLY_PLACES; i++)
        if (tally.places[i].who || tally.places[i].last || tally.places[i].turn)
            ok(0, "place %d is not free", i);
    ok(count(1, 1, T0 + 9001 * SEC), "it is a new one");
    is_int(line.fresh, 1, "... in every way");
}

/* --- many at once */

#define THREADS 8
#define EACH 20000
#define ADDRESSES 40

typedef struct teller_t {
    unsigned lines;
    unsigned times;
} teller_t;

static void *APR_THREAD_FUNC tell(apr_thread_t *thread, void *data)
{
    teller_t *teller = data;
    cib_tally_line_t mine;

    for (unsigned i = 0; i < EACH; i++) {
        if (cib_tally_count(&tally, ipv4(i % ADDRESSES), i + 1, T0, &mine)) {
            teller->lines++;
            teller->times += mine.times;
        }
    }
    return NULL;
}

static void test_together(apr_pool_t *pool)
{
    teller_t tellers[THREADS] = {{0}}, all = {0};
    apr_thread_t *threads[THREADS];
    apr_status_t rv;
    int at = 0;

    begin();
    for (int i = 0; i < THREADS; i++)
        apr_thread_create(&threads[i], NULL, tell, &tellers[i], pool);
    for (int i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, threads[i]);
        all.lines += tellers[i].lines;
        all.times += tellers[i].times;
    }
    is_int(all.lines, ADDRESSES, "%d threads: one line for each of %d addresses", THREADS,
           ADDRESSES);
    while (cib_tally_next(&tally, &at, T0 + 60 * SEC, 0, &line)) {
        all.lines++;
        all.times += line.times;
    }
    is_int(all.lines, 2 * ADDRESSES, "... and one after a minute");
    is_int(all.times, THREADS * EACH, "... and none is lost");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_names();
    test_minute();
    test_again();
    test_full();
    test_forgotten();
    test_together(pool);
    return done_testing();
}

/* How many requests a process may park.
 *
 * The event MPM counts parked connections among those that it holds; beyond ThreadsPerChild plus
 * AsyncRequestWorkerFactor times its idle threads it accepts no more, although all threads are
 * idle. So half of that with all of them idle, and no more than take four fifths of the
 * descriptors, two each.
 */
#include <stdlib.h>
#include <sys/resource.h>

#include <ap_mpm.h>
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "internal.h"
#include "server/cib_waker.h"

APLOG_USE_MODULE(ci_builds);

#define DEFAULT_FACTOR 2.0
#define ENOUGH 1000000

static int capacity;
static int is_by_files; /* their limit sets it, not the factor */
static int is_by_default;

static int least(double a, double b)
{
    double smaller = a < b ? a : b;

    return smaller < ENOUGH ? (int)smaller : ENOUGH;
}

void cib_waker_measure(server_rec *main_server, apr_pool_t *ptemp)
{
    const char *word = cib_tree_argument(main_server, "AsyncRequestWorkerFactor", ptemp);
    double factor = word ? strtod(word, NULL) : DEFAULT_FACTOR;
    struct rlimit files = {0, 0};
    int threads = 0;

    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS ||
        getrlimit(RLIMIT_NOFILE, &files) != 0)
        threads = 0;
    capacity = least(threads * (1 + factor) / 2, (double)files.rlim_cur * 2 / 5);
    is_by_files = capacity < least(threads * (1 + factor) / 2, ENOUGH);
    is_by_default = !word && !is_by_files;
}

/* How many want to wait is not known, but with httpd's own factor they are hardly more than it has
 * threads. */
void cib_waker_tell(const server_rec *main_server)
{
    int processes = 0;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &processes);
    ap_log_error(APLOG_MARK, is_by_default ? APLOG_WARNING : APLOG_NOTICE, 0, main_server,
                 "CIB0291: CIBuildsLongPoll: each process, of at most %d, parks up to %d requests, "
                 "others are answered at once: %s sets that limit%s",
                 processes, capacity,
                 is_by_files ? "the limit of open files" : "AsyncRequestWorkerFactor",
                 is_by_default ? ", and is not in the configuration" : "");
}

int cib_waker_capacity(void)
{
    return capacity;
}

/* What repeats itself is logged once a minute, so that an outage does not fill the disk. */
#include "internal.h"

int cib_quiet_may_speak(cib_quiet_t *quiet, apr_time_t now)
{
    apr_time_t spoke = __atomic_load_n(&quiet->spoke, __ATOMIC_RELAXED);

    if (spoke && spoke <= now && now - spoke < apr_time_from_sec(60))
        return 0;
    return __atomic_compare_exchange_n(&quiet->spoke, &spoke, now, 0, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

int cib_quiet_over(cib_quiet_t *quiet)
{
    return __atomic_exchange_n(&quiet->spoke, 0, __ATOMIC_RELAXED) != 0;
}

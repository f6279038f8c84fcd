/* Memos. */
#include <string.h>

#include <apr_shm.h>
#include <apr_thread_mutex.h>

#include "util/cib_memo.h"

#define PLACES 16384

/* Each digest has one place, which is the last one's that fell there. */
typedef struct place_t {
    unsigned char digest[CIB_SHA256_LEN];
    apr_int64_t number;
    apr_time_t until;
} place_t;

struct cib_memo_t {
    apr_thread_mutex_t *mutex;
    place_t *places;
};

apr_status_t cib_memo_create(cib_memo_t **memo, apr_pool_t *pool)
{
    cib_memo_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_shm_t *memory;

    /* a pool's would be written to, all of it, to be empty */
    if (rv == APR_SUCCESS)
        rv = apr_shm_create(&memory, PLACES * sizeof(place_t), NULL, pool);
    if (rv != APR_SUCCESS)
        return rv;
    made->places = apr_shm_baseaddr_get(memory);
    *memo = made;
    return APR_SUCCESS;
}

static place_t *place_of(cib_memo_t *memo, const unsigned char *digest)
{
    apr_uint32_t number;

    memcpy(&number, digest, sizeof(number));
    return &memo->places[number % PLACES];
}

void cib_memo_put(cib_memo_t *memo, const unsigned char *digest, apr_int64_t number,
                  apr_time_t until)
{
    place_t *place = place_of(memo, digest);

    apr_thread_mutex_lock(memo->mutex);
    memcpy(place->digest, digest, CIB_SHA256_LEN);
    place->number = number;
    place->until = until;
    apr_thread_mutex_unlock(memo->mutex);
}

apr_int64_t cib_memo_get(cib_memo_t *memo, const unsigned char *digest, apr_time_t now,
                         apr_interval_time_t most)
{
    const place_t *place = place_of(memo, digest);
    apr_int64_t number = 0;

    apr_thread_mutex_lock(memo->mutex);
    if (now < place->until && place->until - now <= most &&
        memcmp(place->digest, digest, CIB_SHA256_LEN) == 0)
        number = place->number;
    apr_thread_mutex_unlock(memo->mutex);
    return number;
}

/* The board: what the processes of the server tell each other about an instance. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <apr_shm.h>
#include <apr_strings.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

#include "internal.h"
#include "util/cib_crypto.h"
#include "util/cib_version.h"

APLOG_USE_MODULE(ci_builds);

/* Storage directories that one httpd can have had in its life. */
#define SLOTS 64

/* The last errors, so that two processes that fail at once do not write over each other. */
#define ERRORS 8
#define ERROR_LEN 200

/* So long without a turn (they come each second; a new process waits some ten seconds before it
 * takes over) and nobody knows what was not heard. */
#define GAP apr_time_from_sec(30)

/* Processes that park requests at a time; what those beyond it park is not counted. */
#define PROCESSES 256

/* What one process has parked; it is forgotten with the process, however that ended. */
typedef struct share_t {
    int pid; /* 0: free */
    int parked;
} share_t;

typedef struct failure_t {
    apr_time_t when; /* 0 while it is being written */
    char text[ERROR_LEN + 1];
} failure_t;

struct cib_slot_t {
    char key[CIB_SHA256_HEX + 1]; /* of the directory's name; empty: free */
    share_t shares[PROCESSES];
    apr_uint64_t looks;
    int outage;
    apr_time_t since;
    apr_time_t turned;
    unsigned next_failure;
    failure_t failures[ERRORS];
    cib_quiet_t quiet[CIB_QUIET_TOPICS];
    cib_tally_t guesses;
};

/* Where the board is; outlives the module's being unloaded at a restart. */
typedef struct kept_t {
    apr_shm_t *shm;
    cib_slot_t *slots;
} kept_t;

/* By version: another one may lay the slots out in another way. */
static const char kept_key[] = "ci_builds_board " CIB_VERSION;

static kept_t *kept(void)
{
    kept_t *found = ap_retained_data_get(kept_key);

    return found ? found : ap_retained_data_create(kept_key, sizeof(*found));
}

int cib_board_create(server_rec *s)
{
    kept_t *board = kept();
    apr_size_t size = SLOTS * sizeof(cib_slot_t);
    apr_status_t rv;

    if (board->slots)
        return OK;
    /* without a name: a named one would stand in the way after a SIGKILL */
    rv = apr_shm_create(&board->shm, size, NULL, s->process->pool);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s,
                     "CIB0222: cannot make shared memory of %" APR_SIZE_T_FMT " bytes", size);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    board->slots = apr_shm_baseaddr_get(board->shm);
    memset(board->slots, 0, size);
    return OK;
}

cib_slot_t *cib_board_slot(const char *dir, apr_pool_t *pool)
{
    const char *key = cib_sha256_hex(dir, strlen(dir), pool);
    cib_slot_t *slots = kept()->slots;

    for (int i = 0; slots && i < SLOTS; i++) {
        if (!slots[i].key[0])
            apr_cpystrn(slots[i].key, key, sizeof(slots[i].key));
        if (!strcmp(slots[i].key, key))
            return &slots[i];
    }
    return NULL;
}

cib_quiet_t *cib_board_quiet(cib_slot_t *slot, cib_quiet_e topic)
{
    return &slot->quiet[topic];
}

cib_tally_t *cib_board_guesses(cib_slot_t *slot)
{
    return &slot->guesses;
}

/* --- parked requests */

/* One that may not be asked is no process of this httpd: the number is another's by now. */
static int is_alive(int pid)
{
    return kill(pid, 0) == 0;
}

/* Take a share that is nobody's, or a dead process's. */
static int take(share_t *share, int me)
{
    int pid = __atomic_load_n(&share->pid, __ATOMIC_SEQ_CST);

    if ((pid && is_alive(pid)) ||
        !__atomic_compare_exchange_n(&share->pid, &pid, me, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return 0;
    __atomic_store_n(&share->parked, 0, __ATOMIC_SEQ_CST);
    return 1;
}

static share_t *find_share(cib_slot_t *slot, int me)
{
    for (int i = 0; i < PROCESSES; i++) {
        share_t *share = &slot->shares[(me + i) % PROCESSES];

        if (__atomic_load_n(&share->pid, __ATOMIC_SEQ_CST) == me)
            return share;
    }
    return NULL;
}

static share_t *take_share(cib_slot_t *slot, int me)
{
    for (int i = 0; i < PROCESSES; i++)
        if (take(&slot->shares[(me + i) % PROCESSES], me))
            return &slot->shares[(me + i) % PROCESSES];
    return NULL;
}

void cib_board_parked(cib_slot_t *slot, int change)
{
    share_t *share = find_share(slot, (int)getpid());

    if (!share)
        share = take_share(slot, (int)getpid());
    if (share)
        __atomic_add_fetch(&share->parked, change, __ATOMIC_SEQ_CST);
}

int cib_board_parked_now(const cib_slot_t *slot)
{
    int all = 0;

    for (int i = 0; i < PROCESSES; i++) {
        int pid = __atomic_load_n(&slot->shares[i].pid, __ATOMIC_SEQ_CST);
        int parked = __atomic_load_n(&slot->shares[i].parked, __ATOMIC_SEQ_CST);

        if (parked > 0 && is_alive(pid))
            all += parked;
    }
    return all;
}

void cib_board_looked(cib_slot_t *slot)
{
    __atomic_add_fetch(&slot->looks, 1, __ATOMIC_RELAXED);
}

apr_uint64_t cib_board_looks(const cib_slot_t *slot)
{
    return __atomic_load_n(&slot->looks, __ATOMIC_RELAXED);
}

/* --- the database's errors */

void cib_board_db_error(cib_slot_t *slot, const char *text)
{
    unsigned turn = __atomic_fetch_add(&slot->next_failure, 1, __ATOMIC_RELAXED);
    failure_t *failure = &slot->failures[turn % ERRORS];

    __atomic_store_n(&failure->when, 0, __ATOMIC_SEQ_CST);
    apr_cpystrn(failure->text, text, sizeof(failure->text));
    __atomic_store_n(&failure->when, apr_time_now(), __ATOMIC_SEQ_CST);
}

apr_time_t cib_board_last_db_error(const cib_slot_t *slot, const char **text, apr_pool_t *pool)
{
    apr_time_t latest = 0;

    *text = "";
    for (int i = 0; i < ERRORS; i++) {
        const failure_t *failure = &slot->failures[i];
        apr_time_t when = __atomic_load_n(&failure->when, __ATOMIC_SEQ_CST);
        char copy[ERROR_LEN + 1];

        if (when <= latest)
            continue;
        memcpy(copy, failure->text, sizeof(copy));
        copy[ERROR_LEN] = '\0';
        if (__atomic_load_n(&failure->when, __ATOMIC_SEQ_CST) != when)
            continue; /* it changed under our hands */
        latest = when;
        *text = apr_pstrdup(pool, copy);
    }
    return latest;
}

/* --- turns of upkeep: one process at a time */

apr_time_t cib_board_turn_begins(cib_slot_t *slot, apr_time_t now)
{
    int gap = now < slot->turned || now - slot->turned > GAP;

    if (!slot->since || slot->outage || gap)
        slot->since = now;
    return slot->since;
}

void cib_board_turn_ends(cib_slot_t *slot, apr_time_t now, int heard)
{
    slot->outage = !heard;
    slot->turned = now;
}

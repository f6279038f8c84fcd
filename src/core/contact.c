/* Runners that speak: when they did, from which machine, and what they say of themselves. */
#include <string.h>

#include "core/cib_runner.h"
#include "internal.h"

/* Within this time the changes of a runner's info are counted, and so many are written at once. */
#define INFO_WINDOW apr_time_from_sec(3600)
#define INFO_CHANGES 5

#define SYSTEM_ID_MAX 64

/* --- what is said ---------------------------------------------------------------------------- */

/* Put a text of `info` into the row; says whether that changed it. */
static int merge_text(const char **have, const char *said, apr_pool_t *pool)
{
    const char *text = cib_text_tame(said, CIB_SHORT_MAX, pool);

    if (!text || (*have && strcmp(*have, text) == 0))
        return 0;
    *have = text;
    return 1;
}

/* The texts of an info in a row. */
#define TEXTS(row)                                                                                 \
    (const char **const[])                                                                         \
    {                                                                                              \
        &(row)->name, &(row)->version, &(row)->revision, &(row)->platform, &(row)->architecture    \
    }

static int merge_info(const char **const texts[], const cib_runner_info_t *info, apr_pool_t *pool)
{
    return merge_text(texts[0], info->name, pool) | merge_text(texts[1], info->version, pool) |
           merge_text(texts[2], info->revision, pool) | merge_text(texts[3], info->platform, pool) |
           merge_text(texts[4], info->architecture, pool);
}

/* The name as it is kept; NULL: it has none. */
static const char *tame_system_id(const char *system_id, apr_pool_t *pool)
{
    const char *tame = cib_text_tame(system_id, SYSTEM_ID_MAX, pool);

    return tame && *tame ? tame : NULL;
}

/* --- when it is written ---------------------------------------------------------------------- */

typedef struct contact_t {
    apr_time_t now;
    cib_runner_t runner;
    cib_machine_t machine; /* without a system_id: none is named */
    int is_new;            /* the machine is not known yet */
    int is_full;           /* and so many are that it would take another's place */
    int runner_due;
    int machine_due;
} contact_t;

/* A clock that was set back must not keep anybody offline. */
static int is_old(const contact_t *contact, apr_time_t contacted_at)
{
    return contact->now - contacted_at > CIB_CONTACT_EVERY || contacted_at > contact->now;
}

/* A change of info is due at once, unless there were too many of late. Counts it. */
static int change_due(contact_t *contact)
{
    cib_runner_t *row = &contact->runner;

    if (!row->info_changed_at || contact->now - row->info_changed_at > INFO_WINDOW) {
        row->info_changed_at = contact->now;
        row->info_changes = 0;
    }
    if (row->info_changes >= INFO_CHANGES)
        return 0;
    row->info_changes++;
    return 1;
}

/* The machine's row, or what is to become it. */
static cib_error_t *find_machine(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    contact_t *contact = baton;
    cib_machine_t *row = &contact->machine, *known;
    int count;

    CIB_TRY(cib_q_machine(db, contact->runner.id, row->system_id, &known, pool));
    contact->is_new = !known;
    if (known) {
        *row = *known;
        return CIB_OK;
    }
    row->runner_id = contact->runner.id;
    row->created_at = contact->now;
    CIB_TRY(cib_q_machines_count(db, contact->runner.id, &count, pool));
    contact->is_full = count >= CIB_MACHINES_MAX;
    return CIB_OK;
}

/* What differs is written with the runner's row, where that is counted. So is a new machine: at
 * once as long as there is room, and else not more often than that row is written anyway. */
static void decide(contact_t *contact, const cib_runner_info_t *info, apr_pool_t *pool)
{
    cib_machine_t *machine = &contact->machine;
    int changed = info && merge_info(TEXTS(&contact->runner), info, pool);
    int machine_changed = machine->system_id && merge_info(TEXTS(machine), info, pool);

    if (changed || (machine_changed && !contact->is_new))
        contact->runner_due = change_due(contact);
    contact->runner_due |= is_old(contact, contact->runner.contacted_at);
    contact->runner_due |= contact->is_new && !contact->is_full;
    if (contact->is_new)
        contact->machine_due = contact->runner_due;
    else if (machine->system_id)
        contact->machine_due =
            is_old(contact, machine->contacted_at) || (machine_changed && contact->runner_due);
}

static cib_error_t *write_contact(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const contact_t *contact = baton;

    if (contact->runner_due)
        CIB_TRY(cib_q_runner_contact(db, &contact->runner, pool));
    if (contact->machine_due)
        CIB_TRY(cib_q_machine_put(db, &contact->machine, pool));
    if (!contact->machine_due || !contact->is_new)
        return CIB_OK;
    return cib_q_machines_trim(db, contact->runner.id, contact->now - CIB_MACHINE_FORGOTTEN,
                               CIB_MACHINES_MAX, pool);
}

cib_error_t *cib_runner_contact(const cib_ctx_t *ctx, cib_runner_t *runner,
                                const cib_runner_info_t *info)
{
    contact_t contact = {.now = apr_time_now(), .runner = *runner};

    if (info)
        contact.machine.system_id = tame_system_id(info->system_id, ctx->pool);
    if (contact.machine.system_id)
        CIB_TRY(cib_read(ctx, find_machine, &contact));
    decide(&contact, info, ctx->pool);
    if (!contact.runner_due && !contact.machine_due)
        return CIB_OK;
    if (contact.runner_due)
        contact.runner.contacted_at = contact.now;
    contact.machine.contacted_at = contact.now;
    CIB_TRY(contact.runner_due && contact.machine_due
                ? cib_write(ctx, write_contact, &contact)
                : cib_write_one(ctx, write_contact, &contact));
    if (contact.runner_due)
        *runner = contact.runner;
    return CIB_OK;
}

const char *cib_runner_status(const cib_runner_t *runner, apr_time_t now)
{
    if (!runner->contacted_at)
        return "not_connected";
    if (!runner->active)
        return "paused";
    return now - runner->contacted_at <= CIB_ONLINE_WITHIN ? "online" : "offline";
}

const char *cib_machine_status(const cib_machine_t *machine, apr_time_t now)
{
    return now - machine->contacted_at <= CIB_ONLINE_WITHIN ? "online" : "offline";
}

/* --- machines -------------------------------------------------------------------------------- */

typedef struct machines_t {
    apr_int64_t runner_id;
    const char *system_id;
    apr_array_header_t *list;
} machines_t;

static cib_error_t *list(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    machines_t *machines = baton;

    return cib_q_machines(db, machines->runner_id, &machines->list, pool);
}

cib_error_t *cib_runner_machines(const cib_ctx_t *ctx, apr_int64_t id,
                                 apr_array_header_t **machines)
{
    machines_t asked = {.runner_id = id};

    CIB_TRY(cib_read(ctx, list, &asked));
    *machines = asked.list;
    return CIB_OK;
}

static cib_error_t *forget(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const machines_t *asked = baton;
    int changed;

    CIB_TRY(cib_q_machine_remove(db, asked->runner_id, asked->system_id, &changed, pool));
    if (changed)
        return CIB_OK;
    return cib_error(pool, CIB_REASON_NO_RECORD, APR_SUCCESS,
                     "runner %" APR_INT64_T_FMT " has no machine of that name", asked->runner_id);
}

cib_error_t *cib_runner_forget_machine(const cib_ctx_t *ctx, apr_int64_t id, const char *system_id)
{
    const char *tame = tame_system_id(system_id, ctx->pool);
    machines_t asked = {.runner_id = id, .system_id = tame ? tame : ""};

    return cib_write_one(ctx, forget, &asked);
}

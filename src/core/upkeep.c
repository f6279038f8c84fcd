/* Turns of upkeep. */
#include <string.h>

#include "core/cib_artifact.h"
#include "core/cib_upkeep.h"
#include "folder.h"
#include "internal.h"
#include "overdue.h"
#include "removal.h"
#include "space.h"
#include "transition.h"

/* Who holds the lease and is killed is replaced after that time. */
#define LEASE apr_time_from_sec(10)
/* Ended builds are removed so many at a time. */
#define REMOVE_AT_ONCE 100

/* --- the lease ------------------------------------------------------------------------------- */

typedef struct leasing_t {
    const char *holder;
    apr_time_t now;
    int mine;
} leasing_t;

static cib_error_t *take_lease(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    leasing_t *leasing = baton;

    return cib_q_lease_take(db, "upkeep", leasing->holder, leasing->now, leasing->now + LEASE,
                            &leasing->mine, pool);
}

cib_error_t *cib_upkeep_lease(const cib_ctx_t *ctx, const char *holder, apr_time_t now, int *mine)
{
    leasing_t leasing = {.holder = holder, .now = now};
    cib_error_t *err = cib_write_one(ctx, take_lease, &leasing);

    if (err)
        err->reason = CIB_REASON_UNAVAILABLE;
    *mine = !err && leasing.mine;
    return err;
}

/* --- what expired ---------------------------------------------------------------------------- */

typedef struct finding_t {
    apr_time_t before;
    int limit;
    apr_array_header_t *ids;   /* apr_int64_t */
    apr_int64_t id;            /* of one of them */
    apr_array_header_t *blobs; /* const char *, of it */
} finding_t;

static cib_error_t *find_expired(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    finding_t *finding = baton;

    return cib_q_expired(db, finding->before, finding->limit, &finding->ids, pool);
}

/* Its files may expire at different times. Locked, so that an upload that is just replacing one of
 * them has its row seen and not taken away unseen. */
static cib_error_t *expire_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    finding_t *finding = baton;
    apr_array_header_t *rows;
    cib_build_t *build;

    finding->blobs = apr_array_make(pool, 2, sizeof(const char *));
    CIB_TRY(cib_transition_lock(db, finding->id, &build, pool));
    CIB_TRY(cib_q_artifacts(db, finding->id, &rows, pool));
    for (int i = 0; i < rows->nelts; i++) {
        const cib_artifact_t *row = APR_ARRAY_IDX(rows, i, cib_artifact_t *);

        if (!cib_artifact_expired(row, finding->before))
            continue;
        CIB_TRY(cib_q_artifact_remove(db, row->build_id, row->type, pool));
        APR_ARRAY_PUSH(finding->blobs, const char *) = row->blob;
    }
    return CIB_OK;
}

static cib_error_t *expire(const cib_ctx_t *ctx, apr_time_t now, int batch, int dry,
                           cib_upkeep_report_t *report)
{
    finding_t finding = {.before = now, .limit = batch};

    CIB_TRY(cib_read(ctx, find_expired, &finding));
    for (int i = 0; i < finding.ids->nelts; i++) {
        report->expired++;
        if (dry)
            continue;
        finding.id = APR_ARRAY_IDX(finding.ids, i, apr_int64_t);
        CIB_TRY(cib_write(ctx, expire_rows, &finding));
        cib_blobs_remove(ctx, finding.blobs, &report->freed);
    }
    return CIB_OK;
}

/* --- what is history ------------------------------------------------------------------------- */

static cib_error_t *find_ended(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    finding_t *finding = baton;

    return cib_q_ended_before(db, finding->before, finding->limit, &finding->ids, pool);
}

/* `count` of the ids from `from` on. */
static apr_array_header_t *slice(const apr_array_header_t *ids, int from, int count,
                                 apr_pool_t *pool)
{
    apr_array_header_t *some = apr_array_make(pool, count, sizeof(apr_int64_t));

    for (int i = from; i < from + count; i++)
        APR_ARRAY_PUSH(some, apr_int64_t) = APR_ARRAY_IDX(ids, i, apr_int64_t);
    return some;
}

static cib_error_t *forget(const cib_ctx_t *ctx, apr_time_t now, int batch, int dry,
                           cib_upkeep_report_t *report)
{
    finding_t finding = {.before = now - ctx->limits->history, .limit = batch};

    if (ctx->limits->history == CIB_UNLIMITED)
        return CIB_OK;
    CIB_TRY(cib_read(ctx, find_ended, &finding));
    if (dry) {
        report->removed += finding.ids->nelts;
        return CIB_OK;
    }
    for (int from = 0; from < finding.ids->nelts; from += REMOVE_AT_ONCE) {
        int left = finding.ids->nelts - from;
        int some = left < REMOVE_AT_ONCE ? left : REMOVE_AT_ONCE;

        CIB_TRY(cib_builds_remove(ctx, slice(finding.ids, from, some, ctx->pool),
                                  CIB_REMOVE_UNNEEDED, &report->removed, &report->freed));
    }
    return CIB_OK;
}

/* --- orphans --------------------------------------------------------------------------------- */

static cib_error_t *sweep_folder(const cib_ctx_t *ctx, cib_area_e area, apr_int64_t first_id,
                                 int dry, cib_upkeep_report_t *report)
{
    apr_array_header_t *orphans;

    CIB_TRY(cib_folder_orphans(ctx, area, first_id, &orphans));
    for (int i = 0; i < orphans->nelts; i++) {
        const cib_orphan_t *orphan = &APR_ARRAY_IDX(orphans, i, cib_orphan_t);

        report->orphans++;
        if (!dry)
            cib_folder_remove(ctx, area, orphan, &report->freed);
    }
    return CIB_OK;
}

/* One folder of the area, drawn by lot. So no state has to be kept, or shared with the host that
 * holds the lease next, and yet no folder is passed over for ever. */
static cib_error_t *sweep_drawn(const cib_ctx_t *ctx, cib_area_e area, cib_upkeep_report_t *report)
{
    apr_int64_t first_id;

    CIB_TRY(cib_folder_draw(ctx, area, &first_id));
    return first_id < 0 ? CIB_OK : sweep_folder(ctx, area, first_id, 0, report);
}

/* What cannot be read in the one keeps nobody from the other. */
static cib_error_t *sweep_any(const cib_ctx_t *ctx, cib_upkeep_report_t *report)
{
    cib_error_t *artifacts = sweep_drawn(ctx, CIB_AREA_ARTIFACTS, report);
    cib_error_t *traces = sweep_drawn(ctx, CIB_AREA_TRACES, report);

    return artifacts ? artifacts : traces;
}

static cib_error_t *sweep_area(const cib_ctx_t *ctx, cib_area_e area, int dry,
                               cib_upkeep_report_t *report)
{
    cib_ctx_t below = cib_ctx_below(ctx);
    apr_array_header_t *folders;

    CIB_TRY(cib_folder_list(ctx, area, &folders));
    for (int i = 0; i < folders->nelts; i++) {
        apr_pool_clear(below.pool);
        CIB_TRY(sweep_folder(&below, area, APR_ARRAY_IDX(folders, i, apr_int64_t), dry, report));
    }
    apr_pool_destroy(below.pool);
    return CIB_OK;
}

cib_error_t *cib_upkeep_orphans(const cib_ctx_t *ctx, int dry, cib_upkeep_report_t *report)
{
    CIB_TRY(sweep_area(ctx, CIB_AREA_ARTIFACTS, dry, report));
    return sweep_area(ctx, CIB_AREA_TRACES, dry, report);
}

/* What fails in one part does not keep the others: on a full disk it is they that make room. */
cib_error_t *cib_upkeep_turn(const cib_ctx_t *ctx, apr_time_t now, apr_time_t since, int batch,
                             int dry, cib_upkeep_report_t *report)
{
    cib_error_t *errs[4] = {cib_overdue_turn(ctx, now, since, batch, dry, report)};

    if (errs[0] && errs[0]->reason == CIB_REASON_UNAVAILABLE)
        return errs[0];
    errs[1] = expire(ctx, now, batch, dry, report);
    errs[2] = forget(ctx, now, batch, dry, report);
    errs[3] = dry ? CIB_OK : sweep_any(ctx, report);
    for (int i = 0; i < 4; i++) {
        if (errs[i])
            return errs[i];
    }
    return CIB_OK;
}

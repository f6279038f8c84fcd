/* `check`: database and files held against each other. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_build.h"
#include "core/cib_upkeep.h"
#include "files/cib_blob.h"
#include "folder.h"
#include "internal.h"
#include "transition.h"

#define PAGE 500

typedef struct checking_t {
    const cib_ctx_t *ctx; /* its pool is cleared between pages */
    int repair;
    cib_check_fn tell;
    void *baton;
    int faults;
} checking_t;

static void fault(checking_t *checking, const char *kind, apr_int64_t build_id, const char *line)
{
    checking->faults++;
    checking->tell(checking->baton, kind, build_id, line);
}

/* --- rows without their file ----------------------------------------------------------------- */

typedef struct paging_t {
    apr_int64_t build_id;
    const char *type;
    apr_array_header_t *rows;
    cib_artifact_t *row;
    int drop; /* remove the row where it still is the one that was judged */
} paging_t;

static cib_error_t *next_rows(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    paging_t *paging = baton;

    return cib_q_artifacts_after(db, paging->build_id, paging->type, PAGE, &paging->rows, pool);
}

/* Is the row still there, and naming the same file? Then what was seen of the file counts. */
static cib_error_t *look_again(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    paging_t *paging = baton;
    const cib_artifact_t *judged = paging->row;
    cib_artifact_t *row;
    cib_build_t *build;

    /* nothing puts another in its place between the look and the removal */
    if (paging->drop)
        CIB_TRY(cib_transition_lock(db, judged->build_id, &build, pool));
    CIB_TRY(cib_q_artifact(db, judged->build_id, judged->type, &row, pool));
    if (!row || strcmp(row->blob, judged->blob) != 0)
        paging->row = NULL;
    else if (paging->drop)
        return cib_q_artifact_remove(db, judged->build_id, judged->type, pool);
    return CIB_OK;
}

static int has_folder(const cib_ctx_t *ctx, const cib_artifact_t *row)
{
    return cib_storage_has_folder(ctx->storage, CIB_AREA_ARTIFACTS, row->build_id, ctx->pool);
}

/* What is wrong with the file of a row; NULL: nothing. */
static const char *judge_file(const cib_ctx_t *ctx, const cib_artifact_t *row, const char **kind)
{
    apr_file_t *file;
    apr_int64_t size;
    apr_status_t rv =
        cib_blob_open(&file, &size, ctx->storage, CIB_AREA_ARTIFACTS, row->blob, 0, ctx->pool);

    *kind = "missing";
    if (APR_STATUS_IS_ENOENT(rv))
        return apr_psprintf(ctx->pool, "build %" APR_INT64_T_FMT ": the %s file %s is not there%s",
                            row->build_id, row->type, row->blob,
                            has_folder(ctx, row) ? "" : ", nor is its folder: is it mounted?");
    *kind = "damaged";
    if (rv != APR_SUCCESS)
        return apr_psprintf(ctx->pool,
                            "build %" APR_INT64_T_FMT ": the %s file %s cannot be opened",
                            row->build_id, row->type, row->blob);
    apr_file_close(file);
    if (size == row->size)
        return NULL;
    return apr_psprintf(ctx->pool,
                        "build %" APR_INT64_T_FMT ": the %s file %s has %" APR_INT64_T_FMT
                        " bytes instead of %" APR_INT64_T_FMT,
                        row->build_id, row->type, row->blob, size, row->size);
}

static cib_error_t *check_row(checking_t *checking, cib_artifact_t *row)
{
    paging_t paging = {.row = row};
    const char *kind;
    const char *line = judge_file(checking->ctx, row, &kind);

    if (!line)
        return CIB_OK;
    CIB_TRY(cib_read(checking->ctx, look_again, &paging));
    if (!paging.row)
        return CIB_OK;
    fault(checking, kind, row->build_id, line);
    /* a damaged file may still be of use to somebody, and one that has gone with its folder be back
     * as soon as something is mounted again */
    paging.drop = strcmp(kind, "missing") == 0 && has_folder(checking->ctx, row);
    return checking->repair && paging.drop ? cib_write(checking->ctx, look_again, &paging) : CIB_OK;
}

static cib_error_t *check_rows(checking_t *checking)
{
    paging_t paging = {.build_id = 0, .type = ""};
    char type[128] = "";

    do {
        apr_pool_clear(checking->ctx->pool);
        paging.type = type;
        CIB_TRY(cib_read(checking->ctx, next_rows, &paging));
        for (int i = 0; i < paging.rows->nelts; i++) {
            cib_artifact_t *row = APR_ARRAY_IDX(paging.rows, i, cib_artifact_t *);

            CIB_TRY(check_row(checking, row));
            paging.build_id = row->build_id;
            apr_cpystrn(type, row->type, sizeof(type));
        }
    } while (paging.rows->nelts == PAGE);
    return CIB_OK;
}

/* --- files without a row --------------------------------------------------------------------- */

static cib_error_t *check_folder(checking_t *checking, cib_area_e area, apr_int64_t first_id)
{
    apr_array_header_t *orphans;
    apr_int64_t freed = 0;

    CIB_TRY(cib_folder_orphans(checking->ctx, area, first_id, &orphans));
    for (int i = 0; i < orphans->nelts; i++) {
        const cib_orphan_t *orphan = &APR_ARRAY_IDX(orphans, i, cib_orphan_t);

        fault(checking, "orphan", orphan->build_id,
              apr_psprintf(checking->ctx->pool, "the file %s belongs to no build", orphan->name));
        if (checking->repair)
            cib_folder_remove(checking->ctx, area, orphan, &freed);
    }
    return CIB_OK;
}

static cib_error_t *check_area(checking_t *checking, const cib_ctx_t *ctx, cib_area_e area)
{
    apr_array_header_t *folders;

    CIB_TRY(cib_folder_list(ctx, area, &folders));
    for (int i = 0; i < folders->nelts; i++) {
        apr_pool_clear(checking->ctx->pool);
        CIB_TRY(check_folder(checking, area, APR_ARRAY_IDX(folders, i, apr_int64_t)));
    }
    return CIB_OK;
}

/* --- builds that nothing would move ---------------------------------------------------------- */

typedef struct straying_t {
    cib_stray_e which;
    apr_array_header_t *strays; /* cib_stray_t */
    apr_array_header_t *builds; /* cib_build_t * */
    apr_int64_t id;
    int stuck;
} straying_t;

static cib_error_t *strays(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    straying_t *straying = baton;

    return cib_q_queue_strays(db, straying->which, PAGE, &straying->strays, pool);
}

/* Whatever it is by now: where a pending build belongs it is put, and no row is left elsewhere. */
static cib_error_t *mend_stray(cib_db_t *db, const cib_stray_t *stray, apr_pool_t *pool)
{
    cib_build_t *build;
    int pending;

    CIB_TRY(cib_transition_lock(db, stray->build_id, &build, pool));
    pending = build && build->status == CIB_PENDING;
    if (!pending || build->tagset_id != stray->tagset_id || build->project_id != stray->project_id)
        CIB_TRY(cib_q_dequeue_stray(db, stray, pool));
    return pending ? cib_transition_added(db, build, pool) : CIB_OK;
}

static cib_error_t *mend_queue(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const straying_t *straying = baton;

    for (int i = 0; i < straying->strays->nelts; i++)
        CIB_TRY(mend_stray(db, &APR_ARRAY_IDX(straying->strays, i, cib_stray_t), pool));
    return CIB_OK;
}

static const char *stray_text(cib_stray_e which, const cib_stray_t *stray)
{
    if (which == CIB_STRAY_NOT_QUEUED)
        return "pending and not in the queue";
    return stray->pending ? "in the queue for other tags or another project than its own"
                          : "in the queue and not pending";
}

static cib_error_t *check_queue(checking_t *checking, cib_stray_e which)
{
    const cib_ctx_t *ctx = checking->ctx;
    straying_t straying = {.which = which};

    do {
        apr_pool_clear(ctx->pool);
        CIB_TRY(cib_read(ctx, strays, &straying));
        for (int i = 0; i < straying.strays->nelts; i++) {
            const cib_stray_t *stray = &APR_ARRAY_IDX(straying.strays, i, cib_stray_t);

            fault(checking, "queue", stray->build_id,
                  apr_psprintf(ctx->pool, "build %" APR_INT64_T_FMT " is %s", stray->build_id,
                               stray_text(which, stray)));
        }
        if (checking->repair && straying.strays->nelts)
            CIB_TRY(cib_write(ctx, mend_queue, &straying));
    } while (checking->repair && straying.strays->nelts == PAGE);
    return CIB_OK;
}

static cib_error_t *created(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    straying_t *straying = baton;

    return cib_q_builds(db, CIB_CREATED, 0, straying->id, PAGE, &straying->builds, pool);
}

/* Do its needs allow it to go on although it still waits? The build after the needs: what ends a
 * need moves it in the same transaction. */
static cib_error_t *is_stuck(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    straying_t *straying = baton;
    apr_array_header_t *needs;
    cib_build_t *build;

    CIB_TRY(cib_q_needs(db, straying->id, &needs, pool));
    straying->stuck = cib_transition_first(needs) != CIB_CREATED;
    if (!straying->stuck)
        return CIB_OK;
    CIB_TRY(cib_q_build(db, straying->id, &build, pool));
    straying->stuck = build && build->status == CIB_CREATED;
    return CIB_OK;
}

static cib_error_t *mend_created(cib_db_t *db, void *baton, apr_pool_t *pool)
{
    const straying_t *straying = baton;

    return cib_transition_settle(db, straying->id, apr_time_now(), pool);
}

static cib_error_t *check_created(checking_t *checking)
{
    const cib_ctx_t *ctx = checking->ctx;
    straying_t straying = {.id = 0};

    do {
        apr_pool_clear(ctx->pool);
        CIB_TRY(cib_read(ctx, created, &straying));
        for (int i = 0; i < straying.builds->nelts; i++) {
            straying.id = APR_ARRAY_IDX(straying.builds, i, cib_build_t *)->id;
            CIB_TRY(cib_read(ctx, is_stuck, &straying));
            if (!straying.stuck)
                continue;
            fault(checking, "waiting", straying.id,
                  apr_psprintf(ctx->pool,
                               "build %" APR_INT64_T_FMT
                               " waits although all that it needs has ended",
                               straying.id));
            if (checking->repair)
                CIB_TRY(cib_write(ctx, mend_created, &straying));
        }
    } while (straying.builds->nelts == PAGE);
    return CIB_OK;
}

cib_error_t *cib_check(const cib_ctx_t *ctx, int repair, cib_check_fn tell, void *baton,
                       int *faults)
{
    cib_ctx_t below = cib_ctx_below(ctx);
    checking_t checking = {.ctx = &below, .repair = repair, .tell = tell, .baton = baton};

    *faults = 0;
    CIB_TRY(check_rows(&checking));
    CIB_TRY(check_area(&checking, ctx, CIB_AREA_ARTIFACTS));
    CIB_TRY(check_area(&checking, ctx, CIB_AREA_TRACES));
    CIB_TRY(check_queue(&checking, CIB_STRAY_NOT_QUEUED));
    CIB_TRY(check_queue(&checking, CIB_STRAY_QUEUED));
    CIB_TRY(check_created(&checking));
    apr_pool_destroy(below.pool);
    *faults = checking.faults;
    return CIB_OK;
}

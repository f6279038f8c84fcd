/* The queue: which build a runner gets.
 *
 * A lane is a project and a tag set; the queue's key begins with both, so the head of a lane is one
 * seek. A claim looks at the lanes a runner may take and at nothing else: ended builds and pending
 * ones of other tags are never read. A specific runner's lanes are its projects by the tag sets it
 * takes. A shared one's are found by hopping, for each tag set it takes, from project to next
 * project that has something pending.
 *
 * The heads are sought by scalar subqueries for one row in the key's order on purpose: these a
 * planner cannot turn into a join that reads all of the queue, whatever it thinks of its size.
 */
#include <apr_strings.h>

#include "builds.h"
#include "store/cib_questions.h"

/* How many times a claim on PostgreSQL goes for candidates of which others were quicker to get
 * each, how wide it looks at first, and how much wider each time. */
#define MAX_ROUNDS 12
#define FIRST_WINDOW 8
#define WINDOW_FACTOR 4
#define MAX_WINDOW 64

/* Rounds after which it waits for the first candidate's lock instead of skipping it: who holds it
 * may yet roll back. */
#define PATIENT_AFTER 3

#define OPEN_PROJECT "p.builds_enabled = 1 AND p.removing = 0"

/* Is anything at all pending with the tag set of `t`? (In the key's order, or else PostgreSQL might
 * hope to come upon one soon by reading the table.) */
#define TAGSET_IS_LIVE                                                                             \
    "(SELECT q.project_id FROM queue q WHERE q.tagset_id = t.tagset_id "                           \
    "ORDER BY q.project_id LIMIT 1) IS NOT NULL"

#define HEAD_OF(tagset, project)                                                                   \
    "(SELECT q.build_id FROM queue q WHERE q.tagset_id = " tagset " AND q.project_id = " project   \
    " ORDER BY q.build_id LIMIT 1)"

/* Arguments: the runner, twice. */
#define SPECIFIC_LANES                                                                             \
    "FROM takes t CROSS JOIN runner_projects rp JOIN projects p ON p.id = rp.project_id "          \
    "WHERE t.runner_id = %lld AND rp.runner_id = %lld AND " TAGSET_IS_LIVE " AND " OPEN_PROJECT

/* Argument: the runner. The last hop of each tag set finds no project. */
#define NEXT_PROJECT(of, beyond)                                                                   \
    "(SELECT q.project_id FROM queue q WHERE q.tagset_id = " of ".tagset_id" beyond                \
    " ORDER BY q.project_id LIMIT 1)"
#define SHARED_LANES                                                                               \
    "WITH RECURSIVE lane (tagset_id, project_id) AS ("                                             \
    "SELECT t.tagset_id, " NEXT_PROJECT(                                                           \
        "t",                                                                                       \
        "") " FROM takes t WHERE t.runner_id = %lld "                                              \
            "UNION ALL SELECT l.tagset_id, " NEXT_PROJECT(                                         \
                "l",                                                                               \
                " AND q.project_id > l.project_id") " FROM lane l WHERE l.project_id IS NOT NULL)"
#define OPEN_LANES                                                                                 \
    "FROM lane l JOIN projects p ON p.id = l.project_id "                                          \
    "WHERE p.shared_runners_enabled = 1 AND " OPEN_PROJECT

#define RUNNING_OF(project)                                                                        \
    "(SELECT count(*) FROM builds b WHERE b.project_id = " project                                 \
    " AND b.status = 'running' AND b.on_shared_runner = 1)"

/* --- is there anything? */

static const cib_sql_t can_specific = {
    "SELECT 1 " SPECIFIC_LANES " AND " HEAD_OF("t.tagset_id", "p.id") " IS NOT NULL LIMIT 1",
    NULL,
};

static const cib_sql_t can_shared = {
    SHARED_LANES " SELECT 1 " OPEN_LANES " LIMIT 1",
    NULL,
};

/* A locked shared runner takes only builds of projects it is bound to, and is bound to none. */
static int is_barred(const cib_runner_t *runner)
{
    return runner->is_shared && runner->locked;
}

cib_error_t *cib_q_can_claim(cib_db_t *db, const cib_runner_t *runner, int *yes, apr_pool_t *pool)
{
    const cib_arg_t args[] = {CIB_INT(runner->id), CIB_INT(runner->id)};
    apr_int64_t found = 0;

    *yes = 0;
    if (is_barred(runner))
        return CIB_OK;
    if (runner->is_shared)
        CIB_TRY(cib_db_number(db, &can_shared, args, 1, 0, &found, pool));
    else
        CIB_TRY(cib_db_number(db, &can_specific, args, 2, 0, &found, pool));
    *yes = found != 0;
    return CIB_OK;
}

/* --- claiming on SQLite, where there is no other writer meanwhile */

/* What stands beside min() is of the row that has it, which SQLite promises; and it spares a table
 * to sort in. */
static const cib_sql_t first_specific = {
    "SELECT t.tagset_id, p.id, min(" HEAD_OF("t.tagset_id", "p.id") ") " SPECIFIC_LANES,
    NULL,
};

static const cib_sql_t first_shared = {
    SHARED_LANES " SELECT l.tagset_id, l.project_id, " HEAD_OF(
        "l.tagset_id",
        "l.project_id") " AS head, " RUNNING_OF("l.project_id") " AS running " OPEN_LANES
                                                                " ORDER BY running, head LIMIT 1",
    NULL,
};

static const cib_sql_t hand_out = {
    "UPDATE builds SET status = 'running', runner_id = %lld, on_shared_runner = %lld, "
    "started_at = %lld, heard_at = NULL, claim = claim + 1 WHERE id = %lld AND status = 'pending'",
    NULL,
};

static const cib_sql_t take_out = {
    "DELETE FROM queue WHERE tagset_id = %lld AND project_id = %lld AND build_id = %lld",
    NULL,
};

/* A row of the queue whose build is not pending (nothing makes one, but a hand at the database
 * might) is dropped, and does not stop the queue. */
static cib_error_t *claim_sqlite(cib_db_t *db, const cib_runner_t *runner, apr_time_t now,
                                 apr_int64_t *id, apr_pool_t *pool)
{
    const cib_sql_t *first = runner->is_shared ? &first_shared : &first_specific;
    const cib_arg_t who[] = {CIB_INT(runner->id), CIB_INT(runner->id)};
    cib_rows_t *rows;
    int changed = 0;

    while (!changed) {
        apr_int64_t head;

        CIB_TRY(cib_db_select(db, first, who, runner->is_shared ? 1 : 2, 3, &rows, pool));
        head = cib_rows_count(rows) ? cib_row_int(rows, 0, 2) : 0;
        if (!head)
            return CIB_OK;
        CIB_TRY(cib_db_change(db, &take_out,
                              CIB_ARGS(CIB_INT(cib_row_int(rows, 0, 0)),
                                       CIB_INT(cib_row_int(rows, 0, 1)), CIB_INT(head)),
                              NULL, pool));
        CIB_TRY(cib_db_change(
            db, &hand_out,
            CIB_ARGS(CIB_INT(runner->id), CIB_INT(runner->is_shared), CIB_INT(now), CIB_INT(head)),
            &changed, pool));
        *id = changed ? head : 0;
    }
    return CIB_OK;
}

/* --- claiming on PostgreSQL, in one statement among many at once
 *
 * head       the first lanes in order, at most a window of them
 * ahead      the first build nobody else has locked of the first lane, up to the next lane's head:
 *            no other comes before it, and the search passes only what is locked
 *
 * and only where there is none, as among many at once over several lanes:
 *
 * hop        from build to next build of these, at most a window of each; one by one, for asked for
 *            several at once a planner that thinks the lane short would read and sort all of it
 * candidate  the first builds of these in order, at most a window
 * free       the first of them that nobody else has locked
 *
 * picked     what was found
 * gone       its row of the queue
 * claimed    its build
 *
 * The queue's row is locked before the build's, and so does cib_q_build_move.
 * Arguments after those of `head`: window, window, the runner, shared, now.
 */
#define LAST_ID "9223372036854775807"
#define SECOND_HEAD                                                                                \
    "(SELECT o.build_id FROM (SELECT * FROM head ORDER BY running, build_id LIMIT 1 OFFSET 1) o "  \
    "WHERE o.running = h.running)"
#define AHEAD(lock)                                                                                \
    "ahead AS MATERIALIZED ("                                                                      \
    "SELECT a.tagset_id, a.project_id, a.build_id FROM ("                                          \
    "SELECT h.tagset_id, h.project_id, coalesce(" SECOND_HEAD ", " LAST_ID ") AS bound "           \
    "FROM head h ORDER BY h.running, h.build_id LIMIT 1) f CROSS JOIN LATERAL ("                   \
    "SELECT q.tagset_id, q.project_id, q.build_id FROM queue q WHERE q.tagset_id = f.tagset_id "   \
    "AND q.project_id = f.project_id AND q.build_id < f.bound ORDER BY q.build_id LIMIT 1 "        \
    "FOR UPDATE OF q" lock ") a), "

#define CLAIM_TAIL(lock)                                                                           \
    AHEAD(lock)                                                                                    \
    "hop (running, tagset_id, project_id, build_id, n) AS ("                                       \
    "SELECT h.running, h.tagset_id, h.project_id, h.build_id, 1 FROM head h "                      \
    "WHERE NOT EXISTS (SELECT 1 FROM ahead) "                                                      \
    "UNION ALL SELECT h.running, h.tagset_id, h.project_id, "                                      \
    "(SELECT q.build_id FROM queue q WHERE q.tagset_id = h.tagset_id "                             \
    "AND q.project_id = h.project_id AND q.build_id > h.build_id ORDER BY q.build_id LIMIT 1), "   \
    "h.n + 1 FROM hop h WHERE h.build_id IS NOT NULL AND h.n < %lld), "                            \
    "candidate AS MATERIALIZED ("                                                                  \
    "SELECT * FROM hop WHERE build_id IS NOT NULL ORDER BY running, build_id LIMIT %lld), "        \
    "free AS ("                                                                                    \
    "SELECT q.tagset_id, q.project_id, q.build_id FROM candidate c JOIN queue q "                  \
    "ON q.tagset_id = c.tagset_id AND q.project_id = c.project_id AND q.build_id = c.build_id "    \
    "ORDER BY c.running, c.build_id LIMIT 1 FOR UPDATE OF q" lock "), "                            \
    "picked AS (SELECT * FROM ahead UNION ALL SELECT * FROM free), "                               \
    "gone AS ("                                                                                    \
    "DELETE FROM queue q USING picked k WHERE q.tagset_id = k.tagset_id "                          \
    "AND q.project_id = k.project_id AND q.build_id = k.build_id RETURNING q.build_id), "          \
    "claimed AS ("                                                                                 \
    "UPDATE builds b SET status = 'running', runner_id = %lld, on_shared_runner = %lld, "          \
    "started_at = %lld, heard_at = NULL, claim = b.claim + 1 FROM gone g "                         \
    "WHERE b.id = g.build_id AND b.status = 'pending' RETURNING b.id) "                            \
    "SELECT (SELECT id FROM claimed), (SELECT count(*) FROM head)"

/* Arguments: the runner twice, window. */
#define SPECIFIC_HEAD                                                                              \
    "WITH RECURSIVE head AS MATERIALIZED ("                                                        \
    "SELECT * FROM (SELECT t.tagset_id, p.id AS project_id, 0 AS running, " HEAD_OF(               \
        "t.tagset_id", "p.id") " AS build_id " SPECIFIC_LANES " OFFSET 0) every "                  \
                               "WHERE build_id IS NOT NULL ORDER BY build_id LIMIT %lld), "

/* Arguments: the runner, window. */
#define SHARED_HEAD                                                                                \
    SHARED_LANES                                                                                   \
    ", head AS MATERIALIZED ("                                                                     \
    "SELECT l.tagset_id, l.project_id, " RUNNING_OF("l.project_id") " AS running, " HEAD_OF(       \
        "l.tagset_id", "l.project_id") " AS build_id " OPEN_LANES                                  \
                                       " ORDER BY running, build_id LIMIT %lld), "

static const cib_sql_t claim_specific = {SPECIFIC_HEAD CLAIM_TAIL(" SKIP LOCKED"), NULL};
static const cib_sql_t claim_shared = {SHARED_HEAD CLAIM_TAIL(" SKIP LOCKED"), NULL};
static const cib_sql_t await_specific = {SPECIFIC_HEAD CLAIM_TAIL(""), NULL};
static const cib_sql_t await_shared = {SHARED_HEAD CLAIM_TAIL(""), NULL};

static cib_error_t *claim_once(cib_db_t *db, const cib_runner_t *runner, apr_time_t now, int window,
                               int patient, cib_rows_t **rows, apr_pool_t *pool)
{
    const cib_sql_t *specific = patient ? &await_specific : &claim_specific;
    const cib_sql_t *shared = patient ? &await_shared : &claim_shared;
    const cib_arg_t args[] = {CIB_INT(runner->id),
                              CIB_INT(runner->id),
                              CIB_INT(window),
                              CIB_INT(window),
                              CIB_INT(window),
                              CIB_INT(runner->id),
                              CIB_INT(runner->is_shared),
                              CIB_INT(now)};
    const int count = sizeof(args) / sizeof(args[0]);

    if (runner->is_shared)
        return cib_db_select(db, shared, args + 1, count - 1, 2, rows, pool);
    return cib_db_select(db, specific, args, count, 2, rows, pool);
}

static cib_error_t *claim_pgsql(cib_db_t *db, const cib_runner_t *runner, apr_time_t now,
                                apr_int64_t *id, apr_pool_t *pool)
{
    int window = FIRST_WINDOW;
    cib_rows_t *rows;

    for (int round = 0; round < MAX_ROUNDS; round++) {
        CIB_TRY(claim_once(db, runner, now, window, round >= PATIENT_AFTER, &rows, pool));
        *id = cib_row_int(rows, 0, 0);
        if (*id || cib_row_int(rows, 0, 1) == 0)
            return CIB_OK;
        window = window * WINDOW_FACTOR < MAX_WINDOW ? window * WINDOW_FACTOR : MAX_WINDOW;
    }
    return cib_error_detail(pool, cib_error(pool, CIB_REASON_UNAVAILABLE, APR_SUCCESS, NULL),
                            "others were quicker to claim %d times", MAX_ROUNDS);
}

cib_error_t *cib_q_claim(cib_db_t *db, const cib_runner_t *runner, apr_time_t now, apr_int64_t *id,
                         apr_pool_t *pool)
{
    *id = 0;
    if (is_barred(runner))
        return CIB_OK;
    if (cib_store_driver(db->store) == CIB_DRIVER_SQLITE3)
        return claim_sqlite(db, runner, now, id, pool);
    return claim_pgsql(db, runner, now, id, pool);
}

/* --- claiming on PostgreSQL for many at once, by one statement
 *
 * They may all take the same builds (cib_q_claims_key); the first is asked for.
 *
 * head       as above
 * candidate  the first builds of these, at most a window of each, each with its turn: a shared
 *            runner's claim makes the project's next build wait longer
 * wanted     who still may take the same, numbered
 * free       as many candidates as are wanted and nobody else has locked, in the order in which
 *            they would be claimed one by one
 * picked     these, numbered
 * gone       their rows of the queue
 * claimed    their builds, each for one
 *
 * Arguments after those of `head`: window, the runners, the first, shared, now. Rows: how many
 * heads there are, whose claim it is (its place among the runners), the build, and how many were
 * wanted.
 */
#define CANDIDATES(turn)                                                                           \
    "candidate AS MATERIALIZED ("                                                                  \
    "SELECT c.tagset_id, c.project_id, c.build_id, " turn " AS turn "                              \
    "FROM head h CROSS JOIN LATERAL ("                                                             \
    "SELECT q.tagset_id, q.project_id, q.build_id FROM queue q "                                   \
    "WHERE q.tagset_id = h.tagset_id AND q.project_id = h.project_id "                             \
    "ORDER BY q.build_id LIMIT %lld) c), "
#define SHARED_TURN "h.running + row_number() OVER (PARTITION BY c.project_id ORDER BY c.build_id)"

#define CLAIMS_TAIL                                                                                \
    "wanted AS MATERIALIZED ("                                                                     \
    "SELECT w.place, r.id AS runner_id, row_number() OVER (ORDER BY w.place) AS n "                \
    "FROM unnest(CAST(%s AS bigint[])) WITH ORDINALITY AS w (id, place) "                          \
    "JOIN runners r ON r.id = w.id JOIN runners f ON f.id = %lld "                                 \
    "WHERE r.id = f.id OR (r.is_shared = 1 AND f.is_shared = 1 AND r.locked = f.locked "           \
    "AND r.run_untagged = f.run_untagged AND r.tags = f.tags)), "                                  \
    "free AS ("                                                                                    \
    "SELECT q.tagset_id, q.project_id, q.build_id, c.turn FROM candidate c JOIN queue q "          \
    "ON q.tagset_id = c.tagset_id AND q.project_id = c.project_id AND q.build_id = c.build_id "    \
    "ORDER BY c.turn, c.build_id LIMIT (SELECT count(*) FROM wanted) "                             \
    "FOR UPDATE OF q SKIP LOCKED), "                                                               \
    "picked AS MATERIALIZED ("                                                                     \
    "SELECT *, row_number() OVER (ORDER BY turn, build_id) AS n FROM free), "                      \
    "gone AS ("                                                                                    \
    "DELETE FROM queue q USING picked k WHERE q.tagset_id = k.tagset_id "                          \
    "AND q.project_id = k.project_id AND q.build_id = k.build_id RETURNING q.build_id, k.n), "     \
    "claimed AS ("                                                                                 \
    "UPDATE builds b SET status = 'running', runner_id = w.runner_id, on_shared_runner = %lld, "   \
    "started_at = %lld, heard_at = NULL, claim = b.claim + 1 FROM gone g JOIN wanted w "           \
    "ON w.n = g.n WHERE b.id = g.build_id AND b." CIB_STATUS_HIDDEN                                \
    "'pending' RETURNING b.id, w.place) "                                                          \
    "SELECT h.heads, c.place, c.id, (SELECT count(*) FROM wanted) "                                \
    "FROM (SELECT count(*) AS heads FROM head) h "                                                 \
    "LEFT JOIN claimed c ON true"

static const cib_sql_t claims_specific = {NULL, SPECIFIC_HEAD CANDIDATES("0") CLAIMS_TAIL};
static const cib_sql_t claims_shared = {NULL, SHARED_HEAD CANDIDATES(SHARED_TURN) CLAIMS_TAIL};

static cib_arg_t runners_of(const cib_db_t *db, cib_claiming_t *const *claimings, int count,
                            apr_pool_t *pool)
{
    apr_array_header_t *ids = apr_array_make(pool, count, sizeof(apr_int64_t));

    for (int i = 0; i < count; i++)
        APR_ARRAY_PUSH(ids, apr_int64_t) = claimings[i]->runner->id;
    return cib_arg_these(db, ids, pool);
}

static cib_error_t *select_claims(cib_db_t *db, cib_claiming_t *const *claimings, int count,
                                  apr_time_t now, cib_rows_t **rows, apr_pool_t *pool)
{
    const cib_runner_t *first = claimings[0]->runner;
    int window = FIRST_WINDOW + count * WINDOW_FACTOR;
    const cib_arg_t args[] = {CIB_INT(first->id),
                              CIB_INT(first->id),
                              CIB_INT(window),
                              CIB_INT(window),
                              runners_of(db, claimings, count, pool),
                              CIB_INT(first->id),
                              CIB_INT(first->is_shared),
                              CIB_INT(now)};
    const int nargs = sizeof(args) / sizeof(args[0]);

    if (first->is_shared)
        return cib_db_select(db, &claims_shared, args + 1, nargs - 1, 4, rows, pool);
    return cib_db_select(db, &claims_specific, args, nargs, 4, rows, pool);
}

/* Those without a build move to the front; how many they are. */
static int still_without(cib_claiming_t **claimings, int count)
{
    int left = 0;

    for (int i = 0; i < count; i++)
        if (!claimings[i]->id)
            claimings[left++] = claimings[i];
    return left;
}

/* `*left` 0: there is nothing for the others either. That the first finds nothing says so only of
 * those that still may take the same: its settings may have changed meanwhile, or it is gone. */
static cib_error_t *claim_together(cib_db_t *db, cib_claiming_t **claimings, apr_time_t now,
                                   int *left, apr_pool_t *pool)
{
    cib_rows_t *rows;
    int nothing;

    CIB_TRY(select_claims(db, claimings, *left, now, &rows, pool));
    nothing = cib_row_int(rows, 0, 0) == 0 && cib_row_int(rows, 0, 3) == *left;
    for (int i = 0; i < cib_rows_count(rows); i++)
        if (cib_row_int(rows, i, 1))
            claimings[cib_row_int(rows, i, 1) - 1]->id = cib_row_int(rows, i, 2);
    *left = nothing ? 0 : still_without(claimings, *left);
    return CIB_OK;
}

cib_error_t *cib_q_claims(cib_db_t *db, cib_claiming_t *const *claimings, int count, apr_time_t now,
                          apr_pool_t *pool)
{
    cib_claiming_t **others = apr_pmemdup(pool, claimings, sizeof(*claimings) * (apr_size_t)count);
    int together = cib_store_driver(db->store) == CIB_DRIVER_PGSQL;
    int left = count, before = count + 1;

    for (int i = 0; i < count; i++)
        claimings[i]->id = 0;
    while (together && left > 1 && left < before && !is_barred(claimings[0]->runner)) {
        before = left;
        CIB_TRY(claim_together(db, others, now, &left, pool));
    }
    /* each by itself knows to be patient with those who are quicker */
    for (int i = 0; i < left; i++)
        CIB_TRY(cib_q_claim(db, others[i]->runner, now, &others[i]->id, pool));
    return CIB_OK;
}

const char *cib_q_claims_key(const cib_runner_t *runner, apr_pool_t *pool)
{
    if (!runner->is_shared)
        return apr_psprintf(pool, "%" APR_INT64_T_FMT, runner->id);
    return apr_psprintf(pool, "%d %d %s", runner->locked, runner->run_untagged, runner->tags);
}

/* --- into the queue and out of it */

static const cib_sql_t put_in = {
    "INSERT INTO queue (tagset_id, project_id, build_id) VALUES (%lld, %lld, %lld) "
    "ON CONFLICT DO NOTHING",
    NULL,
};

#define PUT_IN_ALL                                                                                 \
    "INSERT INTO queue (tagset_id, project_id, build_id) "                                         \
    "SELECT tagset_id, project_id, id FROM builds WHERE " CIB_STATUS_HIDDEN "'pending' AND id "

static const cib_sql_t put_in_all = {
    PUT_IN_ALL CIB_THESE_SQLITE "ON CONFLICT DO NOTHING",
    PUT_IN_ALL CIB_THESE_PGSQL "ON CONFLICT DO NOTHING",
};

static const cib_sql_t take_out_by_id = {
    "DELETE FROM queue WHERE tagset_id = (SELECT tagset_id FROM builds WHERE id = %lld) "
    "AND project_id = (SELECT project_id FROM builds WHERE id = %lld) AND build_id = %lld",
    NULL,
};

cib_error_t *cib_q_enqueue(cib_db_t *db, const cib_build_t *build, apr_pool_t *pool)
{
    return cib_db_change(
        db, &put_in,
        CIB_ARGS(CIB_INT(build->tagset_id), CIB_INT(build->project_id), CIB_INT(build->id)), NULL,
        pool);
}

cib_error_t *cib_q_enqueue_all(cib_db_t *db, const apr_array_header_t *ids, apr_pool_t *pool)
{
    return cib_db_change(db, &put_in_all, CIB_ARGS(cib_arg_these(db, ids, pool)), NULL, pool);
}

cib_error_t *cib_q_dequeue(cib_db_t *db, apr_int64_t build_id, apr_pool_t *pool)
{
    return cib_db_change(db, &take_out_by_id,
                         CIB_ARGS(CIB_INT(build_id), CIB_INT(build_id), CIB_INT(build_id)), NULL,
                         pool);
}

/* --- what the queue and the builds disagree about */

static const cib_sql_t not_queued = {
    "SELECT b.id, b.tagset_id, b.project_id, 1 FROM builds b "
    "WHERE b.status = 'pending' AND " CIB_BUILD_LIVE " AND NOT EXISTS (SELECT 1 FROM queue q "
    "WHERE q.tagset_id = b.tagset_id AND q.project_id = b.project_id AND q.build_id = b.id) "
    "ORDER BY b.id LIMIT %lld",
    NULL,
};

static const cib_sql_t queued = {
    "SELECT q.build_id, q.tagset_id, q.project_id, "
    "CASE WHEN b.status = 'pending' THEN 1 ELSE 0 END "
    "FROM queue q LEFT JOIN builds b ON b.id = q.build_id "
    "WHERE b.id IS NULL OR b.status <> 'pending' OR b.tagset_id <> q.tagset_id "
    "OR b.project_id <> q.project_id ORDER BY q.build_id LIMIT %lld",
    NULL,
};

cib_error_t *cib_q_queue_strays(cib_db_t *db, cib_stray_e which, int limit,
                                apr_array_header_t **strays, apr_pool_t *pool)
{
    const cib_sql_t *sql = which == CIB_STRAY_QUEUED ? &queued : &not_queued;
    cib_rows_t *rows;

    CIB_TRY(cib_db_select(db, sql, CIB_ARGS(cib_arg_limit(limit)), 4, &rows, pool));
    *strays = apr_array_make(pool, cib_rows_count(rows) + 1, sizeof(cib_stray_t));
    for (int i = 0; i < cib_rows_count(rows); i++) {
        cib_stray_t *stray = &APR_ARRAY_PUSH(*strays, cib_stray_t);

        stray->build_id = cib_row_int(rows, i, 0);
        stray->tagset_id = cib_row_int(rows, i, 1);
        stray->project_id = cib_row_int(rows, i, 2);
        stray->pending = (int)cib_row_int(rows, i, 3);
    }
    return CIB_OK;
}

/* Only a hand at the database makes such rows. */
cib_error_t *cib_q_dequeue_stray(cib_db_t *db, const cib_stray_t *stray, apr_pool_t *pool)
{
    return cib_db_change(
        db, &take_out,
        CIB_ARGS(CIB_INT(stray->tagset_id), CIB_INT(stray->project_id), CIB_INT(stray->build_id)),
        NULL, pool);
}

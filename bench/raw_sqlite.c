/* The limit that claims are held against: the store's own statements, through sqlite3 itself, by
 * one thread that does nothing else; each claim and each finish is one durable commit.
 *
 *   raw_sqlite DATABASE RUNNER SECONDS      prints "RESULT <cycles per second> <cycles>"
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HEAD                                                                                       \
    "(SELECT q.build_id FROM queue q WHERE q.tagset_id = t.tagset_id AND q.project_id = p.id "     \
    "ORDER BY q.build_id LIMIT 1)"

static const char *const texts[] = {
    "SELECT t.tagset_id, p.id, " HEAD " AS head FROM takes t CROSS JOIN runner_projects rp "
    "JOIN projects p ON p.id = rp.project_id WHERE t.runner_id = ?1 AND rp.runner_id = ?1 "
    "AND (SELECT q.build_id FROM queue q WHERE q.tagset_id = t.tagset_id LIMIT 1) IS NOT NULL "
    "AND p.builds_enabled = 1 AND p.removing = 0 ORDER BY head NULLS LAST LIMIT 1",
    "DELETE FROM queue WHERE tagset_id = ?1 AND project_id = ?2 AND build_id = ?3",
    "UPDATE builds SET status = 'running', runner_id = ?1, on_shared_runner = 0, started_at = ?2, "
    "heard_at = NULL, claim = claim + 1 WHERE id = ?3 AND status = 'pending'",
    "UPDATE builds SET status = 'success', finished_at = ?1, failure_reason = NULL, exit_code = "
    "NULL "
    "WHERE id = ?2 AND status = 'running'",
    "BEGIN IMMEDIATE",
    "COMMIT",
};
enum { FIRST, TAKE_OUT, HAND_OUT, FINISH, BEGIN, COMMIT, STATEMENTS };

static sqlite3 *db;
static sqlite3_stmt *statement[STATEMENTS];

static void die(const char *what)
{
    fprintf(stderr, "raw_sqlite: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static int run(int which, int nargs, const sqlite3_int64 *args)
{
    int rc;

    for (int i = 0; i < nargs; i++)
        sqlite3_bind_int64(statement[which], i + 1, args[i]);
    rc = sqlite3_step(statement[which]);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        die(texts[which]);
    return rc == SQLITE_ROW;
}

static void change(int which, int nargs, const sqlite3_int64 *args)
{
    run(which, nargs, args);
    sqlite3_reset(statement[which]);
}

/* The build that was claimed, 0: none is left. */
static sqlite3_int64 claim(sqlite3_int64 runner, sqlite3_int64 now)
{
    sqlite3_int64 lane[3] = {0, 0, 0};

    change(BEGIN, 0, NULL);
    if (run(FIRST, 1, &runner))
        for (int i = 0; i < 3; i++)
            lane[i] = sqlite3_column_int64(statement[FIRST], i);
    sqlite3_reset(statement[FIRST]);
    if (lane[2]) {
        change(TAKE_OUT, 3, lane);
        change(HAND_OUT, 3, (sqlite3_int64[]){runner, now, lane[2]});
    }
    change(COMMIT, 0, NULL);
    return lane[2];
}

static double clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double begin, end;
    long cycles = 0;

    if (argc != 4)
        return 2;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA busy_timeout=1000; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON",
                     NULL, NULL, NULL) != SQLITE_OK)
        die(argv[1]);
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v2(db, texts[i], -1, &statement[i], NULL) != SQLITE_OK)
            die(texts[i]);
    begin = end = clock_now();
    while (end - begin < atof(argv[3])) {
        sqlite3_int64 id = claim(atoll(argv[2]), (sqlite3_int64)time(NULL) * 1000000);

        if (!id)
            die("the queue is empty");
        change(BEGIN, 0, NULL);
        change(FINISH, 2, (sqlite3_int64[]){(sqlite3_int64)time(NULL) * 1000000, id});
        change(COMMIT, 0, NULL);
        cycles++;
        end = clock_now();
    }
    printf("RESULT %.3f %ld\n", (double)cycles / (end - begin), cycles);
    return 0;
}

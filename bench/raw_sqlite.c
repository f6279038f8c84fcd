/* The limit that claims are held against: the store's own statements, through sqlite3 itself, by
 * one thread that does nothing else; each claim and each finish is one durable commit.
 *
 *   raw_sqlite DATABASE RUNNER SECONDS      prints "RESULT <cycles per second> <cycles>"
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <time.h>

#include "statements.h"

enum { FIRST, TAKE_OUT, HAND_OUT, FINISH, BEGIN, COMMIT, STATEMENTS };

static const cib_sql_t begin_write = {"BEGIN IMMEDIATE", NULL};
static const cib_sql_t commit = {"COMMIT", NULL};
static const cib_sql_t *const texts[STATEMENTS] = {
    [FIRST] = &first_specific, [TAKE_OUT] = &take_out, [HAND_OUT] = &hand_out,
    [FINISH] = &move_on,       [BEGIN] = &begin_write, [COMMIT] = &commit,
};

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
        die(texts[which]->text);
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
    if (run(FIRST, 2, (sqlite3_int64[]){runner, runner}))
        for (int i = 0; i < 3; i++)
            lane[i] = sqlite3_column_int64(statement[FIRST], i);
    sqlite3_reset(statement[FIRST]);
    if (lane[2]) {
        change(TAKE_OUT, 3, lane);
        change(HAND_OUT, 4, (sqlite3_int64[]){runner, 0, now, lane[2]});
    }
    change(COMMIT, 0, NULL);
    return lane[2];
}

/* As the store does: what is no number goes as it is, the rest by position. */
static void finish(sqlite3_int64 now, sqlite3_int64 id)
{
    sqlite3_stmt *s = statement[FINISH];

    change(BEGIN, 0, NULL);
    sqlite3_bind_text(s, 1, "success", -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, now);
    sqlite3_bind_int64(s, 7, id);
    sqlite3_bind_text(s, 8, "running", -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 9, 0);
    sqlite3_bind_int64(s, 10, 0);
    change(FINISH, 0, NULL);
    if (sqlite3_changes(db) != 1)
        die("a build that was claimed is not finished");
    change(COMMIT, 0, NULL);
}

static void prepare_all(void)
{
    for (int i = 0; i < STATEMENTS; i++) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        if (!out)
            exit(1);
        write_statement(out, texts[i], NULL);
        fclose(out);
        if (sqlite3_prepare_v2(db, text, -1, &statement[i], NULL) != SQLITE_OK)
            die(text);
        free(text);
    }
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
    prepare_all();
    begin = end = clock_now();
    while (end - begin < atof(argv[3])) {
        sqlite3_int64 id = claim(atoll(argv[2]), (sqlite3_int64)time(NULL) * 1000000);

        if (!id)
            die("the queue is empty");
        finish((sqlite3_int64)time(NULL) * 1000000, id);
        cycles++;
        end = clock_now();
    }
    printf("RESULT %.3f %ld\n", (double)cycles / (end - begin), cycles);
    return 0;
}

/* The limit that claims on PostgreSQL are held against: the store's own statements for pgbench, a
 * claim for a specific runner and its finish, each its own commit.
 *
 *   pgbench_script            prints the script; it wants -D runner=ID
 *   pgbench_script options    prints the settings the store gives its connections, for PGOPTIONS
 */
#include "statements.h"

/* What bench/run counts by. */
#define FINISHED_AT "2"

/* A claim that others were quicker at brings no id, and then nothing is finished. */
#define CLAIMED "CAST(nullif(:claimed_id, '') AS bigint)"

static void print_script(void)
{
    static const char *const claim[] = {":runner", ":runner", "8", "8", "8", ":runner", "0", "1"};
    static const char *const finish[] = {"'success'", "NULL",  FINISHED_AT, "NULL", "NULL",
                                         "NULL",      CLAIMED, "'running'", "0",    "0"};

    write_statement(stdout, &claim_specific, claim);
    puts(" \\gset claimed_");
    write_statement(stdout, &move_on, finish);
    puts(";");
}

/* "SET a = b; SET c = d" to "-c a=b -c c=d". */
static void print_options(void)
{
    char text[] = PLAN_ONCE, *last = NULL;

    for (char *word = strtok_r(text, " ;=", &last); word; word = strtok_r(NULL, " ;=", &last)) {
        const char *value;

        if (strcmp(word, "SET") == 0)
            continue;
        value = strtok_r(NULL, " ;=", &last);
        printf("-c %s=%s ", word, value ? value : "");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "options") == 0)
        print_options();
    else
        print_script();
    return 0;
}

/* The store's own statements, out of its sources: what claims are held against is the same SQL.
 * The functions that come along are not called and are dropped by the linker (--gc-sections). */
#ifndef BENCH_STATEMENTS_H
#define BENCH_STATEMENTS_H

#include "../src/store/builds.c"
#include "../src/store/db.c"
#include "../src/store/queue.c"

#include <stdio.h>

/* Write the statement with each parameter replaced: by the next of `values`, or by a question mark
 * where there are none. */
static inline void write_statement(FILE *out, const cib_sql_t *sql, const char *const *values)
{
    for (const char *at = sql->text; *at; at++) {
        if (*at != '%')
            fputc(*at, out);
        else if (at[1] == '%')
            fputc(*++at, out);
        else {
            fputs(values ? *values++ : "?", out);
            at += at[1] == 's' ? 1 : 3; /* %s, %lld */
        }
    }
}

#endif

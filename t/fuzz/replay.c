/* A fuzz target without a fuzzer: gives it each file that is named, and says so in TAP. The name
 * comes before the run, so that whoever reads a crash knows whose it is.
 *
 *   replay FILE…
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* The whole file, in memory of exactly its size. NULL: it cannot be read. */
static uint8_t *slurp(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long end = -1;

    if (file && fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0) {
        rewind(file);
        *len = (size_t)end;
        data = malloc(*len);
    }
    if (data && fread(data, 1, *len, file) != *len) {
        free(data);
        data = NULL;
    }
    if (file)
        fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    int failed = 0;

    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        size_t len = 0;
        uint8_t *data = slurp(argv[i], &len);

        printf("# %s\n", argv[i]);
        fflush(stdout);
        if (data)
            LLVMFuzzerTestOneInput(data, len);
        else
            failed = 1;
        printf("%sok %d - %s\n", data ? "" : "not ", i, argv[i]);
        fflush(stdout);
        free(data);
    }
    return failed || argc < 2;
}

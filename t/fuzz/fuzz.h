/* What the fuzz targets share. A target is one function that takes any bytes and checks what must
 * hold for all of them:
 *
 *   void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
 *   {
 *       holds(cib_x(...) >= 0, "x is not negative");
 *   }
 *
 * It is linked with libFuzzer (`make fuzz`), or with replay.c, which gives it the files of its
 * corpus (`make check`). `data` is memory of exactly its size, and so is every piece that comes
 * from a pool (exact_pools.c): AddressSanitizer sees one byte read beyond it, or after its pool was
 * cleared.
 */
#ifndef CIB_FUZZ_H
#define CIB_FUZZ_H

#include <stdint.h>

#include <apr_pools.h>

/* The target. `pool` is this run's. */
void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool);

/* What libFuzzer and replay.c call. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* holds(condition, "what it means", ...): where it does not, say so and abort. */
#define holds(cond, ...)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fuzz_broken(#cond, __FILE__, __LINE__, __VA_ARGS__);                                   \
    } while (0)
void fuzz_broken(const char *cond, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));

/* The bytes up to the first NUL, as a string of exactly that length. */
const char *fuzz_text(const char *data, apr_size_t len, apr_pool_t *pool);

/* Cut the first line off: a string, without its end; "" where there is nothing left. */
const char *fuzz_line(const char **data, apr_size_t *len, apr_pool_t *pool);

/* What is large in a few bytes, for limits of which a fuzzer would otherwise never hear: behind a
 * first byte \xf8, each \xf8, N, C stands for 16 * N times the byte C. Anything else is as it is.
 */
const char *fuzz_expand(const char *data, apr_size_t *len, apr_pool_t *pool);

/* How bytes are cut: not, into single ones, once, into pieces of any size (and empty ones). Where,
 * is drawn from the bytes themselves, so that the same input is always cut alike. */
typedef enum { FUZZ_WHOLE, FUZZ_BYTES, FUZZ_ONCE, FUZZ_PIECES, FUZZ_CUTS } fuzz_cut_e;
typedef struct fuzz_cuts_t {
    fuzz_cut_e how;
    uint32_t state;
    int cut; /* the one cut was made; the last piece was an empty one: not twice in a row */
} fuzz_cuts_t;
void fuzz_cuts_begin(fuzz_cuts_t *cuts, fuzz_cut_e how, const char *data, apr_size_t len);
/* A number below `below`, from the same source. */
apr_size_t fuzz_draw(fuzz_cuts_t *cuts, apr_size_t below);
/* The length of the next piece of `left` bytes. */
apr_size_t fuzz_cut(fuzz_cuts_t *cuts, apr_size_t left);

/* Pieces of pool memory so far (exact_pools.c). */
apr_size_t exact_pools_pieces(void);

#endif

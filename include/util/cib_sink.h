/* Where bytes go as they arrive, whoever wants them: a file, a parser, a digest. */
#ifndef CIB_SINK_H
#define CIB_SINK_H

#include "util/cib_error.h"

typedef struct cib_sink_t {
    /* Take `len` bytes; `data` is only good during the call. An error ends the stream. */
    cib_error_t *(*write)(void *baton, const char *data, apr_size_t len);
    void *baton;
} cib_sink_t;

#endif

/* A byte buffer that grows up to a limit. */
#include <string.h>

#include "buffer.h"

#define FIRST_ROOM 1024

void cib_buffer_init(cib_buffer_t *buffer, apr_size_t limit, apr_pool_t *pool)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->pool = pool;
    buffer->limit = limit;
}

/* Doubling means that the abandoned pieces together are no larger than the last one, so a pool that
 * cannot free is no harm. */
static void grow(cib_buffer_t *buffer, apr_size_t needed)
{
    apr_size_t room = buffer->room ? buffer->room : FIRST_ROOM;
    char *data;

    while (room < needed)
        room *= 2;
    if (room > buffer->limit)
        room = buffer->limit;
    data = apr_palloc(buffer->pool, room + 1);
    if (buffer->data)
        memcpy(data, buffer->data, buffer->len);
    buffer->data = data;
    buffer->room = room;
}

cib_error_t *cib_buffer_append(cib_buffer_t *buffer, const char *data, apr_size_t len)
{
    if (len > buffer->limit - buffer->len)
        return cib_error(buffer->pool, CIB_REASON_TOO_LARGE, APR_SUCCESS,
                         "parameters are limited to %" APR_SIZE_T_FMT " bytes", buffer->limit);
    if (!buffer->data || len > buffer->room - buffer->len)
        grow(buffer, buffer->len + len);
    if (len)
        memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
    return CIB_OK;
}

void cib_buffer_clear(cib_buffer_t *buffer)
{
    buffer->len = 0;
    if (buffer->data)
        *buffer->data = '\0';
}

const char *cib_buffer_text(const cib_buffer_t *buffer)
{
    return buffer->data ? buffer->data : "";
}

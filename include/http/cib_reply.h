/* Answers. The one place where a reason becomes a status, a body and a log line.
 *
 * Every function returns what the handler returns: OK, or AP_FILTER_ERROR where an input filter has
 * answered already. JSON bodies have `Content-Type: application/json`, exactly, and slashes
 * unescaped.
 */
#ifndef CIB_REPLY_H
#define CIB_REPLY_H

#include <httpd.h>
#include <apr_file_io.h>
#include <json-c/json.h>
#include "util/cib_error.h"

/* The build, for log lines. */
void cib_reply_about(request_rec *r, apr_int64_t build_id);

/* `object` is consumed (NULL: the literal null). */
int cib_reply_json(request_rec *r, int status, json_object *object);
/* The same as another type of JSON. */
int cib_reply_json_as(request_rec *r, int status, const char *type, json_object *object);
int cib_reply_text(request_rec *r, int status, const char *text);
int cib_reply_empty(request_rec *r, int status);

/* {"message":"<status> <its name>"}, for what has no reason of ours. */
int cib_reply_status(request_rec *r, int status);

/* Push the answer down to the socket now. Zero: the connection is known to be gone, so the client
 * did not get it (nonzero is no proof that it did). */
int cib_reply_flush(request_rec *r);

/* The answer to an error:
 *
 *   reason          status  body
 *   INVALID         400     {"message":"400 (Bad request) <message>"} or, from the parsers,
 *                           {"error":"<message>"} (see cib_reply_parse_error)
 *   MISSING         400     {"message":"400 (Bad request) \"<message>\" not given"}
 *   WRONG_TOKEN     403     {"message":"403 Forbidden"}
 *   FORBIDDEN       403     {"message":"403 Forbidden"} or "403 Forbidden  - <message>"
 *   NOT_RUNNING     403     the same
 *   ERASED          403     the same
 *   NOTHING         404     {"message":"404 Not Found"}
 *   NO_RECORD       404     {"message":"404 Not found"}
 *   NOT_ALLOWED     405     {"message":"405 Method Not Allowed"}
 *   BAD_TYPE        406     {"error":"The requested content-type '<message>' is not supported."}
 *   CONFLICT        409     {"message":"409 Conflict"}
 *   DUPLICATE       400     {"message":"<message>"}
 *   TOO_LARGE       413     {"message":"413 Request Entity Too Large  - <message>"}
 *   OUT_OF_RANGE    416     the trace route's own text
 *   UNAVAILABLE     503     {"message":"503 Service Unavailable  - ..."}, Retry-After: 5
 *   NO_SPACE        507     {"message":"507 Insufficient Storage  - ..."}, Retry-After: 60
 *   INTERNAL        500     {"message":"500 Internal Server Error"}
 *   CLIENT_GONE     what ap_map_http_request_error says, 400 at least
 *
 * Logged at debug (client's faults; a wrong token at trace1), at error (INTERNAL, NO_SPACE), at
 * warning (UNAVAILABLE). A body that was not read to its end is drained up to a bound and a moment,
 * and the connection closed (lingering), so that the client sees the answer and not a reset, and we
 * do not read gigabytes. */
int cib_reply_error(request_rec *r, const cib_error_t *err);

/* The same for an error of the parsers and params: INVALID is {"error":"<message>"}; and for a
 * wrong offset where that is JSON, too: {"error":"416 Range Not Satisfiable"}. */
int cib_reply_parse_error(request_rec *r, const cib_error_t *err);

/* The same for INVALID and MISSING in other words: {"message":"<words><message>"}. */
int cib_reply_bad_request(request_rec *r, const char *words, const cib_error_t *err);

/* 405 with the `Allow` header. */
int cib_reply_wrong_method(request_rec *r, const char *allow);

/* A stored file, down the filter chain as file buckets: ranges, conditions, HEAD and sendfile
 * (from 256 KiB on unless EnableSendfile Off is written) as for httpd's own files. */
typedef struct cib_file_reply_t {
    apr_file_t *file; /* open; lives at least as long as r->pool */
    apr_int64_t size;
    apr_time_t mtime;
    const char *filename; /* what the client called it: encoded here (RFC 6266), never trusted */
    const char *sha256;   /* hex; the strong ETag and Repr-Digest */
} cib_file_reply_t;
int cib_reply_file(request_rec *r, const cib_file_reply_t *file);

#endif

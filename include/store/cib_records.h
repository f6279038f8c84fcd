/* The rows, as the program sees them. Plain data: everything lives in the pool of the question that
 * made it. A time of 0 and an id of 0 mean none; texts are NULL where the column is.
 */
#ifndef CIB_RECORDS_H
#define CIB_RECORDS_H

#include <apr_tables.h>
#include <apr_time.h>

typedef enum {
    CIB_CREATED, /* waits for what it depends on */
    CIB_PENDING,
    CIB_RUNNING,
    CIB_SUCCESS,
    CIB_FAILED,
    CIB_CANCELED,
    CIB_SKIPPED,
    CIB_STATUSES
} cib_status_e;

/* "created", "pending", ...; and back: CIB_STATUSES for any other word. */
const char *cib_status_name(cib_status_e status);
cib_status_e cib_status_parse(const char *name);

typedef struct cib_project_t {
    apr_int64_t id;
    const char *name;
    const char *repo_url;
    int repo_auth_token; /* --repo-auth token */
    int timeout;         /* seconds */
    int allow_git_fetch;
    int shared_runners_enabled;
    int builds_enabled;
    int removing;             /* `project remove` has begun */
    int rotation;             /* of its derived token */
    const char *token_sealed; /* an imported token, sealed; NULL: derived */
} cib_project_t;

typedef struct cib_runner_t {
    apr_int64_t id;
    const char *description;
    int active;
    int is_shared;
    int locked;
    int run_untagged;
    const char *tags; /* canonical tag list, see cib_tags.h in core: sorted, unique, by commas */
    apr_time_t contacted_at;
    const char *name; /* its `info` */
    const char *version;
    const char *revision;
    const char *platform;
    const char *architecture;
    apr_time_t info_changed_at; /* of the first of the changes counted */
    int info_changes;
    int maximum_timeout; /* seconds; 0: the builds' own */
    apr_time_t created_at;
} cib_runner_t;

/* One of the machines that share a runner's token, by what it calls itself (`system_id`, runners
 * 16 and later). */
typedef struct cib_machine_t {
    apr_int64_t runner_id;
    const char *system_id;
    apr_time_t contacted_at;
    const char *name; /* its `info` */
    const char *version;
    const char *revision;
    const char *platform;
    const char *architecture;
    apr_time_t created_at;
} cib_machine_t;

typedef struct cib_build_t {
    apr_int64_t id;
    apr_int64_t project_id;
    cib_status_e status;
    const char *name;
    const char *stage;
    const char *ref;
    int tag;
    const char *sha;
    const char *before_sha;
    apr_int64_t tagset_id;
    const char *tags;      /* canonical */
    apr_int64_t runner_id; /* who has or had it */
    int on_shared_runner;
    int timeout;       /* seconds */
    apr_int64_t claim; /* how often it was claimed: the number of its token */
    int requeues;      /* claims that came to nothing */
    apr_time_t created_at;
    apr_time_t queued_at; /* became pending */
    apr_time_t started_at;
    apr_time_t heard_at; /* the runner's last word, throttled; 0: none since the claim */
    apr_time_t finished_at;
    apr_time_t erased_at;
    const char *failure_reason;
    int has_exit_code;
    int exit_code;
    apr_int64_t retry_of;       /* the build it is a copy of */
    const char *trace_checksum; /* what the runner announced at the end, where that is not the
                                   checksum of the bytes received; NULL: it is, or none was */
    apr_time_t followed_until;  /* somebody watches the trace until then; 0: nobody ever did */
} cib_build_t;

/* The wide part of a build, which nobody reads but who runs it. */
typedef struct cib_build_spec_t {
    const char *commands;
    const char *options; /* a JSON object's text */
} cib_build_spec_t;

/* What to run, and what else there is to ask for. */
typedef struct cib_build_parts_t {
    cib_build_spec_t spec;
    int has_variables;
    int has_needs;
    int has_artifacts;
} cib_build_parts_t;

typedef struct cib_variable_t {
    const char *key;
    const char *value; /* sealed where not public; core opens it */
    int is_public;
    int is_file; /* the build gets the name of a file that holds the value */
    int is_raw;  /* the runner expands nothing in the value */
} cib_variable_t;

typedef struct cib_artifact_t {
    apr_int64_t build_id;
    const char *type;     /* "archive", "metadata", "junit" ... */
    const char *format;   /* "zip", "gzip", "raw" */
    const char *filename; /* what the client called it */
    apr_int64_t size;
    const char *sha256;
    const char *blob; /* the file in the area artifacts */
    apr_time_t created_at;
    apr_time_t expire_at; /* 0: never */
} cib_artifact_t;

/* A contact time is renewed once a minute at most; older than that, the runner is gone. */
#define CIB_RUNNER_ONLINE apr_time_from_sec(300)
/* Seen in the last minute, as mod_status counts: a minute, and how late a poll renews the time. */
#define CIB_RUNNER_SEEN apr_time_from_sec(70)

typedef struct cib_stats_t {
    apr_int64_t builds[CIB_STATUSES];
    apr_int64_t projects;
    apr_int64_t runners;
    apr_int64_t runners_online; /* seen within CIB_RUNNER_ONLINE, or CIB_RUNNER_SEEN */
    apr_int64_t artifacts;
    apr_int64_t artifact_bytes;
} cib_stats_t;

#endif

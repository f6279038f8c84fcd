/* What the options of a build say, as GitLab 14 tells it: every member is there, with what it is by
 * default where the options do not say. */
#include <stdlib.h>
#include <string.h>

#include "core/cib_artifact.h"
#include "v4_describe.h"

/* --- members --- */

typedef enum {
    AS_TEXT, /* `otherwise`, or null */
    AS_FALSE,
    AS_EMPTY, /* a list */
    AS_NULL,
    AS_ABSENT /* for members that only newer runners know */
} absent_e;

typedef struct member_t {
    const char *key;
    absent_e absent;
    const char *otherwise;
} member_t;

static void put_absent(cib_json_t *json, const member_t *member)
{
    switch (member->absent) {
    case AS_TEXT:
        cib_json_text(json, member->key, member->otherwise);
        break;
    case AS_FALSE:
        cib_json_flag(json, member->key, 0);
        break;
    case AS_EMPTY:
        cib_json_list(json, member->key, json_object_new_array());
        break;
    case AS_NULL:
        cib_json_text(json, member->key, NULL);
        break;
    case AS_ABSENT:
        break;
    }
}

/* The members of `from`, as they are named here and in this order. */
static void put_members(cib_json_t *json, json_object *from, const member_t *members)
{
    for (; members->key; members++) {
        json_object *value = cib_json_get(from, members->key);

        if (value)
            cib_json_put(json, members->key, json_object_get(value));
        else
            put_absent(json, members);
    }
}

/* A list of one object for each of `from`. */
static void put_each(cib_json_t *json, const char *key, json_object *from,
                     void (*put)(cib_json_t *json, json_object *from))
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; from && i < json_object_array_length(from); i++) {
        cib_json_t member = cib_json_begin();

        put(&member, json_object_array_get_idx(from, i));
        cib_json_append(json, list, &member);
    }
    cib_json_list(json, key, list);
}

/* --- images and services --- */

static void put_port(cib_json_t *json, json_object *port)
{
    static const member_t members[] = {{"number", AS_NULL, NULL},
                                       {"protocol", AS_TEXT, "http"},
                                       {"name", AS_TEXT, "default_port"},
                                       {NULL, AS_NULL, NULL}};

    put_members(json, port, members);
}

/* What runners from 15.1 on, and from 16.6 on, know of an image. */
static const member_t newer[] = {
    {"pull_policy", AS_ABSENT, NULL}, {"executor_opts", AS_ABSENT, NULL}, {NULL, AS_ABSENT, NULL}};

void cib_v4_put_image(cib_json_t *json, const cib_description_t *about)
{
    static const member_t members[] = {
        {"name", AS_TEXT, ""}, {"entrypoint", AS_NULL, NULL}, {NULL, AS_NULL, NULL}};
    json_object *from = cib_json_get(about->options, "image");
    cib_json_t image;

    if (!from) {
        cib_json_put(json, "image", NULL);
        return;
    }
    image = cib_json_begin();
    put_members(&image, from, members);
    put_each(&image, "ports", cib_json_get(from, "ports"), put_port);
    put_members(&image, from, newer);
    cib_json_object(json, "image", &image);
}

/* {K: V} becomes what variables of builds are. */
static void put_variables(cib_json_t *json, json_object *from)
{
    json_object *list = json_object_new_array();

    if (from) {
        json_object_object_foreach(from, key, value)
        {
            cib_told_t variable = {
                .key = key, .value = json_object_get_string(value), .is_public = 1};

            cib_v4_append_variable(json, list, &variable);
        }
    }
    cib_json_list(json, "variables", list);
}

static void put_service(cib_json_t *json, json_object *from)
{
    static const member_t members[] = {{"name", AS_TEXT, ""},
                                       {"alias", AS_TEXT, NULL},
                                       {"entrypoint", AS_NULL, NULL},
                                       {"command", AS_NULL, NULL},
                                       {NULL, AS_NULL, NULL}};

    put_members(json, from, members);
    put_each(json, "ports", cib_json_get(from, "ports"), put_port);
    put_variables(json, cib_json_get(from, "variables"));
    put_members(json, from, newer);
}

void cib_v4_put_services(cib_json_t *json, const cib_description_t *about)
{
    put_each(json, "services", cib_json_get(about->options, "services"), put_service);
}

/* --- artifacts --- */

static void append_archive(cib_json_t *json, json_object *list, json_object *entry)
{
    static const member_t members[] = {
        {"name", AS_TEXT, NULL},     {"untracked", AS_FALSE, NULL},   {"paths", AS_EMPTY, NULL},
        {"exclude", AS_EMPTY, NULL}, {"when", AS_TEXT, "on_success"}, {"expire_in", AS_TEXT, NULL},
        {NULL, AS_NULL, NULL}};
    cib_json_t member = cib_json_begin();

    put_members(&member, entry, members);
    cib_json_text(&member, "artifact_type", "archive");
    cib_json_text(&member, "artifact_format", "zip");
    cib_json_append(json, list, &member);
}

/* A report is wanted of a build that failed, too. */
static void append_report(cib_json_t *json, json_object *list, const cib_artifact_type_t *type,
                          json_object *paths, json_object *expire_in)
{
    cib_json_t member = cib_json_begin();

    cib_json_text(&member, "name", type->filename);
    cib_json_flag(&member, "untracked", 0);
    cib_json_put(&member, "paths", json_object_get(paths));
    cib_json_text(&member, "when", "always");
    cib_json_put(&member, "expire_in", json_object_get(expire_in));
    cib_json_text(&member, "artifact_type", type->name);
    cib_json_text(&member, "artifact_format", type->format);
    cib_json_append(json, list, &member);
}

/* Is the runner that asks at least that old a version? One that does not say which it is counts as
 * a newer one. */
static int is_since(const cib_description_t *about, long major, long minor)
{
    const char *version = about->runner_version ? about->runner_version : "";
    char *rest;
    long its = strtol(version, &rest, 10);

    if (rest == version || *rest != '.')
        return 1;
    return its > major || (its == major && strtol(rest + 1, NULL, 10) >= minor);
}

/* Runners know types from 11.2 on: older ones would upload each entry as one more archive, and 9.5
 * all of them for each. They know the format raw from 11.5 on: older ones would fail the build. */
static int can_report(const cib_description_t *about, const cib_artifact_type_t *type)
{
    return is_since(about, 11, 2) && (strcmp(type->format, "raw") || is_since(about, 11, 5));
}

static void append_reports(cib_json_t *json, json_object *list, const cib_description_t *about,
                           json_object *entry)
{
    json_object *reports = cib_json_get(entry, "reports");

    if (!reports)
        return;
    json_object_object_foreach(reports, key, paths)
    {
        const cib_artifact_type_t *type = cib_artifact_type(key);

        if (type && paths && can_report(about, type))
            append_report(json, list, type, paths, cib_json_get(entry, "expire_in"));
    }
}

void cib_v4_put_artifacts(cib_json_t *json, const cib_description_t *about)
{
    json_object *entries = cib_json_get(about->options, "artifacts");
    json_object *list = json_object_new_array();

    if (about->wanted)
        append_archive(json, list, about->wanted);
    for (size_t i = 0; entries && i < json_object_array_length(entries); i++)
        append_reports(json, list, about, json_object_array_get_idx(entries, i));
    cib_json_list(json, "artifacts", list);
}

/* --- caches --- */

static void put_cache(cib_json_t *json, json_object *from)
{
    static const member_t members[] = {{"key", AS_TEXT, "default"},
                                       {"untracked", AS_FALSE, NULL},
                                       {"paths", AS_EMPTY, NULL},
                                       {"policy", AS_TEXT, "pull-push"},
                                       {"when", AS_TEXT, "on_success"},
                                       {"fallback_keys", AS_EMPTY, NULL},
                                       {NULL, AS_NULL, NULL}};

    put_members(json, from, members);
}

void cib_v4_put_caches(cib_json_t *json, const cib_description_t *about)
{
    put_each(json, "cache", cib_json_get(about->options, "cache"), put_cache);
}

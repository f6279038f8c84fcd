/* One form for each of the options. */
#include <string.h>

#include "forms.h"

/* What memory refused is counted instead of asked for at every line. */
typedef struct forms_t {
    apr_pool_t *pool;
    int failed;
} forms_t;

/* NULL where it is not there, or null. */
static json_object *get(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

static size_t length(json_object *list)
{
    return list ? json_object_array_length(list) : 0;
}

/* --- one thing ------------------------------------------------------------------------------- */

/* The object {key: value}, or the list [value] where there is no key; both consume it. */
static json_object *wrap(forms_t *forms, const char *key, json_object *value)
{
    json_object *outer = key ? json_object_new_object() : json_object_new_array();

    if (outer &&
        !(key ? json_object_object_add(outer, key, value) : json_object_array_add(outer, value)))
        return outer;
    forms->failed = 1;
    json_object_put(outer);
    json_object_put(value);
    return NULL;
}

/* One more reference to `value`, or where it has that type, the object {key: value}. */
static json_object *named(forms_t *forms, json_object *value, json_type type, const char *key)
{
    return json_object_is_type(value, type) ? wrap(forms, key, json_object_get(value))
                                            : json_object_get(value);
}

/* The same for a value that is no list yet: [value]. */
static json_object *listed(forms_t *forms, json_object *value)
{
    return json_object_is_type(value, json_type_array) ? json_object_get(value)
                                                       : wrap(forms, NULL, json_object_get(value));
}

/* Put in the place of what is there; consumes `value`. */
static void set(forms_t *forms, json_object *object, const char *key, json_object *value)
{
    if (value && !json_object_object_add(object, key, value))
        return;
    forms->failed = 1;
    json_object_put(value);
}

static void set_at(forms_t *forms, json_object *list, size_t i, json_object *value)
{
    if (value && !json_object_array_put_idx(list, i, value))
        return;
    forms->failed = 1;
    json_object_put(value);
}

/* --- images and services --------------------------------------------------------------------- */

static void unify_image(forms_t *forms, json_object *image)
{
    json_object *policy = get(image, "pull_policy");
    json_object *ports = get(image, "ports");

    if (policy)
        set(forms, image, "pull_policy", listed(forms, policy));
    for (size_t i = 0; i < length(ports); i++)
        set_at(forms, ports, i,
               named(forms, json_object_array_get_idx(ports, i), json_type_int, "number"));
}

static void unify_images(forms_t *forms, json_object *options)
{
    json_object *image = get(options, "image");
    json_object *services = get(options, "services");

    if (image) {
        set(forms, options, "image", named(forms, image, json_type_string, "name"));
        unify_image(forms, get(options, "image"));
    }
    for (size_t i = 0; i < length(services); i++) {
        set_at(forms, services, i,
               named(forms, json_object_array_get_idx(services, i), json_type_string, "name"));
        unify_image(forms, json_object_array_get_idx(services, i));
    }
}

/* --- artifacts ------------------------------------------------------------------------------- */

static cib_error_t *twice(const forms_t *forms, const char *what)
{
    return cib_error(forms->pool, CIB_REASON_INVALID, APR_SUCCESS,
                     "the option artifacts asks for %s twice", what);
}

/* {"coverage_report": {"coverage_format": F, "path": P}} is {F: P}. */
static cib_error_t *unify_coverage(forms_t *forms, json_object *reports)
{
    json_object *coverage = get(reports, CIB_COVERAGE_REPORT);
    const char *format;

    if (coverage) {
        format = json_object_get_string(get(coverage, "coverage_format"));
        if (get(reports, format))
            return twice(forms, format);
        set(forms, reports, format, json_object_get(get(coverage, "path")));
    }
    json_object_object_del(reports, CIB_COVERAGE_REPORT);
    return CIB_OK;
}

/* Lists of paths by type, each type once in all entries: `seen` grows. */
static cib_error_t *unify_reports(forms_t *forms, json_object *reports, json_object *seen)
{
    CIB_TRY(unify_coverage(forms, reports));
    json_object_object_foreach(reports, type, paths)
    {
        if (!paths)
            continue;
        if (get(seen, type))
            return twice(forms, type);
        set(forms, seen, type, json_object_new_boolean(1));
        set(forms, reports, type, listed(forms, paths));
    }
    return CIB_OK;
}

static int is_archive(json_object *entry)
{
    return length(get(entry, "paths")) > 0 || json_object_get_boolean(get(entry, "untracked"));
}

static cib_error_t *unify_entries(forms_t *forms, json_object *entries, json_object *seen)
{
    for (size_t i = 0; i < length(entries); i++) {
        json_object *entry = json_object_array_get_idx(entries, i);
        json_object *reports = get(entry, "reports");

        if (is_archive(entry)) {
            if (get(seen, "archive"))
                return twice(forms, "an archive (paths or untracked)");
            set(forms, seen, "archive", json_object_new_boolean(1));
        }
        if (reports)
            CIB_TRY(unify_reports(forms, reports, seen));
    }
    return CIB_OK;
}

static cib_error_t *unify_artifacts(forms_t *forms, json_object *options)
{
    json_object *artifacts = get(options, "artifacts");
    json_object *seen = json_object_new_object();
    cib_error_t *err;

    if (artifacts)
        set(forms, options, "artifacts", listed(forms, artifacts));
    forms->failed |= !seen;
    err = forms->failed ? CIB_OK : unify_entries(forms, get(options, "artifacts"), seen);
    json_object_put(seen);
    return err;
}

json_object *cib_forms_archive(json_object *options)
{
    json_object *entries = get(options, "artifacts");

    for (size_t i = 0; i < length(entries); i++) {
        if (is_archive(json_object_array_get_idx(entries, i)))
            return json_object_array_get_idx(entries, i);
    }
    return NULL;
}

/* --- all ------------------------------------------------------------------------------------- */

cib_error_t *cib_forms_unify(json_object *options, apr_pool_t *pool)
{
    forms_t forms = {pool, 0};

    unify_images(&forms, options);
    CIB_TRY(unify_artifacts(&forms, options));
    if (get(options, "cache"))
        set(&forms, options, "cache", listed(&forms, get(options, "cache")));
    if (forms.failed)
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_INTERNAL, APR_ENOMEM, NULL),
                                "read a build's options");
    return CIB_OK;
}

/* A build's options: what is accepted has the one form, which is accepted again and stays. */
#include <string.h>

#include <apr_strings.h>

#include "forms.h"
#include "fuzz.h"
#include "options.h"

static int is_list(json_object *options, const char *key, json_type of)
{
    json_object *list = NULL;

    if (!json_object_object_get_ex(options, key, &list) || !list)
        return 1;
    if (!json_object_is_type(list, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        if (!json_object_is_type(json_object_array_get_idx(list, i), of))
            return 0;
    }
    return 1;
}

static json_object *member(json_object *object, const char *key)
{
    return json_object_object_get(object, key);
}

static void check_image(json_object *image)
{
    json_object *ports = member(image, "ports");

    holds(!image || json_object_is_type(image, json_type_object), "an image is an object");
    holds(is_list(image, "pull_policy", json_type_string), "a policy is a list of texts");
    for (size_t i = 0; ports && i < json_object_array_length(ports); i++)
        holds(json_object_is_type(member(json_object_array_get_idx(ports, i), "number"),
                                  json_type_int),
              "a port has a number");
}

static void check_reports(json_object *reports)
{
    holds(!member(reports, CIB_COVERAGE_REPORT), "coverage is a report of its format");
    json_object_object_foreach(reports, type, paths)
    {
        (void)paths;
        holds(is_list(reports, type, json_type_string), "reports are lists of paths");
    }
}

static void check_form(json_object *options)
{
    json_object *services = member(options, "services");
    json_object *artifacts = member(options, "artifacts");

    check_image(member(options, "image"));
    for (size_t i = 0; services && i < json_object_array_length(services); i++)
        check_image(json_object_array_get_idx(services, i));
    for (size_t i = 0; artifacts && i < json_object_array_length(artifacts); i++) {
        json_object *reports = member(json_object_array_get_idx(artifacts, i), "reports");

        if (reports)
            check_reports(reports);
    }
}

void fuzz_one(const char *data, apr_size_t len, apr_pool_t *pool)
{
    const char *text = fuzz_text(data, len, pool), *unified;
    json_object *options = NULL, *again = NULL, *archive;
    cib_error_t *err = cib_options_parse(text, &options, pool);

    if (err) {
        holds(err->reason == CIB_REASON_INVALID && err->message, "it is said what is wrong");
        return;
    }
    holds(json_object_is_type(options, json_type_object), "options are an object");
    holds(is_list(options, "services", json_type_object), "services are a list of objects");
    holds(is_list(options, "artifacts", json_type_object), "artifacts are a list of objects");
    holds(is_list(options, "cache", json_type_object), "caches are a list of objects");
    holds(is_list(options, "after_script", json_type_string), "a script is a list of texts");
    check_form(options);
    archive = cib_forms_archive(options);
    holds(!archive || json_object_is_type(archive, json_type_object), "an archive is an object");
    unified = apr_pstrdup(pool, json_object_to_json_string_ext(options, JSON_C_TO_STRING_PLAIN));
    if (strstr(unified, "Infinity") || strlen(unified) > 1024 * 1024)
        return;
    err = cib_options_parse(unified, &again, pool);
    holds(!err, "the one form is accepted: %s: %s", err ? err->message : "", unified);
    holds(json_object_equal(options, again) ||
              !strcmp(unified, json_object_to_json_string_ext(again, JSON_C_TO_STRING_PLAIN)),
          "and stays as it is: %s", unified);
}

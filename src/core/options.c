/* What a runner cannot decode makes its build fail, or the whole runner die, so it is refused where
 * it comes in. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_artifact.h"
#include "forms.h"
#include "options.h"
#include "util/cib_text.h"

#define OPTIONS_MAX (1024 * 1024)

/* --- rules ----------------------------------------------------------------------------------- */

/* What may stand at a key: one of these kinds, as it is or in a list. */
#define TEXT 1
#define FLAG 2
#define PORT 4
#define DURATION 8 /* a text that says how long */
#define OBJECT 16
#define TEXTS 32 /* an object of texts */
typedef enum { ONE, LIST, EITHER } many_e;

typedef struct rule_t {
    const char *key;
    int kinds;
    many_e many;                 /* one of them, a list, or either */
    const struct rule_t *within; /* for the keys of an object; ends with a NULL key */
    const char *const *words;    /* the texts there are, ends with NULL */
    int required;                /* the object makes no sense without it */
    int closed;                  /* the object has no other keys */
    cib_error_t *(*also)(json_object *object, const char *path, apr_pool_t *pool);
} rule_t;

static cib_error_t *check_reports(json_object *reports, const char *path, apr_pool_t *pool);

static const char *const whens[] = {"on_success", "on_failure", "always", NULL};
static const char *const cache_policies[] = {"pull-push", "pull", "push", NULL};
static const char *const pull_policies[] = {"always", "if-not-present", "never", NULL};
static const char *const coverage_formats[] = {"cobertura", "jacoco", NULL};

static const rule_t report_rule = {.kinds = TEXT, .many = EITHER};
static const rule_t coverage_rules[] = {
    {.key = "coverage_format", .kinds = TEXT, .words = coverage_formats, .required = 1},
    {.key = "path", .kinds = TEXT, .required = 1},
    {.key = NULL}};
static const rule_t reports_rules[] = {
    {.key = CIB_COVERAGE_REPORT, .kinds = OBJECT, .within = coverage_rules}, {.key = NULL}};

static const rule_t artifacts_rules[] = {
    {.key = "name", .kinds = TEXT},
    {.key = "untracked", .kinds = FLAG},
    {.key = "paths", .kinds = TEXT, .many = LIST},
    {.key = "exclude", .kinds = TEXT, .many = LIST},
    {.key = "when", .kinds = TEXT, .words = whens},
    {.key = "expire_in", .kinds = DURATION},
    {.key = "reports", .kinds = OBJECT, .within = reports_rules, .also = check_reports},
    {.key = NULL}};

static const rule_t cache_rules[] = {{.key = "key", .kinds = TEXT},
                                     {.key = "untracked", .kinds = FLAG},
                                     {.key = "paths", .kinds = TEXT, .many = LIST},
                                     {.key = "policy", .kinds = TEXT, .words = cache_policies},
                                     {.key = "when", .kinds = TEXT, .words = whens},
                                     {.key = "fallback_keys", .kinds = TEXT, .many = LIST},
                                     {.key = NULL}};

/* A key that runners do not know here makes them fail the build, a user that is a number those
 * before 18.1; and no two of them agree on what a user for kubernetes is. */
static const rule_t docker_rules[] = {
    {.key = "platform", .kinds = TEXT}, {.key = "user", .kinds = TEXT}, {.key = NULL}};
static const rule_t executor_rules[] = {
    {.key = "docker", .kinds = OBJECT, .within = docker_rules, .closed = 1}, {.key = NULL}};

static const rule_t port_rules[] = {{.key = "number", .kinds = PORT, .required = 1},
                                    {.key = "protocol", .kinds = TEXT},
                                    {.key = "name", .kinds = TEXT},
                                    {.key = NULL}};

static const rule_t image_rules[] = {
    {.key = "name", .kinds = TEXT, .required = 1},
    {.key = "alias", .kinds = TEXT},
    {.key = "entrypoint", .kinds = TEXT, .many = LIST},
    {.key = "command", .kinds = TEXT, .many = LIST},
    {.key = "variables", .kinds = TEXTS},
    {.key = "ports", .kinds = PORT | OBJECT, .many = LIST, .within = port_rules},
    {.key = "pull_policy", .kinds = TEXT, .many = EITHER, .words = pull_policies},
    {.key = "executor_opts", .kinds = OBJECT, .within = executor_rules, .closed = 1},
    {.key = NULL}};

static const rule_t options_rules[] = {
    {.key = "image", .kinds = TEXT | OBJECT, .within = image_rules},
    {.key = "services", .kinds = TEXT | OBJECT, .many = LIST, .within = image_rules},
    {.key = "artifacts", .kinds = OBJECT, .many = EITHER, .within = artifacts_rules},
    {.key = "cache", .kinds = OBJECT, .many = EITHER, .within = cache_rules},
    {.key = "dependencies", .kinds = TEXT, .many = LIST},
    {.key = "before_script", .kinds = TEXT, .many = LIST},
    {.key = "after_script", .kinds = TEXT, .many = LIST},
    {.key = NULL}};
static const rule_t options_rule = {.kinds = OBJECT, .within = options_rules};

/* --- what is wrong, in words ----------------------------------------------------------------- */

static const char *path_of(const char *path, const char *key, apr_pool_t *pool)
{
    return *path ? apr_pstrcat(pool, path, ".", key, NULL) : key;
}

static const char *either(const char *left, const char *right, apr_pool_t *pool)
{
    return *left ? apr_pstrcat(pool, left, " or ", right, NULL) : right;
}

/* "a string or an object"; with `many`, "strings or objects". */
static const char *kinds_of(const rule_t *rule, int many, apr_pool_t *pool)
{
    static const struct {
        int kind;
        const char *one, *many;
    } names[] = {{TEXT, "a string", "strings"},
                 {FLAG, "true or false", "booleans"},
                 {PORT, "a whole number up to 65535", "whole numbers up to 65535"},
                 {DURATION, "a duration, such as \"1 week\"", "durations"},
                 {OBJECT, "an object", "objects"},
                 {TEXTS, "an object of strings", "objects of strings"}};
    const char *text = "";

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (rule->kinds & names[i].kind)
            text = either(text, many ? names[i].many : names[i].one, pool);
    }
    return text;
}

static const char *words_of(const rule_t *rule, apr_pool_t *pool)
{
    const char *text = rule->words[0];

    for (int i = 1; rule->words[i]; i++)
        text = apr_pstrcat(pool, text, rule->words[i + 1] ? ", " : " or ", rule->words[i], NULL);
    return text;
}

static const char *expected(const rule_t *rule, apr_pool_t *pool)
{
    const char *one = rule->words ? words_of(rule, pool) : kinds_of(rule, 0, pool);
    const char *list =
        apr_pstrcat(pool, "a list of ", rule->words ? "these" : kinds_of(rule, 1, pool), NULL);

    return rule->many == ONE ? one : rule->many == LIST ? list : either(one, list, pool);
}

static cib_error_t *wrong(const char *path, const rule_t *rule, apr_pool_t *pool)
{
    return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the option %s must be %s", path,
                     expected(rule, pool));
}

/* --- checking -------------------------------------------------------------------------------- */

/* No shell and no runner takes a text with a NUL. */
static int is_text(json_object *value)
{
    return json_object_is_type(value, json_type_string) &&
           strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value);
}

static int is_word(json_object *value, const char *const *words)
{
    for (int i = 0; words && words[i]; i++) {
        if (strcmp(words[i], json_object_get_string(value)) == 0)
            return 1;
    }
    return !words;
}

static int is_duration(json_object *value)
{
    apr_interval_time_t duration;
    const char *text = json_object_get_string(value);

    return !*text || !cib_human_duration_parse(text, &duration);
}

static int is_texts(json_object *value)
{
    json_object_object_foreach(value, key, member)
    {
        if (!*key || !is_text(member))
            return 0;
    }
    return 1;
}

/* json-c cuts what does not fit an int64 down to the largest one. */
static int is_port(json_object *value)
{
    apr_int64_t number = json_object_get_int64(value);

    return number >= 0 && number <= APR_UINT16_MAX;
}

static int fits_one(json_object *value, const rule_t *rule)
{
    switch (json_object_get_type(value)) {
    case json_type_string:
        return is_text(value) && (((rule->kinds & TEXT) && is_word(value, rule->words)) ||
                                  ((rule->kinds & DURATION) && is_duration(value)));
    case json_type_boolean:
        return rule->kinds & FLAG;
    case json_type_int:
        return (rule->kinds & PORT) && is_port(value);
    case json_type_object:
        return (rule->kinds & OBJECT) || ((rule->kinds & TEXTS) && is_texts(value));
    default:
        return 0;
    }
}

static int fits(json_object *value, const rule_t *rule)
{
    if (!json_object_is_type(value, json_type_array))
        return rule->many != LIST && fits_one(value, rule);
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        if (!fits_one(json_object_array_get_idx(value, i), rule))
            return 0;
    }
    return rule->many != ONE;
}

static cib_error_t *check_known(json_object *object, const rule_t *rule, const char *path,
                                apr_pool_t *pool)
{
    json_object_object_foreach(object, key, value)
    {
        const rule_t *known = rule->within;

        (void)value;
        while (known->key && strcmp(known->key, key) != 0)
            known++;
        if (!known->key)
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                             "the option %s is none that all runners know",
                             path_of(path, key, pool));
    }
    return CIB_OK;
}

static cib_error_t *check(json_object *value, const rule_t *rule, const char *path,
                          apr_pool_t *pool);

/* Each object that stands here, by the rules for its keys. A null is as if it were not there. */
static cib_error_t *check_keys(json_object *object, const rule_t *rule, const char *path,
                               apr_pool_t *pool)
{
    for (const rule_t *of = rule->within; of->key; of++) {
        const char *at = path_of(path, of->key, pool);
        json_object *value;

        if (json_object_object_get_ex(object, of->key, &value) && value)
            CIB_TRY(check(value, of, at, pool));
        else if (of->required)
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS, "the option %s is missing", at);
    }
    if (rule->closed)
        CIB_TRY(check_known(object, rule, path, pool));
    return rule->also ? rule->also(object, path, pool) : CIB_OK;
}

static cib_error_t *check(json_object *value, const rule_t *rule, const char *path,
                          apr_pool_t *pool)
{
    if (!fits(value, rule))
        return wrong(path, rule, pool);
    if (!rule->within)
        return CIB_OK;
    if (json_object_is_type(value, json_type_object))
        return check_keys(value, rule, path, pool);
    for (size_t i = 0;
         json_object_is_type(value, json_type_array) && i < json_object_array_length(value); i++) {
        json_object *item = json_object_array_get_idx(value, i);

        if (json_object_is_type(item, json_type_object))
            CIB_TRY(check_keys(item, rule, path, pool));
    }
    return CIB_OK;
}

static cib_error_t *check_reports(json_object *reports, const char *path, apr_pool_t *pool)
{
    json_object_object_foreach(reports, key, value)
    {
        const cib_artifact_type_t *type = cib_artifact_type(key);
        const char *at = path_of(path, key, pool);

        if (strcmp(key, CIB_COVERAGE_REPORT) == 0)
            continue;
        if (!type || !type->filename)
            return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                             "the option %s is no report; there are " CIB_COVERAGE_REPORT ", %s",
                             at, cib_artifact_reports(pool));
        if (value && !fits(value, &report_rule))
            return wrong(at, &report_rule, pool);
    }
    return CIB_OK;
}

/* --- parsing --------------------------------------------------------------------------------- */

static apr_status_t put_object(void *object)
{
    json_object_put(object);
    return APR_SUCCESS;
}

/* NULL where the text is not exactly one JSON value. */
static json_object *parse(const char *text)
{
    json_tokener *tokener = json_tokener_new();
    json_object *value;

    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* with the closing NUL, so that a bare number ends too */
    value = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        json_object_put(value);
        value = NULL;
    }
    json_tokener_free(tokener);
    return value;
}

cib_error_t *cib_options_parse(const char *text, json_object **options, apr_pool_t *pool)
{
    *options = NULL;
    if (strlen(text) > OPTIONS_MAX)
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the options are longer than %d bytes", OPTIONS_MAX);
    *options = parse(text);
    if (*options)
        apr_pool_cleanup_register(pool, *options, put_object, apr_pool_cleanup_null);
    if (!json_object_is_type(*options, json_type_object))
        return cib_error(pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the options must be one JSON object");
    CIB_TRY(check(*options, &options_rule, "", pool));
    return cib_forms_unify(*options, pool);
}

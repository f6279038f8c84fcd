/* The options of a build: what is refused with which words, and the one form of the rest. */
#include <apr_strings.h>

#include "../../src/core/forms.h"
#include "../../src/core/options.h"
#include "tap.h"

static const char *quoted(const char *text, apr_pool_t *pool)
{
    char *copy = apr_pstrdup(pool, text);

    for (char *at = copy; *at; at++) {
        if (*at == '\'')
            *at = '"';
    }
    return copy;
}

/* --- what is refused: options with ' for ", and how the message begins */

static const struct {
    const char *text, *message;
} refused[] = {
    {"[]", "the options must be one JSON object"},
    {"{} x", "the options must be one JSON object"},
    {"{'image':}", "the options must be one JSON object"},
    {"{'image':7}", "the option image must be a string or an object"},
    {"{'image':['x']}", "the option image must be a string or an object"},
    {"{'image':'a\\u0000b'}", "the option image must be a string or an object"},
    {"{'image':{}}", "the option image.name is missing"},
    {"{'image':{'name':null}}", "the option image.name is missing"},
    {"{'image':{'name':1}}", "the option image.name must be a string"},
    {"{'image':{'name':'x','entrypoint':'sh'}}",
     "the option image.entrypoint must be a list of strings"},
    {"{'image':{'name':'x','entrypoint':[null]}}",
     "the option image.entrypoint must be a list of strings"},
    {"{'image':{'name':'x','pull_policy':'never ever'}}",
     "the option image.pull_policy must be always, if-not-present or never or a list of these"},
    {"{'image':{'name':'x','pull_policy':['always',1]}}", "the option image.pull_policy must be"},
    {"{'image':{'name':'x','ports':80}}",
     "the option image.ports must be a list of whole numbers up to 65535 or objects"},
    {"{'image':{'name':'x','ports':[65536]}}", "the option image.ports must be"},
    {"{'image':{'name':'x','ports':[-1]}}", "the option image.ports must be"},
    {"{'image':{'name':'x','ports':[80.0]}}", "the option image.ports must be"},
    {"{'image':{'name':'x','ports':[{}]}}", "the option image.ports.number is missing"},
    {"{'image':{'name':'x','ports':[{'number':99999999999999999999}]}}",
     "the option image.ports.number must be a whole number up to 65535"},
    {"{'image':{'name':'x','ports':[{'number':1,'protocol':2}]}}",
     "the option image.ports.protocol must be a string"},
    {"{'image':{'name':'x','executor_opts':{'shell':{}}}}",
     "the option image.executor_opts.shell is none that all runners know"},
    {"{'image':{'name':'x','executor_opts':{'docker':{'users':'me'}}}}",
     "the option image.executor_opts.docker.users is none that all runners know"},
    {"{'image':{'name':'x','executor_opts':{'docker':{'user':1000}}}}",
     "the option image.executor_opts.docker.user must be a string"},
    {"{'image':{'name':'x','executor_opts':{'kubernetes':{'user':'x'}}}}",
     "the option image.executor_opts.kubernetes is none that all runners know"},
    {"{'services':'x'}", "the option services must be a list of strings or objects"},
    {"{'services':{'name':'x'}}", "the option services must be a list of strings or objects"},
    {"{'services':[null]}", "the option services must be a list of strings or objects"},
    {"{'services':['x',{'alias':'y'}]}", "the option services.name is missing"},
    {"{'services':[{'name':'x','alias':['y']}]}", "the option services.alias must be a string"},
    {"{'services':[{'name':'x','command':'y'}]}",
     "the option services.command must be a list of strings"},
    {"{'services':[{'name':'x','variables':['A']}]}",
     "the option services.variables must be an object of strings"},
    {"{'services':[{'name':'x','variables':{'A':1}}]}",
     "the option services.variables must be an object of strings"},
    {"{'services':[{'name':'x','variables':{'':'1'}}]}",
     "the option services.variables must be an object of strings"},
    {"{'artifacts':'x'}", "the option artifacts must be an object or a list of objects"},
    {"{'artifacts':[1]}", "the option artifacts must be an object or a list of objects"},
    {"{'artifacts':{'name':['x']}}", "the option artifacts.name must be a string"},
    {"{'artifacts':{'paths':'x'}}", "the option artifacts.paths must be a list of strings"},
    {"{'artifacts':[{'paths':['x']},{'exclude':'x'}]}",
     "the option artifacts.exclude must be a list of strings"},
    {"{'artifacts':{'untracked':1}}", "the option artifacts.untracked must be true or false"},
    {"{'artifacts':{'untracked':'true'}}", "the option artifacts.untracked must be true or false"},
    {"{'artifacts':{'when':'later'}}",
     "the option artifacts.when must be on_success, on_failure or always"},
    {"{'artifacts':{'expire_in':7}}",
     "the option artifacts.expire_in must be a duration, such as \"1 week\""},
    {"{'artifacts':{'expire_in':'soon'}}", "the option artifacts.expire_in must be a duration"},
    {"{'artifacts':{'reports':['junit']}}", "the option artifacts.reports must be an object"},
    {"{'artifacts':{'reports':{'junit':1}}}",
     "the option artifacts.reports.junit must be a string or a list of strings"},
    {"{'artifacts':{'reports':{'unit':'x'}}}", "the option artifacts.reports.unit is no report; "
                                               "there are coverage_report, junit, metrics, dotenv"},
    {"{'artifacts':{'reports':{'archive':'x'}}}",
     "the option artifacts.reports.archive is no report"},
    {"{'artifacts':{'reports':{'trace':'x'}}}", "the option artifacts.reports.trace is no report"},
    {"{'artifacts':{'reports':{'coverage_report':'x'}}}",
     "the option artifacts.reports.coverage_report must be an object"},
    {"{'artifacts':{'reports':{'coverage_report':{'path':'x'}}}}",
     "the option artifacts.reports.coverage_report.coverage_format is missing"},
    {"{'artifacts':{'reports':{'coverage_report':{'coverage_format':'cobertura'}}}}",
     "the option artifacts.reports.coverage_report.path is missing"},
    {"{'artifacts':{'reports':{'coverage_report':{'coverage_format':'junit','path':'x'}}}}",
     "the option artifacts.reports.coverage_report.coverage_format must be cobertura or jacoco"},
    {"{'artifacts':[{'paths':['a']},{'untracked':true}]}",
     "the option artifacts asks for an archive (paths or untracked) twice"},
    {"{'artifacts':[{'paths':['a'],'reports':{'junit':'x'}},{'paths':['b'],'reports':{'dotenv':'x'}"
     "}]}",
     "the option artifacts asks for an archive (paths or untracked) twice"},
    {"{'artifacts':[{'reports':{'junit':'x'}},{'reports':{'junit':'y'}}]}",
     "the option artifacts asks for junit twice"},
    {"{'artifacts':{'reports':{'cobertura':'x','coverage_report':"
     "{'coverage_format':'cobertura','path':'y'}}}}",
     "the option artifacts asks for cobertura twice"},
    {"{'cache':['x']}", "the option cache must be an object or a list of objects"},
    {"{'cache':{'key':{'files':['x']}}}", "the option cache.key must be a string"},
    {"{'cache':{'paths':'x'}}", "the option cache.paths must be a list of strings"},
    {"{'cache':{'untracked':'yes'}}", "the option cache.untracked must be true or false"},
    {"{'cache':{'policy':'pull-pull'}}", "the option cache.policy must be pull-push, pull or push"},
    {"{'cache':[{'when':'on success'}]}",
     "the option cache.when must be on_success, on_failure or always"},
    {"{'cache':{'fallback_keys':'x'}}", "the option cache.fallback_keys must be a list of strings"},
    {"{'dependencies':'x'}", "the option dependencies must be a list of strings"},
    {"{'dependencies':[1]}", "the option dependencies must be a list of strings"},
    {"{'before_script':'x'}", "the option before_script must be a list of strings"},
    {"{'after_script':[['x']]}", "the option after_script must be a list of strings"},
    {"{'after_script':['a\\u0000b']}", "the option after_script must be a list of strings"},
};

static void test_refused(apr_pool_t *pool)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        json_object *options;
        cib_error_t *err = cib_options_parse(quoted(refused[i].text, pool), &options, pool);
        const char *want = refused[i].message;

        if (!ok(err && err->reason == CIB_REASON_INVALID, "refused: %s", refused[i].text))
            continue;
        is_str(apr_pstrndup(pool, err->message, strlen(want)), want, "  and says why");
    }
}

/* --- what is taken, and what becomes of it */

static const struct {
    const char *text, *form;
} taken[] = {
    {"{}", NULL},
    {"{'image':null,'services':null,'artifacts':null,'cache':null,'dependencies':null}", NULL},
    {"{'retry':2,'allow_failure':{'exit_codes':[1]},'environment':[null]}", NULL},
    {"{'image':'x'}", "{'image':{'name':'x'}}"},
    {"{'image':{'name':'x','entrypoint':[],'docker':{'a':1}}}", NULL},
    {"{'image':{'name':'x','pull_policy':'always','ports':[80,{'number':81,'name':'p'}]}}",
     "{'image':{'name':'x','pull_policy':['always'],'ports':[{'number':80},{'number':81,'name':'p'}"
     "]}}"},
    {"{'image':{'name':'x','executor_opts':{'docker':{'user':'a','platform':null}}"
     "}}",
     NULL},
    {"{'services':['x',{'name':'y','ports':[1],'pull_policy':['never','always']}]}",
     "{'services':[{'name':'x'},{'name':'y','ports':[{'number':1}],'pull_policy':['never','always']"
     "}]}"},
    {"{'artifacts':{'paths':['a'],'when':null,'expire_in':'never'}}",
     "{'artifacts':[{'paths':['a'],'when':null,'expire_in':'never'}]}"},
    {"{'artifacts':{'expire_in':''}}", "{'artifacts':[{'expire_in':''}]}"},
    {"{'artifacts':[{'paths':[]},{'untracked':false},{'paths':['a']}]}", NULL},
    {"{'artifacts':[{'reports':{'junit':'x','dotenv':['y','z'],'lsif':null}},{'reports':null}]}",
     "{'artifacts':[{'reports':{'junit':['x'],'dotenv':['y','z'],'lsif':null}},{'reports':null}]}"},
    {"{'artifacts':{'reports':{'coverage_report':{'coverage_format':'jacoco','path':'x'},'junit':'"
     "y'}}}",
     "{'artifacts':[{'reports':{'junit':['y'],'jacoco':['x']}}]}"},
    {"{'artifacts':{'reports':{'coverage_report':null}}}", "{'artifacts':[{'reports':{}}]}"},
    {"{'cache':{'key':'k'}}", "{'cache':[{'key':'k'}]}"},
    {"{'cache':[{'key':'k'},{}]}", NULL},
    {"{'dependencies':[],'before_script':[],'after_script':['x']}", NULL},
};

static void test_taken(apr_pool_t *pool)
{
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        const char *want = quoted(taken[i].form ? taken[i].form : taken[i].text, pool);
        json_object *options;

        if (!ok(!cib_options_parse(quoted(taken[i].text, pool), &options, pool), "taken: %s",
                taken[i].text))
            continue;
        is_str(json_object_to_json_string_ext(options, JSON_C_TO_STRING_PLAIN), want,
               "  and its form");
    }
}

static void test_archive(apr_pool_t *pool)
{
    json_object *options, *entry;

    cib_options_parse(
        quoted("{'artifacts':[{'name':'a','reports':{'junit':'x'}},{'name':'b','paths':"
               "['c']}]}",
               pool),
        &options, pool);
    entry = cib_forms_archive(options);
    is_str(json_object_get_string(json_object_object_get(entry, "name")), "b",
           "the archive of several");
    cib_options_parse(quoted("{'artifacts':{'untracked':true}}", pool), &options, pool);
    ok(cib_forms_archive(options), "one without paths");
    cib_options_parse(quoted("{'artifacts':{'paths':[],'untracked':false,'name':'a'}}", pool),
                      &options, pool);
    ok(!cib_forms_archive(options), "none");
    cib_options_parse("{}", &options, pool);
    ok(!cib_forms_archive(options), "no artifacts at all");
}

static void test_long(apr_pool_t *pool)
{
    char *text = apr_palloc(pool, 1024 * 1024 + 2);
    json_object *options;
    cib_error_t *err;

    memset(text, ' ', 1024 * 1024 + 1);
    memcpy(text, "{}", 2);
    text[1024 * 1024] = '\0';
    ok(!cib_options_parse(text, &options, pool), "a megabyte");
    text[1024 * 1024] = ' ';
    text[1024 * 1024 + 1] = '\0';
    err = cib_options_parse(text, &options, pool);
    is_str(err ? err->message : NULL, "the options are longer than 1048576 bytes", "one byte more");
}

int main(void)
{
    apr_pool_t *pool = tap_pool();

    test_refused(pool);
    test_taken(pool);
    test_archive(pool);
    test_long(pool);
    return done_testing();
}

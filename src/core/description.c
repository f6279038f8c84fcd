/* What a runner is told about its build. */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "core/cib_description.h"
#include "core/cib_token.h"
#include "forms.h"
#include "internal.h"
#include "options.h"
#include "space.h"
#include "telling.h"
#include "variables.h"

#define SLUG_MAX 63

/* --- texts ----------------------------------------------------------------------------------- */

const char *cib_ref_slug(const char *ref, apr_pool_t *pool)
{
    char *slug = apr_pstrdup(pool, ref);
    apr_size_t len;

    for (char *at = slug; *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
        else if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9')))
            *at = '-';
    }
    if (strlen(slug) > SLUG_MAX)
        slug[SLUG_MAX] = '\0';
    while (*slug == '-')
        slug++;
    for (len = strlen(slug); len > 0 && slug[len - 1] == '-'; len--)
        slug[len - 1] = '\0';
    return slug;
}

/* Where the user info of a URL begins and what comes after its "@"; NULL where there is none.
 * `begin` NULL: it is no URL with a host. */
static const char *user_info(const char *url, const char **begin)
{
    const char *scheme = strstr(url, "://");
    const char *end, *at = NULL;

    *begin = scheme ? scheme + 3 : NULL;
    if (!*begin)
        return NULL;
    end = *begin + strcspn(*begin, "/?#");
    for (const char *c = *begin; c < end; c++) {
        if (*c == '@')
            at = c + 1;
    }
    return at;
}

const char *cib_url_without_user(const char *url, apr_pool_t *pool)
{
    const char *begin;
    const char *host = user_info(url, &begin);

    if (!host)
        return url;
    return apr_pstrcat(pool, apr_pstrmemdup(pool, url, (apr_size_t)(begin - url)), host, NULL);
}

static int is_http(const char *url)
{
    return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

static const char *repo_url(const cib_project_t *project, const char *token, apr_pool_t *pool)
{
    const char *url = project->repo_url;
    const char *begin;

    if (!project->repo_auth_token || !token || !is_http(url) || user_info(url, &begin) || !begin)
        return url;
    return apr_pstrcat(pool, apr_pstrmemdup(pool, url, (apr_size_t)(begin - url)),
                       "gitlab-ci-token:", token, "@", begin, NULL);
}

/* --- rows ------------------------------------------------------------------------------------ */

struct cib_telling_t {
    const cib_ctx_t *ctx;
    apr_time_t now;
    cib_whole_t whole;
    apr_array_header_t *sealed; /* cib_variable_t * */
    cib_description_t *about;
    cib_error_t *err; /* why it cannot be described */
};

static cib_error_t *archive_of(cib_db_t *db, apr_int64_t id, apr_time_t now,
                               cib_artifact_t **archive, apr_pool_t *pool)
{
    CIB_TRY(cib_q_artifact(db, id, "archive", archive, pool));
    if (*archive && cib_artifact_expired(*archive, now))
        *archive = NULL;
    return CIB_OK;
}

static cib_error_t *dependencies(cib_db_t *db, cib_telling_t *telling, apr_pool_t *pool)
{
    cib_description_t *about = telling->about;
    apr_array_header_t *needs;

    CIB_TRY(cib_q_needs(db, telling->whole.id, &needs, pool));
    about->dependencies = apr_array_make(pool, needs->nelts + 1, sizeof(cib_dependency_t *));
    for (int i = 0; i < needs->nelts; i++) {
        cib_dependency_t *dependency = apr_pcalloc(pool, sizeof(*dependency));
        cib_build_t *build = APR_ARRAY_IDX(needs, i, cib_build_t *);

        dependency->build = build;
        dependency->token = cib_token_build(telling->ctx->storage, build->id, build->claim, pool);
        CIB_TRY(archive_of(db, build->id, telling->now, &dependency->archive, pool));
        APR_ARRAY_PUSH(about->dependencies, cib_dependency_t *) = dependency;
    }
    return CIB_OK;
}

static cib_error_t *collect_parts(cib_db_t *db, cib_telling_t *telling, apr_pool_t *pool)
{
    const cib_build_parts_t *parts = telling->whole.parts;
    cib_description_t *about = telling->about;

    telling->sealed = apr_array_make(pool, 1, sizeof(cib_variable_t *));
    about->dependencies = apr_array_make(pool, 1, sizeof(cib_dependency_t *));
    about->archive = NULL;
    if (parts->has_variables)
        CIB_TRY(cib_q_variables(db, telling->whole.id, &telling->sealed, pool));
    if (parts->has_artifacts)
        CIB_TRY(archive_of(db, telling->whole.id, telling->now, &about->archive, pool));
    return parts->has_needs ? dependencies(db, telling, pool) : CIB_OK;
}

static cib_error_t *collect_one(cib_db_t *db, cib_telling_t *telling, apr_pool_t *pool)
{
    const cib_whole_t *whole = &telling->whole;
    cib_description_t *about = telling->about;

    if (!whole->build || !whole->project || !whole->parts)
        return cib_no_record(pool, "build", whole->id);
    about->build = whole->build;
    about->project = whole->project;
    about->runner = whole->runner;
    return collect_parts(db, telling, pool);
}

static cib_error_t *collect(cib_db_t *db, cib_wish_t *const *wishes, int count, apr_pool_t *pool)
{
    cib_whole_t **wholes = apr_palloc(pool, sizeof(*wholes) * (apr_size_t)count);

    for (int i = 0; i < count; i++)
        wholes[i] = &((cib_telling_t *)wishes[i]->baton)->whole;
    CIB_TRY(cib_q_wholes(db, wholes, count, pool));
    for (int i = 0; i < count; i++)
        wishes[i]->err = collect_one(db, wishes[i]->baton, wishes[i]->pool);
    return CIB_OK;
}

/* The lines of before_script come first. */
static const char *commands(const char *own, json_object *options, apr_pool_t *pool)
{
    apr_array_header_t *lines;
    json_object *before;

    if (!json_object_object_get_ex(options, "before_script", &before) || !before)
        return own;
    lines = apr_array_make(pool, 8, sizeof(const char *));
    for (size_t i = 0; i < json_object_array_length(before); i++)
        APR_ARRAY_PUSH(lines, const char *) = apr_pstrcat(
            pool, json_object_get_string(json_object_array_get_idx(before, i)), "\n", NULL);
    APR_ARRAY_PUSH(lines, const char *) = own;
    return apr_array_pstrcat(pool, lines, 0);
}

static int timeout(const cib_build_t *build, const cib_runner_t *runner)
{
    int limit = runner ? runner->maximum_timeout : 0;

    return limit && limit < build->timeout ? limit : build->timeout;
}

/* The public ones first, then the secret ones: of two with one key the runner takes the later. */
static apr_array_header_t *in_order(const apr_array_header_t *variables, apr_pool_t *pool)
{
    apr_array_header_t *ordered =
        apr_array_make(pool, variables->nelts + 1, sizeof(cib_variable_t *));

    for (int is_public = 1; is_public >= 0; is_public--) {
        for (int i = 0; i < variables->nelts; i++) {
            cib_variable_t *variable = &APR_ARRAY_IDX(variables, i, cib_variable_t);

            if (!variable->is_public == !is_public)
                APR_ARRAY_PUSH(ordered, cib_variable_t *) = variable;
        }
    }
    return ordered;
}

/* What was checked when the build was added must be so still. */
static cib_error_t *read_options(cib_description_t *about, const cib_build_spec_t *spec,
                                 apr_pool_t *pool)
{
    cib_error_t *err = cib_options_parse(spec->options, &about->options, pool);

    if (err)
        return cib_error_detail(pool, cib_error(pool, CIB_REASON_INTERNAL, APR_SUCCESS, NULL),
                                "build %" APR_INT64_T_FMT ": %s", about->build->id, err->message);
    about->wanted = cib_forms_archive(about->options);
    about->commands = commands(spec->commands, about->options, pool);
    return CIB_OK;
}

/* What the database fails to say, for whatever reason, is no fault of the build's. */
static cib_error_t *unavailable(cib_error_t *err)
{
    if (err && err->reason == CIB_REASON_INTERNAL)
        err->reason = CIB_REASON_UNAVAILABLE;
    return err;
}

cib_telling_t *cib_telling_create(const cib_ctx_t *ctx, apr_int64_t build_id)
{
    cib_telling_t *telling = apr_pcalloc(ctx->pool, sizeof(*telling));

    telling->ctx = ctx;
    telling->now = apr_time_now();
    telling->whole.id = build_id;
    telling->whole.pool = ctx->pool;
    telling->about = apr_pcalloc(ctx->pool, sizeof(*telling->about));
    return telling;
}

cib_error_t *cib_telling_ask(cib_db_t *db, cib_telling_t *telling, apr_pool_t *pool)
{
    cib_whole_t *whole = &telling->whole;
    cib_error_t *err = cib_q_wholes(db, &whole, 1, pool);

    if (!err)
        err = collect_one(db, telling, pool);
    if (!err || err->reason != CIB_REASON_NO_RECORD)
        return unavailable(err);
    telling->err = err;
    return CIB_OK;
}

/* The other half, which asks nobody. */
static cib_error_t *describe(const cib_telling_t *telling, cib_description_t **description)
{
    const cib_ctx_t *ctx = telling->ctx;
    cib_description_t *about = telling->about;
    apr_int64_t build_id = about->build->id;
    apr_array_header_t *variables;

    CIB_TRY(cib_variables_unseal(ctx->storage, build_id, telling->sealed, &variables, ctx->pool));
    about->token = cib_token_build(ctx->storage, build_id, about->build->claim, ctx->pool);
    if (!about->token)
        return cib_error(ctx->pool, CIB_REASON_INTERNAL, APR_EGENERAL, NULL);
    about->repo_url = repo_url(about->project, about->token, ctx->pool);
    about->runner_version = about->runner ? about->runner->version : NULL;
    about->timeout = timeout(about->build, about->runner);
    about->variables = in_order(variables, ctx->pool);
    CIB_TRY(read_options(about, &telling->whole.parts->spec, ctx->pool));
    *description = about;
    return CIB_OK;
}

cib_error_t *cib_describe(const cib_ctx_t *ctx, apr_int64_t build_id,
                          cib_description_t **description)
{
    cib_telling_t *telling = cib_telling_create(ctx, build_id);

    *description = NULL;
    CIB_TRY(unavailable(cib_gather(ctx, CIB_GATHER_READ, "", collect, telling)));
    return describe(telling, description);
}

cib_error_t *cib_describe_claim(const cib_ctx_t *ctx, const cib_claim_t *claim,
                                cib_description_t **description)
{
    const cib_telling_t *telling = claim->telling;

    *description = NULL;
    if (!telling)
        return cib_describe(ctx, claim->build_id, description);
    return telling->err ? telling->err : describe(telling, description);
}

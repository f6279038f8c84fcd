/* application/x-www-form-urlencoded, as it arrives. */
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "field.h"

typedef struct form_parser_t {
    cib_parser_t base; /* first: what the caller holds */
    cib_field_t field;
    cib_buffer_t name;
    int in_value;
    int escape; /* hex digits still to come of a %XX */
    unsigned int code;
} form_parser_t;

static cib_error_t *broken_escape(form_parser_t *form)
{
    return cib_error(form->field.pool, CIB_REASON_INVALID, APR_SUCCESS,
                     "invalid %%-encoding in the parameters");
}

/* The decoded bytes of a name or a value. */
static cib_error_t *put(form_parser_t *form, const char *data, apr_size_t len)
{
    if (form->in_value)
        return cib_field_write(&form->field, data, len);
    CIB_TRY(cib_field_spend(&form->field, len));
    return cib_buffer_append(&form->name, data, len);
}

static cib_error_t *end_name(form_parser_t *form)
{
    const char *name = cib_buffer_text(&form->name);

    if (strlen(name) != form->name.len)
        return cib_error(form->field.pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "the name of a parameter holds NUL");
    name = apr_pstrdup(form->field.pool, name);
    cib_buffer_clear(&form->name);
    form->in_value = 1;
    return cib_field_begin(&form->field, name, NULL);
}

static cib_error_t *end_field(form_parser_t *form)
{
    /* the separator counts too, so that a body of nothing else has an end */
    CIB_TRY(cib_field_spend(&form->field, 1));
    if (!form->in_value) {
        if (!form->name.len)
            return CIB_OK;
        CIB_TRY(end_name(form));
    }
    form->in_value = 0;
    return cib_field_end(&form->field);
}

static cib_error_t *escaped(form_parser_t *form, char digit)
{
    const char *digits = "0123456789abcdef";
    const char *at = digit ? strchr(digits, apr_tolower(digit)) : NULL;
    char decoded;

    if (!at)
        return broken_escape(form);
    form->code = form->code << 4 | (unsigned int)(at - digits);
    if (--form->escape)
        return CIB_OK;
    decoded = (char)form->code;
    return put(form, &decoded, 1);
}

static cib_error_t *special(form_parser_t *form, char c)
{
    switch (c) {
    case '%':
        form->escape = 2;
        form->code = 0;
        return CIB_OK;
    case '+':
        return put(form, " ", 1);
    case '&':
        return end_field(form);
    default: /* '=': of the first in a field */
        return form->in_value ? put(form, "=", 1) : end_name(form);
    }
}

static apr_size_t plain_length(const char *data, apr_size_t len)
{
    apr_size_t i = 0;

    while (i < len && data[i] != '%' && data[i] != '+' && data[i] != '&' && data[i] != '=')
        i++;
    return i;
}

static cib_error_t *form_feed(cib_parser_t *parser, const char *data, apr_size_t len)
{
    form_parser_t *form = (form_parser_t *)parser;

    while (len) {
        apr_size_t step = form->escape ? 0 : plain_length(data, len);

        if (step) {
            CIB_TRY(put(form, data, step));
        } else {
            step = 1;
            CIB_TRY(form->escape ? escaped(form, *data) : special(form, *data));
        }
        data += step;
        len -= step;
    }
    return CIB_OK;
}

static cib_error_t *form_finish(cib_parser_t *parser)
{
    form_parser_t *form = (form_parser_t *)parser;

    if (form->escape)
        return broken_escape(form);
    return form->in_value || form->name.len ? end_field(form) : CIB_OK;
}

cib_parser_t *cib_parser_form(cib_params_t *params, const cib_body_plan_t *plan, apr_pool_t *pool)
{
    form_parser_t *form = apr_pcalloc(pool, sizeof *form);

    form->base.feed = form_feed;
    form->base.finish = form_finish;
    cib_field_init(&form->field, params, plan, pool);
    cib_buffer_init(&form->name, CIB_PARAMS_LIMIT, pool);
    return &form->base;
}

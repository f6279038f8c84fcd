/* Directives of other modules, whose own configuration is private to them. */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <util_cfgtree.h>

#include "internal.h"

static const char *last_in(const ap_directive_t *node, const char *directive, apr_pool_t *pool)
{
    const char *args = NULL;

    for (; node; node = node->next)
        if (!strcasecmp(node->directive, directive))
            args = node->args;
    return args ? ap_getword_conf(pool, &args) : NULL;
}

/* A virtual host remembers where its section began. */
static const ap_directive_t *section_of(const server_rec *s)
{
    for (const ap_directive_t *node = ap_conftree; node; node = node->next)
        if (s->is_virtual && s->defn_name && !strcasecmp(node->directive, "<VirtualHost") &&
            (unsigned)node->line_num == s->defn_line_number &&
            !strcmp(node->filename, s->defn_name))
            return node;
    return NULL;
}

const char *cib_tree_argument(const server_rec *s, const char *directive, apr_pool_t *pool)
{
    const ap_directive_t *section = section_of(s);
    const char *found = section ? last_in(section->first_child, directive, pool) : NULL;

    return found ? found : last_in(ap_conftree, directive, pool);
}

/* Reading the command line. Words and options may be mixed, and the options of the program may
 * stand before, between and after the words of the command. */
#include <stdlib.h>
#include <string.h>
#include <apr_env.h>
#include <apr_getopt.h>
#include <apr_strings.h>
#include "cli.h"
#include "util/cib_text.h"

/* Longer than any command's list of options and the program's together. */
#define MOST_OPTIONS 32
/* What apr_getopt_long calls options without a letter: this and their place in the list. */
#define NO_LETTER 256

/* A word "-" while the command line is read: apr_getopt_long takes it for a broken option. */
static const char dash[] = "(standard input or output)";

static const char *undashed(const char *word)
{
    return word == dash ? "-" : word;
}

typedef struct reader_t {
    cli_t *cli;
    apr_getopt_t *os;
    apr_getopt_option_t known[MOST_OPTIONS];
    const cli_option_t *option[MOST_OPTIONS];
    int count;
} reader_t;

static void learn(reader_t *reader, const cli_option_t *options)
{
    for (; options && options->name; options++) {
        int i = reader->count++;

        if (i + 1 >= MOST_OPTIONS)
            abort();
        reader->option[i] = options;
        reader->known[i].name = options->name;
        reader->known[i].optch = options->letter ? options->letter : NO_LETTER + i;
        reader->known[i].has_arg = options->kind != CLI_FLAG;
        reader->known[i].description = options->help;
        memset(&reader->known[i + 1], 0, sizeof(reader->known[0]));
    }
}

static const cli_option_t *found(const reader_t *reader, int optch)
{
    for (int i = 0; i < reader->count; i++) {
        if (reader->known[i].optch == optch)
            return reader->option[i];
    }
    abort(); /* apr_getopt_long knows no other */
}

static int is_number(cli_kind_e kind, const char *value)
{
    apr_int64_t number;
    apr_int64_t least = kind == CLI_NATURAL ? 0 : 1;
    apr_int64_t most = kind == CLI_ID ? APR_INT64_MAX : APR_INT32_MAX;

    return cib_int_parse(value, least, most, &number) == APR_SUCCESS;
}

static cib_error_t *keep(cli_t *cli, const cli_option_t *option, const char *value)
{
    apr_array_header_t *values = apr_hash_get(cli->values, option->name, APR_HASH_KEY_STRING);

    if (option->kind != CLI_FLAG && option->kind != CLI_TEXT && !is_number(option->kind, value))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                         "--%s: '%s' is not a number, or out of range", option->name, value);
    if (!values) {
        values = apr_array_make(cli->pool, 1, sizeof(const char *));
        apr_hash_set(cli->values, option->name, APR_HASH_KEY_STRING, values);
    }
    APR_ARRAY_PUSH(values, const char *) = value ? value : "";
    return CIB_OK;
}

/* Options up to the next word, or all of them and words aside where the reader interleaves. */
static cib_error_t *read_options(reader_t *reader)
{
    for (;;) {
        const char *value = NULL;
        int optch = 0;
        apr_status_t rv = apr_getopt_long(reader->os, reader->known, &optch, &value);

        if (APR_STATUS_IS_EOF(rv))
            return CIB_OK;
        if (rv)
            return cib_error(reader->cli->pool, CIB_REASON_INVALID, APR_SUCCESS, NULL);
        CIB_TRY(keep(reader->cli, found(reader, optch), undashed(value)));
    }
}

/* The next word, NULL where there is none; it is taken. Options before it are kept. */
static cib_error_t *next_word(reader_t *reader, const char **word)
{
    apr_getopt_t *os = reader->os;

    CIB_TRY(read_options(reader));
    *word = os->ind < os->argc ? undashed(os->argv[os->ind++]) : NULL;
    /* it is behind us: apr_getopt_long would go back to the first word it skipped */
    os->skip_start = os->skip_end = os->ind;
    return CIB_OK;
}

static const cli_command_t *find(const char *noun, const char *verb)
{
    for (const cli_command_t *command = cli_commands; command->noun; command++) {
        if (!strcmp(command->noun, noun) &&
            (!command->verb || !verb || !strcmp(command->verb, verb)))
            return command;
    }
    return NULL;
}

/* The words of the command. cli->command stays NULL where they end before it is named. */
static cib_error_t *read_command(reader_t *reader, const char **noun)
{
    cli_t *cli = reader->cli;
    const cli_command_t *command;
    const char *verb;

    CIB_TRY(next_word(reader, noun));
    if (*noun && !strcmp(*noun, "help")) {
        CIB_TRY(keep(cli, &(cli_option_t){.name = "help"}, NULL));
        CIB_TRY(next_word(reader, noun));
    }
    if (!*noun)
        return CIB_OK;
    command = find(*noun, NULL);
    if (!command) {
        const char *word = *noun;

        *noun = NULL;
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "there is no command '%s'",
                         word);
    }
    if (command->verb) {
        CIB_TRY(next_word(reader, &verb));
        if (!verb)
            return CIB_OK;
        command = find(*noun, verb);
        if (!command)
            return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS,
                             "there is no command '%s %s'", *noun, verb);
    }
    cli->command = command;
    return CIB_OK;
}

static cib_error_t *take_operand(cli_t *cli, const apr_getopt_t *os)
{
    int count = os->argc - os->ind;
    const char *wanted = cli->command->operand;
    int most = wanted ? 1 : 0;

    if (count > most)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "'%s' is one word too many",
                         undashed(os->argv[os->ind + most]));
    if (!wanted)
        return CIB_OK;
    if (!count)
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "%s is missing", wanted);
    cli->operand = undashed(os->argv[os->ind]);
    if (!strcmp(wanted, "ID") && cib_int_parse(cli->operand, 1, APR_INT64_MAX, &cli->id))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "'%s' is not an id",
                         cli->operand);
    return CIB_OK;
}

static cib_error_t *demand_required(const cli_t *cli)
{
    const cli_option_t *option = cli->command->options;

    for (; option && option->name; option++) {
        if ((option->flags & CLI_REQUIRED) && !cli_given(cli, option->name))
            return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "--%s is missing",
                             option->name);
    }
    return CIB_OK;
}

static void find_storage(cli_t *cli)
{
    const char *dir = cli_text(cli, "storage");
    char *from_env = NULL;
    char *full = NULL;

    if (!dir && !apr_env_get(&from_env, "CI_BUILDS_STORAGE", cli->pool) && *from_env)
        dir = from_env;
    if (!dir)
        dir = CLI_DEFAULT_STORAGE;
    /* the working directory may be out of reach once we are somebody else */
    if (apr_filepath_merge(&full, NULL, dir, APR_FILEPATH_TRUENAME, cli->pool))
        full = apr_pstrdup(cli->pool, dir);
    for (apr_size_t len = strlen(full); len > 1 && full[len - 1] == '/'; len--)
        full[len - 1] = '\0';
    cli->dir = full;
}

static const char *const *with_dashes(int argc, const char *const *argv, apr_pool_t *pool)
{
    const char **words = apr_pmemdup(pool, argv, sizeof(*argv) * (apr_size_t)(argc + 1));

    for (int i = 1; i < argc; i++) {
        if (!strcmp(words[i], "-"))
            words[i] = dash;
    }
    return words;
}

cib_error_t *cli_parse(cli_t *cli, int argc, const char *const *argv, const char **noun, int *help,
                       int *version)
{
    reader_t *reader = apr_pcalloc(cli->pool, sizeof(*reader));

    cli->values = apr_hash_make(cli->pool);
    reader->cli = cli;
    argv = with_dashes(argc, argv, cli->pool);
    if (apr_getopt_init(&reader->os, cli->pool, argc, argv))
        return cib_error(cli->pool, CIB_REASON_INTERNAL, APR_SUCCESS, "no memory");
    reader->os->argv[0] = CLI_PROGRAM; /* what its messages begin with */
    learn(reader, cli_global_options);
    CIB_TRY(read_command(reader, noun));
    if (cli->command) {
        learn(reader, cli->command->options);
        reader->os->interleave = 1;
        CIB_TRY(read_options(reader));
    }
    *help = cli_given(cli, "help");
    *version = cli_given(cli, "version");
    cli->json = cli_given(cli, "json");
    find_storage(cli);
    if (!cli->command || *help || *version)
        return CIB_OK;
    CIB_TRY(take_operand(cli, reader->os));
    return demand_required(cli);
}

static int in_list(const cli_option_t *options, const char *name)
{
    for (; options && options->name; options++) {
        if (!strcmp(options->name, name))
            return 1;
    }
    return 0;
}

static apr_array_header_t *values_of(const cli_t *cli, const char *name)
{
    if (!in_list(cli_global_options, name) &&
        !(cli->command && in_list(cli->command->options, name)))
        abort();
    return apr_hash_get(cli->values, name, APR_HASH_KEY_STRING);
}

int cli_given(const cli_t *cli, const char *name)
{
    return values_of(cli, name) != NULL;
}

const char *cli_text(const cli_t *cli, const char *name)
{
    const apr_array_header_t *values = values_of(cli, name);

    return values ? APR_ARRAY_IDX(values, values->nelts - 1, const char *) : NULL;
}

const apr_array_header_t *cli_texts(const cli_t *cli, const char *name)
{
    const apr_array_header_t *values = values_of(cli, name);

    return values ? values : apr_array_make(cli->pool, 0, sizeof(const char *));
}

static apr_int64_t number_of(const char *text)
{
    apr_int64_t number = 0;

    /* it was looked at when it was read */
    (void)cib_int_parse(text, 0, APR_INT64_MAX, &number);
    return number;
}

apr_int64_t cli_number(const cli_t *cli, const char *name, apr_int64_t otherwise)
{
    const char *text = cli_text(cli, name);

    return text ? number_of(text) : otherwise;
}

apr_array_header_t *cli_numbers(const cli_t *cli, const char *name)
{
    const apr_array_header_t *texts = cli_texts(cli, name);
    apr_array_header_t *numbers = apr_array_make(cli->pool, texts->nelts, sizeof(apr_int64_t));

    for (int i = 0; i < texts->nelts; i++)
        APR_ARRAY_PUSH(numbers, apr_int64_t) = number_of(APR_ARRAY_IDX(texts, i, const char *));
    return numbers;
}

cib_error_t *cli_switch(const cli_t *cli, const char *name, int *value)
{
    const char *no = apr_pstrcat(cli->pool, "no-", name, NULL);

    if (cli_given(cli, name) && cli_given(cli, no))
        return cib_error(cli->pool, CIB_REASON_INVALID, APR_SUCCESS, "--%s and --%s?", name, no);
    if (cli_given(cli, name))
        *value = 1;
    else if (cli_given(cli, no))
        *value = 0;
    return CIB_OK;
}

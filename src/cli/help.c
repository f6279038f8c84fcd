/* Help texts, made from the table of commands. */
#include <stdio.h>
#include <string.h>
#include "cli.h"

#define LEFT_COLUMN 30

static void print_option(const cli_option_t *option)
{
    char left[80];
    int len = snprintf(left, sizeof(left), "  ");

    if (option->letter)
        len += snprintf(left + len, sizeof(left) - (size_t)len, "-%c, ", option->letter);
    len += snprintf(left + len, sizeof(left) - (size_t)len, "--%s%s%s", option->name,
                    option->value ? " " : "", option->value ? option->value : "");
    if (len > LEFT_COLUMN - 2)
        printf("%s\n%*s", left, LEFT_COLUMN, "");
    else
        printf("%-*s", LEFT_COLUMN, left);
    printf("%s%s%s\n", option->help, option->flags & CLI_REQUIRED ? " (required)" : "",
           option->flags & CLI_REPEATED ? " (may be repeated)" : "");
}

static void print_options(const char *title, const cli_option_t *options)
{
    if (!options)
        return;
    printf("\n%s:\n", title);
    for (; options->name; options++)
        print_option(options);
}

static void print_command(const cli_command_t *command)
{
    char left[80];

    snprintf(left, sizeof(left), "  %s%s%s%s%s", command->noun, command->verb ? " " : "",
             command->verb ? command->verb : "", command->operand ? " " : "",
             command->operand ? command->operand : "");
    printf("%-*s%s\n", LEFT_COLUMN, left, command->summary);
}

static void print_storage_note(void)
{
    fputs(
        "\nAs root it becomes the owner of DIR first. It works while httpd is down, and while it\n"
        "is up. Exit status: 0 done, 1 failed, 2 the command line is wrong.\n",
        stdout);
}

void cli_help_program(void)
{
    const char *noun = "";
    int had_verbs = 0;

    puts("Usage: " CLI_PROGRAM " [-s DIR] [--json] COMMAND ...\n\n"
         "Administer a storage directory of mod_ci_builds: projects, runners and builds.");
    for (const cli_command_t *command = cli_commands; command->noun; command++) {
        if (strcmp(noun, command->noun) != 0 && (command->verb || !*noun || had_verbs))
            putchar('\n');
        noun = command->noun;
        had_verbs = command->verb != NULL;
        print_command(command);
    }
    print_options("Options of every command", cli_global_options);
    print_storage_note();
    puts("'" CLI_PROGRAM " COMMAND --help' explains a command.");
}

void cli_help_noun(const char *noun)
{
    printf("Usage: " CLI_PROGRAM " [-s DIR] [--json] %s COMMAND ...\n\n", noun);
    for (const cli_command_t *command = cli_commands; command->noun; command++) {
        if (!strcmp(noun, command->noun))
            print_command(command);
    }
    printf("\n'" CLI_PROGRAM " %s COMMAND --help' explains a command.\n", noun);
}

static void print_usage(const cli_command_t *command)
{
    const cli_option_t *option = command->options;
    int optional = 0;

    printf("Usage: " CLI_PROGRAM " [-s DIR] [--json] %s%s%s", command->noun,
           command->verb ? " " : "", command->verb ? command->verb : "");
    if (command->operand)
        printf(" %s", command->operand);
    for (; option && option->name; option++) {
        if (option->flags & CLI_REQUIRED)
            printf(" --%s %s", option->name, option->value);
        else
            optional = 1;
    }
    puts(optional ? " [OPTION...]" : "");
}

void cli_help_command(const cli_command_t *command)
{
    print_usage(command);
    printf("\n%c%s.\n", command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->details)
        fputs(command->details, stdout);
    print_options("Options", command->options);
    print_options("Options of every command", cli_global_options);
}

/* What the program prints: JSON for programs, lines and tables for people. Texts that come from
 * runners may hold anything, so what could drive a terminal is replaced for people. */
#ifndef CIB_CLI_OUTPUT_H
#define CIB_CLI_OUTPUT_H

#include <json-c/json.h>
#include "cli.h"

/* Members; a NULL text, and a 0 where it says so, become null. */
void cli_set_text(json_object *object, const char *key, const char *text);
void cli_set_int(json_object *object, const char *key, apr_int64_t number);
void cli_set_id(json_object *object, const char *key, apr_int64_t id); /* 0: null */
void cli_set_bool(json_object *object, const char *key, int truth);
void cli_set_time(json_object *object, const char *key, apr_time_t when, apr_pool_t *pool);
/* Arrays of apr_int64_t and of const char *. */
void cli_set_ids(json_object *object, const char *key, const apr_array_header_t *ids);
void cli_set_texts(json_object *object, const char *key, const apr_array_header_t *texts);

/* One result: an object on one line, or a line for each member (and for each object of a list).
 * Takes the reference. */
void cli_print(const cli_t *cli, json_object *object);
/* Only with --json: people see no news as good news. Takes the reference. */
void cli_print_json(const cli_t *cli, json_object *object);
/* One result whose member `key` is all that a person wants. Takes the reference. */
void cli_print_member(const cli_t *cli, json_object *object, const char *key);

/* A list: an array on one line, or a table of the members that `columns` names. Rows are printed
 * as they come in, `cli_list_flush` at latest. */
typedef struct cli_list_t cli_list_t;
cli_list_t *cli_list_begin(const cli_t *cli, const char *const *columns);
void cli_list_add(cli_list_t *list, json_object *row); /* takes the reference */
void cli_list_flush(cli_list_t *list);
void cli_list_end(cli_list_t *list);

/* An error for a person, with the program's name before it. */
void cli_complain(const char *text);
/* Everything printed has arrived; else say why not: CLI_FAILED. */
int cli_output_finish(void);

#endif

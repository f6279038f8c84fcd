/* The table of contents of the command line: every command, option and line of help. */
#include "cli.h"

const cli_option_t cli_global_options[] = {
    {"storage", 's', CLI_TEXT, 0, "DIR",
     "the storage directory (default: $CI_BUILDS_STORAGE, then " CLI_DEFAULT_STORAGE ")"},
    {"json", 0, CLI_FLAG, 0, NULL, "print each result as one JSON object on one line"},
    {"help", 'h', CLI_FLAG, 0, NULL, "explain the command"},
    {"version", 0, CLI_FLAG, 0, NULL, "print the version"},
    {0}};

static const cli_option_t init_options[] = {
    {"driver", 0, CLI_TEXT, 0, "DRIVER", "sqlite3 (the default) or pgsql"},
    {"params", 0, CLI_TEXT, 0, "STRING",
     "DBDParams: a file for sqlite3 (default: ci-builds.db in DIR), a conninfo for pgsql"},
    {"user", 0, CLI_TEXT, 0, "NAME",
     "who is to own DIR: httpd's User (default: www-data as root, else the caller)"},
    {0}};

static const cli_option_t backup_options[] = {
    {"force", 0, CLI_FLAG, 0, NULL, "replace FILE where it is there"}, {0}};

static const cli_option_t restore_options[] = {
    {"driver", 0, CLI_TEXT, 0, "DRIVER", "sqlite3 or pgsql (default: as in the backup)"},
    {"params", 0, CLI_TEXT, 0, "STRING",
     "DBDParams of an empty database (default: ci-builds.db in DIR for sqlite3)"},
    {"user", 0, CLI_TEXT, 0, "NAME",
     "who is to own DIR: httpd's User (default: www-data as root, else the caller)"},
    {0}};

static const cli_option_t project_add_options[] = {
    {"repo-url", 0, CLI_TEXT, CLI_REQUIRED, "URL", "where runners fetch the repository from"},
    {"repo-auth", 0, CLI_TEXT, 0, "none|token",
     "token: hand runners URL with the build's token in it (default: none)"},
    {"timeout", 0, CLI_NUMBER, 0, "SEC", "how long a build may run (default: 3600)"},
    {"no-git-fetch", 0, CLI_FLAG, 0, NULL, "let runners clone afresh for each build"},
    {"no-shared-runners", 0, CLI_FLAG, 0, NULL, "shared runners do not take its builds"},
    {"token", 0, CLI_TEXT, 0, "TOKEN", "import one of 16 bytes or more; -: from standard input"},
    {0}};

static const cli_option_t project_show_options[] = {
    {"show-token", 0, CLI_FLAG, 0, NULL, "show the token too"}, {0}};

static const cli_option_t project_set_options[] = {
    {"name", 0, CLI_TEXT, 0, "NAME", "its name"},
    {"repo-url", 0, CLI_TEXT, 0, "URL", "where runners fetch the repository from"},
    {"repo-auth", 0, CLI_TEXT, 0, "none|token", "whether the build's token is put into URL"},
    {"timeout", 0, CLI_NUMBER, 0, "SEC", "how long a build added from now on may run"},
    {"git-fetch", 0, CLI_FLAG, 0, NULL, "runners may keep their working copy"},
    {"no-git-fetch", 0, CLI_FLAG, 0, NULL, "runners clone afresh for each build"},
    {"shared-runners", 0, CLI_FLAG, 0, NULL, "shared runners take its builds"},
    {"no-shared-runners", 0, CLI_FLAG, 0, NULL, "shared runners do not take its builds"},
    {"builds", 0, CLI_FLAG, 0, NULL, "builds are accepted and handed out"},
    {"no-builds", 0, CLI_FLAG, 0, NULL, "no build is accepted or handed out"},
    {0}};

static const cli_option_t runner_add_options[] = {
    {"project", 0, CLI_ID, CLI_REPEATED, "ID", "a project whose builds it takes"},
    {"shared", 0, CLI_FLAG, 0, NULL, "it takes builds of every project with shared runners on"},
    {"tags", 0, CLI_TEXT, CLI_REPEATED, "A,B", "the tags it has"},
    {"no-untagged", 0, CLI_FLAG, 0, NULL, "it takes no build without tags"},
    {"locked", 0, CLI_FLAG, 0, NULL, "it serves no project but those it has"},
    {"description", 0, CLI_TEXT, 0, "TEXT", "what people call it"},
    {"maximum-timeout", 0, CLI_TEXT, 0, "SEC|none",
     "no build of its runs longer, 600 at least (default: none)"},
    {"token", 0, CLI_TEXT, 0, "TOKEN", "import one of 16 bytes or more; -: from standard input"},
    {0}};

static const cli_option_t runner_set_options[] = {
    {"description", 0, CLI_TEXT, 0, "TEXT", "what people call it"},
    {"maximum-timeout", 0, CLI_TEXT, 0, "SEC|none", "no build of its runs longer, 600 at least"},
    {"tags", 0, CLI_TEXT, CLI_REPEATED, "A,B", "the tags it has, in place of all former ones"},
    {"untagged", 0, CLI_FLAG, 0, NULL, "it takes builds without tags"},
    {"no-untagged", 0, CLI_FLAG, 0, NULL, "it takes no build without tags"},
    {"locked", 0, CLI_FLAG, 0, NULL, "it serves no project but those it has"},
    {"no-locked", 0, CLI_FLAG, 0, NULL, "it is not locked"},
    {"project", 0, CLI_ID, CLI_REPEATED, "ID", "one more project whose builds it takes"},
    {0}};

static const cli_option_t build_add_options[] = {
    {"project", 0, CLI_ID, CLI_REQUIRED, "ID", "the project it belongs to"},
    {"sha", 0, CLI_TEXT, CLI_REQUIRED, "SHA", "the commit: 40 or 64 hex digits"},
    {"ref", 0, CLI_TEXT, 0, "REF", "the branch or tag (default: master)"},
    {"before-sha", 0, CLI_TEXT, 0, "SHA", "the commit before it (default: zeros)"},
    {"name", 0, CLI_TEXT, 0, "NAME", "its name (default: build)"},
    {"stage", 0, CLI_TEXT, 0, "STAGE", "its stage (default: test)"},
    {"tag", 0, CLI_FLAG, 0, NULL, "REF is a tag"},
    {"tags", 0, CLI_TEXT, CLI_REPEATED, "A,B", "only a runner that has all of these tags takes it"},
    {"commands-file", 0, CLI_TEXT, 0, "FILE", "the commands to run; -: standard input"},
    {"options", 0, CLI_TEXT, 0, "JSON|@FILE", "image, services, artifacts, cache and so on"},
    {"variable", 0, CLI_TEXT, CLI_REPEATED, "K=V", "a variable"},
    {"raw-variable", 0, CLI_TEXT, CLI_REPEATED, "K=V", "one in whose value nothing is expanded"},
    {"secret", 0, CLI_TEXT, CLI_REPEATED, "K=V|K=@FILE|K=-",
     "a variable that is kept encrypted and masked in traces"},
    {"file-variable", 0, CLI_TEXT, CLI_REPEATED, "K=V|K=@FILE|K=-",
     "a secret that the build gets as a file, whose name is the variable's value"},
    {"depends-on", 0, CLI_ID, CLI_REPEATED, "ID", "wait until this build is a success"},
    {"timeout", 0, CLI_NUMBER, 0, "SEC", "how long it may run (default: the project's)"},
    {"count", 0, CLI_NUMBER, 0, "N", "add N equal builds (default: 1)"},
    {0}};

static const cli_option_t build_list_options[] = {
    {"status", 0, CLI_TEXT, 0, "STATUS",
     "created, pending, running, success, failed, canceled or skipped"},
    {"project", 0, CLI_ID, 0, "ID", "builds of this project"},
    {"limit", 0, CLI_NATURAL, 0, "N", "at most N builds (default: all)"},
    {0}};

static const cli_option_t build_trace_options[] = {
    {"follow", 0, CLI_FLAG, 0, NULL, "go on until the build has ended"}, {0}};

static const cli_option_t build_artifacts_options[] = {
    {"type", 0, CLI_TEXT, 0, "TYPE", "archive (the default), metadata, junit, dotenv and so on"},
    {"output", 'o', CLI_TEXT, 0, "FILE", "write to FILE; -: standard output"},
    {0}};

static const cli_option_t gc_options[] = {
    {"dry-run", 0, CLI_FLAG, 0, NULL, "only say what would be done"},
    {"history", 0, CLI_TEXT, 0, "DURATION|never",
     "remove builds that ended longer ago than that (default: never)"},
    {"stuck-timeout", 0, CLI_TEXT, 0, "DURATION", "also fail builds not heard of for that long"},
    {"ack-timeout", 0, CLI_TEXT, 0, "DURATION|Off",
     "also give back claims that no runner acknowledged for that long"},
    {0}};

static const cli_option_t check_options[] = {
    {"repair", 0, CLI_FLAG, 0, NULL, "remove files without a row and rows without a file"}, {0}};

const cli_command_t cli_commands[] = {
    {"init", NULL, NULL, init_options, "make or upgrade a storage directory and its database",
     "Makes DIR, or finishes one that was half made, and prints the lines for httpd's\n"
     "configuration. Where DIR is a storage directory already, its database's schema is brought "
     "up\n"
     "to date and nothing else is changed; another DRIVER or STRING than it has is an error.\n",
     NULL, cli_init, 1},

    {"backup", NULL, "FILE", backup_options, "write database and files into one archive",
     "httpd may go on meanwhile. FILE is a tar, packed where its name ends with .gz, .xz or .zst;\n"
     "-: standard output. It appears when it is whole, and holds the secret and all that tokens\n"
     "are made of: keep it closed.\n",
     cli_backup_prepare, cli_backup, 0},
    {"restore", NULL, "FILE", restore_options, "make a storage directory of a backup",
     "DIR must be empty or not there, and so must the database. The database may be of another\n"
     "driver than it was. FILE may be packed; -: standard input. Nothing is left of one that is\n"
     "damaged or not whole.\n",
     cli_restore_prepare, cli_restore, 1},

    {"project", "add", "NAME", project_add_options, "add a project; prints its id and token", NULL,
     cli_token_prepare, cli_project_add, 0},
    {"project", "list", NULL, NULL, "list the projects", NULL, NULL, cli_project_list, 0},
    {"project", "show", "ID", project_show_options, "show a project", NULL, NULL, cli_project_show,
     0},
    {"project", "set", "ID", project_set_options, "change a project's settings", NULL, NULL,
     cli_project_set, 0},
    {"project", "rotate-token", "ID", NULL, "give a project a new token and print it",
     "The old token is refused from then on.\n", NULL, cli_project_rotate_token, 0},
    {"project", "remove", "ID", NULL, "remove a project with its builds",
     "Cancels what is pending or running first. May be run again when it was interrupted.\n", NULL,
     cli_project_remove, 0},

    {"runner", "add", NULL, runner_add_options, "add a runner; prints its id and token",
     "Needs --project or --shared. The token is shown this once and cannot be looked up again; it\n"
     "is what `gitlab-runner register --token` wants.\n",
     cli_token_prepare, cli_runner_add, 0},
    {"runner", "list", NULL, NULL, "list the runners", NULL, NULL, cli_runner_list, 0},
    {"runner", "show", "ID", NULL, "show a runner and its machines", NULL, NULL, cli_runner_show,
     0},
    {"runner", "set", "ID", runner_set_options, "change a runner's settings", NULL, NULL,
     cli_runner_set, 0},
    {"runner", "pause", "ID", NULL, "give a runner no more builds", NULL, NULL, cli_runner_pause,
     0},
    {"runner", "resume", "ID", NULL, "give a paused runner builds again", NULL, NULL,
     cli_runner_resume, 0},
    {"runner", "rotate-token", "ID", NULL, "give a runner a new token and print it",
     "The old token is refused from then on.\n", NULL, cli_runner_rotate_token, 0},
    {"runner", "remove", "ID", NULL, "remove a runner",
     "Its running builds fail as runner_lost; ended ones keep its id.\n", NULL, cli_runner_remove,
     0},

    {"build", "add", NULL, build_add_options, "add builds; prints their ids, one on a line",
     "What stands on a command line is visible to other users of the machine: give secrets as\n"
     "K=@FILE (the file's contents) or K=- (standard input); one line end at the end is dropped,\n"
     "but of a --file-variable, which is kept byte for byte.\n"
     "A build with --depends-on waits as created until all of them are a success.\n",
     cli_build_add_prepare, cli_build_add, 0},
    {"build", "list", NULL, build_list_options, "list builds, oldest first", NULL, NULL,
     cli_build_list, 0},
    {"build", "show", "ID", NULL, "show a build, and why it is pending", NULL, NULL, cli_build_show,
     0},
    {"build", "trace", "ID", build_trace_options, "write a build's trace, its bytes and no more",
     NULL, NULL, cli_build_trace, 0},
    {"build", "cancel", "ID", NULL, "cancel a build that has not ended", NULL, NULL,
     cli_build_cancel, 0},
    {"build", "retry", "ID", NULL, "run an ended build again; prints the new one's id", NULL, NULL,
     cli_build_retry, 0},
    {"build", "erase", "ID", NULL, "remove an ended build's trace and artifacts", NULL, NULL,
     cli_build_erase, 0},
    {"build", "artifacts", "ID", build_artifacts_options, "fetch a build's artifact of one type",
     "Without -o it goes to standard output unless that is a terminal. The name that the runner\n"
     "gave the file is never used. Its SHA-256 is checked on the way: exit 1 where it differs.\n"
     "'build show' lists what there is.\n",
     cli_build_artifacts_prepare, cli_build_artifacts, 0},

    {"registration-token", "show", NULL, NULL, "print the token that registers shared runners",
     NULL, NULL, cli_registration_token_show, 0},
    {"registration-token", "rotate", NULL, NULL, "make a new one and print it",
     "The old token is refused from then on; runners that are registered stay so.\n", NULL,
     cli_registration_token_rotate, 0},

    {"gc", NULL, NULL, gc_options, "do now what background upkeep does",
     "Removes expired artifacts, builds beyond the history, and files that nothing names. httpd's\n"
     "configuration is not read: CIBuildsHistory is --history here. Runners that are silent are\n"
     "httpd's to judge while it runs, and cannot be heard while it is down; so they are left\n"
     "alone unless --stuck-timeout or --ack-timeout says that their silence counts. Then builds\n"
     "that are over their own time by five minutes fail too.\n",
     NULL, cli_gc, 0},
    {"check", NULL, NULL, check_options, "hold database and files against each other",
     "Exit 0 when there is no fault, 1 when there is any; with --repair 0 when none is left.\n",
     NULL, cli_check, 0},
    {"stats", NULL, NULL, NULL, "count builds, runners and bytes", NULL, NULL, cli_stats, 0},
    {0}};

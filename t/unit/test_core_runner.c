/* Runners: what they may be, and the machines that share their tokens. */
#include <apr_strings.h>

#include "core_fixture.h"

/* --- settings */

static void test_faults(core_t *core)
{
    apr_array_header_t *tags = apr_array_make(core->pool, 1, sizeof(const char *));
    cib_runner_new_t fresh = {.run_untagged = 1, .tags = tags};

    is_int(cib_runner_faults(&fresh, core->pool), 0, "no tags, but untagged builds");
    fresh.run_untagged = 0;
    fresh.maximum_timeout = CIB_RUNNER_TIMEOUT_MIN - 1;
    is_int(cib_runner_faults(&fresh, core->pool), CIB_RUNNER_TAGS_EMPTY | CIB_RUNNER_TIMEOUT_SHORT,
           "all that is wrong");
    fresh.maximum_timeout = CIB_RUNNER_TIMEOUT_MIN;
    APR_ARRAY_PUSH(tags, const char *) = "a\tb";
    is_int(cib_runner_faults(&fresh, core->pool), CIB_RUNNER_TAGS_MALFORMED,
           "malformed tags are not empty ones");
    APR_ARRAY_IDX(tags, 0, const char *) = "a";
    is_int(cib_runner_faults(&fresh, core->pool), 0, "nothing");
}

static void test_maximum_timeout(core_t *core)
{
    const char *instance = cib_token_registration(core->fx->storage, 0, core->pool);
    cib_runner_new_t fresh = {.run_untagged = 1, .maximum_timeout = 599};
    cib_runner_change_t change = CIB_RUNNER_UNCHANGED;
    cib_runner_t *runner;
    const char *token;
    apr_int64_t id;

    is_reason(cib_runner_register(&core->ctx, instance, &fresh, &id, &token), CIB_REASON_INVALID,
              "599 seconds are too few");
    is_reason(cib_runner_register(&core->ctx, "nobody", &fresh, &id, &token),
              CIB_REASON_WRONG_TOKEN, "which a wrong token is not told");
    is_reason(cib_runner_add(&core->ctx, &fresh, 1, NULL, NULL, &id, &token), CIB_REASON_INVALID,
              "nor the administrator allowed");
    fresh.maximum_timeout = 600;
    is_fine(cib_runner_register(&core->ctx, instance, &fresh, &id, &token), "600 are enough");
    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    is_int(runner->maximum_timeout, 600, "and kept");
    change.maximum_timeout = 1;
    is_reason(cib_runner_set(&core->ctx, id, &change), CIB_REASON_INVALID, "not fewer later");
    change.maximum_timeout = 0;
    is_fine(cib_runner_set(&core->ctx, id, &change), "none");
    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    is_int(runner->maximum_timeout, 0, "it is gone");
}

static void test_tokens(core_t *core)
{
    cib_runner_new_t fresh = {.run_untagged = 1};
    const char *token;
    apr_int64_t id;

    fine(cib_runner_register(&core->ctx, cib_token_registration(core->fx->storage, 0, core->pool),
                             &fresh, &id, &token),
         "register");
    is_int(cib_token_runner_kind(token), CIB_TOKEN_REGISTERED, "who registers gets one kind");
    fine(cib_runner_rotate(&core->ctx, id, CIB_TOKEN_REGISTERED, &token), "rotate");
    is_int(cib_token_runner_kind(token), CIB_TOKEN_REGISTERED, "which may stay");
    fine(cib_runner_rotate(&core->ctx, id, CIB_TOKEN_CREATED, &token), "rotate");
    is_int(cib_token_runner_kind(token), CIB_TOKEN_CREATED, "or not");
    fine(cib_runner_add(&core->ctx, &fresh, 1, NULL, NULL, &id, &token), "add");
    is_int(cib_token_runner_kind(token), CIB_TOKEN_CREATED, "who is added gets the other");
    fine(cib_runner_add(&core->ctx, &fresh, 1, NULL, "imported-token-0007", &id, &token), "add");
    is_str(token, "imported-token-0007", "or what is imported, as it is");
}

/* Two who ask with the same token, and one who removes the runner meanwhile: all had been let in.
 */
static void test_reset(core_t *core)
{
    cib_runner_new_t fresh = {.run_untagged = 1};
    const char *old, *token, *other;
    cib_runner_t *runner;
    apr_int64_t id;

    fine(cib_runner_add(&core->ctx, &fresh, 1, NULL, NULL, &id, &old), "add");
    fine(cib_runner_reset(&core->ctx, id, old, &token), "reset");
    is_int(cib_token_runner_kind(token), CIB_TOKEN_CREATED, "the kind stays");
    is_reason(cib_runner_reset(&core->ctx, id, old, &other), CIB_REASON_FORBIDDEN,
              "who comes second has a token that is dead");
    fine(cib_runner_authenticate(&core->ctx, token, &runner), "authenticate");
    is_int(runner->id, id, "and the one that was given out lives");
    fine(cib_runner_remove(&core->ctx, id), "remove");
    is_reason(cib_runner_reset(&core->ctx, id, token, &other), CIB_REASON_FORBIDDEN,
              "so has who comes after the removal");
}

/* --- machines */

/* Say something as a machine; what the runner's row is then. */
static cib_runner_t *speak(core_t *core, apr_int64_t id, const cib_runner_info_t *info)
{
    cib_runner_t *runner;

    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    fine(cib_runner_contact(&core->ctx, runner, info), "contact");
    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    return runner;
}

static apr_array_header_t *machines_of(core_t *core, apr_int64_t id)
{
    apr_array_header_t *machines;

    fine(cib_runner_machines(&core->ctx, id, &machines), "machines");
    return machines;
}

static const cib_machine_t *machine_of(core_t *core, apr_int64_t id, const char *system_id)
{
    const apr_array_header_t *machines = machines_of(core, id);

    for (int i = 0; i < machines->nelts; i++)
        if (strcmp(APR_ARRAY_IDX(machines, i, cib_machine_t *)->system_id, system_id) == 0)
            return APR_ARRAY_IDX(machines, i, cib_machine_t *);
    bail_out("there is no machine %s", system_id);
}

/* The runner and its machines were last heard of so long ago. */
static void silent(core_t *core, apr_int64_t id, int seconds)
{
    apr_time_t then = apr_time_now() - apr_time_from_sec(seconds);

    sql(core, "UPDATE runners SET contacted_at = %" APR_INT64_T_FMT " WHERE id = %d", then,
        (int)id);
    sql(core, "UPDATE runner_machines SET contacted_at = %" APR_INT64_T_FMT " WHERE runner_id = %d",
        then, (int)id);
}

static void test_machines(core_t *core)
{
    cib_runner_info_t one = {.system_id = "s_1", .name = "n", .version = "16.0"};
    cib_runner_info_t two = {.system_id = "s_2", .name = "n", .version = "17.0"};
    const char *token;
    apr_int64_t id = new_runner(core, "", 1, 0, &token);
    const cib_machine_t *machine;
    cib_runner_t *runner;
    apr_time_t then;

    is_int(machines_of(core, id)->nelts, 0, "no machine at first");
    speak(core, id, &one);
    machine = machine_of(core, id, "s_1");
    is_str(machine->version, "16.0", "the first with its info");
    is_int(machine->contacted_at, machine->created_at, "made as it was heard of");
    is_str(cib_machine_status(machine, machine->contacted_at), "online", "online");
    is_str(cib_machine_status(machine, machine->contacted_at + CIB_ONLINE_WITHIN + 1), "offline",
           "and offline later");
    for (int i = 0; i < 10; i++)
        runner = speak(core, id, i % 2 ? &one : &two);
    is_int(runner->info_changes, 5, "the changes of two that alternate are counted");
    silent(core, id, 30);
    then = speak(core, id, &one)->contacted_at;
    for (int i = 0; i < 4; i++)
        runner = speak(core, id, i % 2 ? &one : &two);
    ok(runner->contacted_at == then, "and the runner's row is left alone then");
    machine = machine_of(core, id, "s_2");
    is_str(machine->version, "17.0", "each has its own");
    ok(machine->contacted_at < then + apr_time_from_sec(1), "nor are theirs written again");
    two.version = "17.1";
    speak(core, id, &two);
    is_str(machine_of(core, id, "s_2")->version, "17.0", "not even where it says something new");
    silent(core, id, 61);
    runner = speak(core, id, &two);
    machine = machine_of(core, id, "s_2");
    is_str(machine->version, "17.1", "after a minute it is");
    ok(machine->contacted_at == runner->contacted_at, "together with the runner");
    ok(machine_of(core, id, "s_1")->contacted_at < then, "and the other is not");
    ok(machine->created_at < machine->contacted_at, "it is as old as it was");
}

/* One machine whose own info changes. */
static void test_machine_changes(core_t *core)
{
    cib_runner_info_t info = {.system_id = "s_1", .version = "16.0"}, nothing = {.name = "n"};
    const char *token;
    apr_int64_t id = new_runner(core, "", 1, 0, &token);
    cib_runner_t *runner;
    apr_time_t then;

    speak(core, id, &info);
    info.version = "16.1";
    runner = speak(core, id, &info);
    is_str(machine_of(core, id, "s_1")->version, "16.1", "a change is written at once");
    is_str(runner->version, "16.1", "the runner's too");
    speak(core, id, &(cib_runner_info_t){.system_id = "s_2", .version = "17.0"});
    info.version = "17.0";
    speak(core, id, &info);
    is_str(machine_of(core, id, "s_1")->version, "17.0", "also what another has said before");
    runner = speak(core, id, &info);
    fine(cib_runner_forget_machine(&core->ctx, id, "s_2"), "forget");
    info.version = NULL;
    then = speak(core, id, &info)->contacted_at;
    is_str(machine_of(core, id, "s_1")->version, "17.0", "what is not said stays");
    ok(then == runner->contacted_at, "and is no reason to write");
    speak(core, id, &nothing);
    is_int(machines_of(core, id)->nelts, 1, "who does not say its name is no machine");
    info.system_id = "";
    speak(core, id, &info);
    info.system_id = "\xff";
    speak(core, id, &info);
    is_int(machines_of(core, id)->nelts, 1, "nor is an empty name one, or one that is no text");
    info.system_id = "a\tb";
    speak(core, id, &info);
    machine_of(core, id, "a b");
    is_reason(cib_runner_forget_machine(&core->ctx, id, "s_2"), CIB_REASON_NO_RECORD,
              "one that is not known is not forgotten");
    is_reason(cib_runner_forget_machine(&core->ctx, core->shared, "s_1"), CIB_REASON_NO_RECORD,
              "nor another runner's");
    is_fine(cib_runner_forget_machine(&core->ctx, id, "a\tb"), "one is, by the name it says");
    is_int(machines_of(core, id)->nelts, 1, "and only that");
    silent(core, id, -3600);
    speak(core, id, &(cib_runner_info_t){.system_id = "s_1"});
    ok(machine_of(core, id, "s_1")->contacted_at <= apr_time_now(), "a clock set back is no harm");
}

/* So many that not all are kept. */
static void test_machine_crowd(core_t *core)
{
    const char *token;
    apr_int64_t id = new_runner(core, "", 1, 0, &token);
    cib_runner_info_t info = {.name = "n"};
    cib_runner_t *runner;
    apr_time_t then;

    fine(cib_runner_get(&core->ctx, id, &runner), "get");
    for (int i = 0; i < CIB_MACHINES_MAX; i++) {
        info.system_id = apr_psprintf(core->pool, "r_%d", i);
        fine(cib_runner_contact(&core->ctx, runner, &info), "speak");
    }
    is_int(machines_of(core, id)->nelts, CIB_MACHINES_MAX, "all are kept up to the most");
    info.system_id = "one more";
    then = runner->contacted_at;
    is_fine(cib_runner_contact(&core->ctx, runner, &info), "one more speaks");
    ok(runner->contacted_at == then, "which writes nothing");
    sql(core, "UPDATE runners SET contacted_at = 1 WHERE id = %d", (int)id);
    speak(core, id, &info);
    is_int(machines_of(core, id)->nelts, CIB_MACHINES_MAX, "a minute later one goes for it");
    machine_of(core, id, "one more");
    is_str(APR_ARRAY_IDX(machines_of(core, id), CIB_MACHINES_MAX - 1, cib_machine_t *)->system_id,
           "r_1", "the one that was silent for longest");
    silent(core, id, (int)apr_time_sec(CIB_MACHINE_FORGOTTEN) + 10);
    info.system_id = "another week";
    speak(core, id, &info);
    is_int(machines_of(core, id)->nelts, 1, "after a week of silence they are forgotten");
}

/* It was removed while it spoke. */
static void test_machine_of_nobody(core_t *core)
{
    cib_runner_info_t info = {.system_id = "s_1"};
    const char *token;
    apr_int64_t id = new_runner(core, "", 1, 0, &token);
    cib_runner_t *runner = speak(core, id, &info);

    fine(cib_runner_remove(&core->ctx, id), "remove");
    is_int(machines_of(core, id)->nelts, 0, "with the runner its machines go");
    info.system_id = "s_2";
    is_fine(cib_runner_contact(&core->ctx, runner, &info), "a last word is no failure");
    is_int(machines_of(core, id)->nelts, 0, "and leaves nothing");
}

typedef struct speaker_t {
    cib_ctx_t ctx;
    cib_runner_t *runner;
    cib_error_t *err;
} speaker_t;

static void *APR_THREAD_FUNC speak_up(apr_thread_t *thread, void *data)
{
    cib_runner_info_t info = {.system_id = "s_1"};
    speaker_t *speaker = data;

    speaker->err = cib_runner_contact(&speaker->ctx, speaker->runner, &info);
    return NULL;
}

/* It is being removed at the very moment. */
static void test_machine_race(core_t *core)
{
    speaker_t speaker = {.ctx = core->ctx};
    cib_runner_info_t info = {.system_id = "s_1"};
    apr_thread_t *thread;
    const char *token;
    apr_status_t rv;
    rival_t rival;
    apr_int64_t id;

    if (!core->fx->schema)
        return;
    id = new_runner(core, "", 1, 0, &token);
    speaker.runner = speak(core, id, &info);
    sql(core, "UPDATE runner_machines SET contacted_at = 1 WHERE runner_id = %d", (int)id);
    must(apr_pool_create(&speaker.ctx.pool, NULL), "make a pool");
    rival_begin(core, &rival);
    rival_says(&rival, "DELETE FROM runners WHERE id = %d", (int)id);
    must(apr_thread_create(&thread, NULL, speak_up, &speaker, core->pool), "start a thread");
    rival_end(&rival);
    must(apr_thread_join(&rv, thread), "join the thread");
    is_fine(speaker.err, "who is removed while it speaks is no failure");
    is_int(machines_of(core, id)->nelts, 0, "and its machine is gone");
    apr_pool_destroy(speaker.ctx.pool);
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_faults(core);
    test_maximum_timeout(core);
    test_tokens(core);
    test_reset(core);
    test_machines(core);
    test_machine_changes(core);
    test_machine_crowd(core);
    test_machine_of_nobody(core);
    test_machine_race(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

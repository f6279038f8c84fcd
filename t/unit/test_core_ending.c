/* A runner's last word: how a build ended, and what it says of its trace. */
#include <zlib.h>

#include "core_fixture.h"

#define TEXT "the whole trace"
#define LEN ((apr_int64_t)sizeof(TEXT) - 1)

static cib_build_t *running(core_t *core)
{
    apr_int64_t id = new_build(core, 0, 0);

    start(core, id);
    return build_of(core, id);
}

static cib_ended_e say(core_t *core, const cib_build_t *build, const cib_ending_t *ending)
{
    cib_ended_e ended;

    fine(cib_build_finish(&core->ctx, build, ending, &ended), "finish");
    return ended;
}

/* Append the trace's bytes from `at` to `end`. */
static void append(core_t *core, const cib_build_t *build, apr_int64_t at, apr_int64_t end)
{
    cib_trace_append_t *append;
    const cib_sink_t *sink;
    apr_int64_t received;

    fine(cib_trace_append_begin(&core->ctx, build, &append, &sink), "begin");
    fine(sink->write(sink->baton, TEXT + at, (apr_size_t)(end - at)), "write");
    fine(cib_trace_append_finish(append, at, &received), "append");
    if (received != end)
        bail_out("%d bytes were received", (int)received);
}

static const char *checksum(core_t *core, apr_int64_t len)
{
    return apr_psprintf(core->pool, "crc32:%08x",
                        (unsigned)crc32(0, (const Bytef *)TEXT, (uInt)len));
}

/* --- how it ended */

static void failed_for(core_t *core, const char *said, const char *kept)
{
    const cib_ending_t ending = {.state = "failed", .failure_reason = said, .bytesize = -1};
    cib_build_t *build = running(core);

    is_int(say(core, build, &ending), CIB_ENDED, "failed: %s", said ? said : "(nothing)");
    is_str(build_of(core, build->id)->failure_reason, kept, "is %s", kept);
}

static void test_reasons(core_t *core)
{
    const cib_ending_t success = {
        .state = "success", .failure_reason = "script_failure", .bytesize = -1};
    cib_build_t *build = running(core);

    for (int i = 0; cib_failure_reasons[i]; i++)
        failed_for(core, cib_failure_reasons[i], cib_failure_reasons[i]);
    failed_for(core, NULL, "unknown_failure");
    failed_for(core, "", "unknown_failure");
    failed_for(core, "runner_lost", "unknown_failure");
    failed_for(core, "script_failure ", "unknown_failure");
    is_int(say(core, build, &success), CIB_ENDED, "a success that says why it failed");
    is_str(build_of(core, build->id)->failure_reason, NULL, "has no reason");
}

static void test_states(core_t *core)
{
    static const char *const others[] = {NULL, "", "running", "Success", "canceled", "pending"};
    cib_build_t *build = running(core);
    cib_ending_t ending = {.has_exit_code = 1, .exit_code = -7, .bytesize = 99};

    for (apr_size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        ending.state = others[i];
        ok(!cib_ending_is_final(&ending), "%s ends nothing", others[i] ? others[i] : "no word");
        is_int(say(core, build, &ending), CIB_ENDED_NOT, "and moves nothing");
    }
    ok(!build_of(core, build->id)->has_exit_code, "nothing is kept of it");
    ending.state = "success";
    ok(cib_ending_is_final(&ending), "success does");
    ending.state = "failed";
    ok(cib_ending_is_final(&ending), "failed does");
    ending.bytesize = -1;
    is_int(say(core, build, &ending), CIB_ENDED, "and moves it");
    is_int(build_of(core, build->id)->exit_code, -7, "with its exit code");
    ending.exit_code = 8;
    is_int(say(core, build, &ending), CIB_ENDED_NOT, "once");
    is_int(build_of(core, build->id)->exit_code, -7, "what comes later counts for nothing");
}

/* --- its trace */

static void test_short(core_t *core)
{
    cib_build_t *build = running(core);
    const cib_ending_t ending = {
        .state = "success", .checksum = checksum(core, LEN), .bytesize = LEN};
    int logged = core->logged;

    append(core, build, 0, LEN - 1);
    is_int(say(core, build, &ending), CIB_ENDED_TOO_SOON, "a byte is missing");
    is_str(status_of(core, build->id), "running", "it runs on");
    append(core, build, LEN - 1, LEN);
    is_int(say(core, build, &ending), CIB_ENDED, "nothing is");
    build = build_of(core, build->id);
    is_str(build->trace_checksum, NULL, "and nothing is wrong");
    is_int(core->logged, logged, "or told");
}

static void test_short_for_good(core_t *core)
{
    cib_build_t *build = running(core), *other = running(core), *again;
    const cib_ending_t ending = {
        .state = "success", .checksum = checksum(core, LEN), .bytesize = LEN};
    int logged = core->logged;

    append(core, build, 0, 3);
    is_int(say(core, build, &ending), CIB_ENDED_TOO_SOON, "sent back");
    is_int(say(core, build, &ending), CIB_ENDED_TOO_SOON, "twice");
    is_int(say(core, other, &ending), CIB_ENDED_TOO_SOON, "another build is counted for itself");
    fine(cib_build_requeue(&core->ctx, build->id, build->claim), "requeue");
    is_int(say(core, build, &ending), CIB_ENDED_NOT, "a claim that is over is not sent back");
    start(core, build->id);
    again = build_of(core, build->id);
    is_int(say(core, build, &ending), CIB_ENDED_NOT, "nor when there is another");
    append(core, again, 0, 3);
    is_int(say(core, again, &ending), CIB_ENDED_TOO_SOON, "which is counted for itself");
    is_int(say(core, again, &ending), CIB_ENDED_TOO_SOON, "twice");
    is_int(core->logged, logged + 1, "of all this only the requeue is told");
    is_int(say(core, again, &ending), CIB_ENDED, "and then taken");
    again = build_of(core, build->id);
    is_str(again->trace_checksum, ending.checksum, "with what its trace should be");
    is_int(core->logged, logged + 2, "which is told");
    is_int(say(core, again, &ending), CIB_ENDED_NOT, "once");
    finish(core, other->id, "success");
}

/* What a former claim left is none of this one's. */
static void test_short_of_former(core_t *core)
{
    cib_build_t *build = running(core);
    const cib_ending_t ending = {.state = "success", .bytesize = LEN};

    append(core, build, 0, LEN);
    fine(cib_build_requeue(&core->ctx, build->id, build->claim), "requeue");
    start(core, build->id);
    build = build_of(core, build->id);
    is_int(say(core, build, &ending), CIB_ENDED_TOO_SOON, "the bytes of the claim before");
    append(core, build, 0, LEN);
    is_int(say(core, build, &ending), CIB_ENDED, "its own");
}

static void sums(core_t *core, const char *said, apr_int64_t bytesize, const char *recorded)
{
    const cib_ending_t ending = {.state = "success", .checksum = said, .bytesize = bytesize};
    cib_build_t *build = running(core);

    append(core, build, 0, LEN);
    is_int(say(core, build, &ending), CIB_ENDED, "%s of %d bytes", said, (int)bytesize);
    is_str(build_of(core, build->id)->trace_checksum, recorded, "%s", recorded ? recorded : "fine");
}

static void test_sums(core_t *core)
{
    const char *other = checksum(core, 3);

    sums(core, checksum(core, LEN), LEN, NULL);
    sums(core, checksum(core, LEN), -1, NULL);
    sums(core, other, LEN, other);
    sums(core, other, 3, other);
    sums(core, other, -1, other);
    sums(core, "crc32:", LEN, NULL);
    sums(core, "crc32:1234567", LEN, NULL);
    sums(core, "crc32:123456789", LEN, NULL);
    sums(core, "crc32: 1234567", LEN, NULL);
    sums(core, "crc32:-1234567", LEN, NULL);
    sums(core, "CRC32:12345678", LEN, NULL);
    sums(core, "sha256:12345678", LEN, NULL);
    sums(core, "", LEN, NULL);
}

/* A build without a trace: nothing is what it should be. */
static void test_empty(core_t *core)
{
    cib_ending_t ending = {.state = "success", .checksum = "crc32:00000000", .bytesize = 0};
    cib_build_t *build = running(core);

    is_int(say(core, build, &ending), CIB_ENDED, "no trace");
    is_str(build_of(core, build->id)->trace_checksum, NULL, "has the checksum of nothing");
}

/* --- before it */

static void test_follow(core_t *core)
{
    cib_build_t *build = running(core);
    apr_time_t now = apr_time_now();

    is_int(cib_build_update_interval(build, build->started_at), 3, "soon at first");
    is_int(cib_build_update_interval(build, build->started_at + apr_time_from_sec(59)), 3,
           "and for a minute");
    is_int(cib_build_update_interval(build, build->started_at + apr_time_from_sec(60)), 15,
           "then now and then");
    cib_build_follow(&core->ctx, build->id);
    build = build_of(core, build->id);
    ok(build->followed_until >= now + 2 * CIB_FOLLOW_EVERY, "watched, and not only for a turn");
    ok(build->followed_until <= apr_time_now() + apr_time_from_sec(60), "nor for long");
    build->started_at = now - apr_time_from_sec(600);
    is_int(cib_build_update_interval(build, now), 3, "soon while it is watched");
    is_int(cib_build_update_interval(build, build->followed_until), 15, "not after that");
    finish(core, build->id, "success");
    sql(core, "UPDATE builds SET followed_until = NULL WHERE id = %d", (int)build->id);
    cib_build_follow(&core->ctx, build->id);
    is_int(build_of(core, build->id)->followed_until, 0, "what has ended is not watched");
}

static void tests(const char *driver)
{
    core_t *core = core_new(driver);

    test_reasons(core);
    test_states(core);
    test_short(core);
    test_short_for_good(core);
    test_short_of_former(core);
    test_sums(core);
    test_empty(core);
    test_follow(core);
    core_done(core);
}

int main(void)
{
    on_every_driver(tests);
    return done_testing();
}

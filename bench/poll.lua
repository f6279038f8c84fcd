-- wrk: a runner that has nothing to do asks again, as runners since 1.9 do.
-- With TRIVIAL=1 the same request to a handler that only answers 204.
wrk.method = "POST"
wrk.path = os.getenv("TRIVIAL") and "/trivial" or "/ci/api/v1/builds/register"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["User-Agent"] = "gitlab-ci-multi-runner 1.11.5 (bench; go1.7.4; linux/amd64)"
wrk.body = '{"token":"' .. os.getenv("RUNNER_TOKEN") .. '","last_update":"' .. os.getenv("LAST_UPDATE") .. '"}'

-- The event MPM closes kept-alive connections while all workers are busy: a read error is no wrong answer.
function done(summary, latency, requests)
    local bad = summary.errors.connect + summary.errors.timeout + summary.errors.status
    print(string.format("RESULT %.3f %d %d %.3f", summary.requests / (summary.duration / 1e6), summary.requests, bad,
        latency:percentile(99) / 1000))
end

-- wrk: plain requests, counted as the other scripts do.
-- The event MPM closes kept-alive connections while all workers are busy: a read error is no wrong answer.
function done(summary, latency, requests)
    local bad = summary.errors.connect + summary.errors.timeout + summary.errors.status
    print(string.format("RESULT %.3f %d %d %.3f", summary.requests / (summary.duration / 1e6), summary.requests, bad,
        latency:percentile(99) / 1000))
end

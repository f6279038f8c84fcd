-- wrk: plain requests, counted as the other scripts do.
function done(summary, latency, requests)
    local errors = summary.errors
    local bad = errors.connect + errors.read + errors.write + errors.timeout + errors.status
    print(string.format("RESULT %.3f %d %d", summary.requests / (summary.duration / 1e6), summary.requests, bad))
end

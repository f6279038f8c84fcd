-- wrk: the same request again and again: METHOD, HEADER ("Name: value") and the body in the file BODY.
wrk.method = os.getenv("METHOD") or "GET"
local name, value = (os.getenv("HEADER") or ""):match("^(%S+): (.*)$")
if name then
    wrk.headers[name] = value
end
local body = os.getenv("BODY")
if body then
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = assert(io.open(body, "rb")):read("*a")
end

-- The event MPM closes kept-alive connections while all workers are busy: a read error is no wrong answer.
function done(summary, latency, requests)
    local bad = summary.errors.connect + summary.errors.timeout + summary.errors.status
    print(string.format("RESULT %.3f %d %d %.3f", summary.requests / (summary.duration / 1e6), summary.requests, bad,
        latency:percentile(99) / 1000))
end

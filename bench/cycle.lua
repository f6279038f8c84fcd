-- wrk: claim a build, finish it, again. The answers to claims bring the ids that later requests finish.
local token = os.getenv("RUNNER_TOKEN")
local claimed = {}
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init()
    cycles, others = 0, 0
    headers = {
        ["Host"] = wrk.host .. ":" .. wrk.port,
        ["Content-Type"] = "application/json",
        ["User-Agent"] = "gitlab-ci-multi-runner 1.11.5 (bench; go1.7.4; linux/amd64)",
    }
    register = wrk.format("POST", "/ci/api/v1/builds/register", headers, '{"token":"' .. token .. '"}')
end

function request()
    local id = table.remove(claimed)
    if not id then
        return register
    end
    return wrk.format("PUT", "/ci/api/v1/builds/" .. id .. ".json", headers,
        '{"token":"' .. token .. '","state":"success"}')
end

function response(status, headers, body)
    if status == 201 then
        table.insert(claimed, body:match('"id":%s*(%d+)'))
    elseif status == 200 then
        cycles = cycles + 1
    else
        others = others + 1
    end
end

function done(summary, latency, requests)
    local all, bad = 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("cycles")
        bad = bad + thread:get("others")
    end
    print(string.format("RESULT %.3f %d %d %.3f", all / (summary.duration / 1e6), all, bad, latency:percentile(99) / 1000))
end

-- wrk: claim a build, finish it, again. The answers to claims bring the ids that later requests finish.
-- With TRIVIAL=1 the same requests to a handler that only answers 204: two of those are a cycle.
-- An id that comes twice was handed out twice.
local token = os.getenv("RUNNER_TOKEN")
local trivial = os.getenv("TRIVIAL")
local claimed, seen = {}, {}
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

local function path_of(path)
    return trivial and "/trivial" or path
end

function init()
    cycles, claims, others = 0, 0, 0
    headers = {
        ["Host"] = wrk.host .. ":" .. wrk.port,
        ["Content-Type"] = "application/json",
        ["User-Agent"] = "gitlab-ci-multi-runner 1.11.5 (bench; go1.7.4; linux/amd64)",
    }
    register = wrk.format("POST", path_of("/ci/api/v1/builds/register"), headers, '{"token":"' .. token .. '"}')
end

function request()
    local id = table.remove(claimed)
    if not id then
        return register
    end
    return wrk.format("PUT", path_of("/ci/api/v1/builds/" .. id .. ".json"), headers,
        '{"token":"' .. token .. '","state":"success"}')
end

local function claim(id)
    claims = claims + 1
    if seen[id] then
        others = others + 1
    end
    seen[id] = true
    table.insert(claimed, id)
end

function response(status, headers, body)
    if status == 201 then
        claim(body:match('"id":%s*(%d+)'))
    elseif status == 200 then
        cycles = cycles + 1
    elseif trivial and status == 204 then
        if claims > cycles then
            cycles = cycles + 1
        else
            claim(cycles)
        end
    else
        others = others + 1
    end
end

function done(summary, latency, requests)
    local all, bad, claimed = 0, 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("cycles")
        bad = bad + thread:get("others")
        claimed = claimed + thread:get("claims")
    end
    print(string.format("RESULT %.3f %d %d %.3f %d", all / (summary.duration / 1e6), all, bad,
        latency:percentile(99) / 1000, claimed))
end

-- wrk: traces that grow by 1 KiB with each request, one for each connection, which needs as many
-- threads as connections. The file BUILDS has a line for each: "ID TOKEN". With TRIVIAL=1 the same
-- requests to a handler that only answers 204.
local trivial = os.getenv("TRIVIAL")
local SIZE = 1024
local chunk = ("0123456789abcde 0123456789abcde 0123456789abcde 0123456789abcd\n"):rep(17):sub(1, SIZE)
local threads = {}

local next_build = assert(io.open(os.getenv("BUILDS"))):lines()

function setup(thread)
    local id, token = next_build():match("^(%d+) (%S+)$")
    thread:set("id", id)
    thread:set("build_token", token)
    table.insert(threads, thread)
end

function init()
    at, appended, others = 0, 0, 0
    path = trivial and "/trivial" or "/ci/api/v1/builds/" .. id .. "/trace.txt"
end

function request()
    return wrk.format("PATCH", path, {
        ["Host"] = wrk.host .. ":" .. wrk.port,
        ["Content-Type"] = "text/plain",
        ["Build-Token"] = build_token,
        ["Content-Range"] = at .. "-" .. (at + SIZE),
    }, chunk)
end

-- 416: the connection was closed after the append and before its answer; the answer says where to go on.
function response(status, headers, body)
    if status == 202 or trivial and status == 204 then
        appended = appended + 1
        at = at + SIZE
    elseif status == 416 then
        at = tonumber((headers["Range"] or headers["range"]):match("-(%d+)"))
    else
        others = others + 1
    end
end

function done(summary, latency, requests)
    local all, bad = 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("appended")
        bad = bad + thread:get("others")
    end
    print(string.format("RESULT %.3f %d %d %.3f", all / (summary.duration / 1e6), all, bad,
        latency:percentile(99) / 1000))
end

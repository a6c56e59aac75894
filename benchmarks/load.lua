-- Send each request of a file once: wrk -s load.lua URL -- FILE [--overload].
-- With --overload, answers with status 503 are counted separately. See benchmarks/requests.py.
-- A record is its size in six digits, a newline, and the request after its first line.

local file, first_line
local threads = {}

overloaded = 0 -- global, so that thread:get finds it

local function count_overloaded(status)
  if status == 503 then
    overloaded = overloaded + 1
  end
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  if arguments[2] == "--overload" then
    response = count_overloaded
  end
  file = assert(io.open(arguments[1], "rb"))
  first_line = "POST " .. wrk.path .. " HTTP/1.1\r\n"
end

function request()
  local size = file:read(7)
  if not size then
    -- wrk would send the same event again, which measures something else.
    io.stderr:write("no requests left\n")
    os.exit(3)
  end
  return first_line .. file:read(tonumber(size))
end

function done(summary, latency)
  local errors, refused = summary.errors, 0
  for _, thread in ipairs(threads) do
    refused = refused + thread:get("overloaded")
  end
  io.write(string.format(
    '{"answers": %d, "microseconds": %d, "p50": %d, "p99": %d, "max": %d, '
      .. '"refused": %d, "overloaded": %d, "broken": %d, "late": %d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.status - refused, refused, errors.connect + errors.read + errors.write, errors.timeout
  ))
end

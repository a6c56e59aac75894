-- Send each request of a file once: wrk -s load.lua URL -- FILE. See benchmarks/requests.py.
-- A record is its size in six digits, a newline, and the request after its first line.

local file, first_line

function init(arguments)
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
  local errors = summary.errors
  io.write(string.format(
    '{"answers": %d, "microseconds": %d, "p50": %d, "p99": %d, "max": %d, '
      .. '"refused": %d, "broken": %d, "late": %d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout
  ))
end

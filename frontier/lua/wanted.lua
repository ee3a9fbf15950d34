#!lua flags=allow-oom
-- Hosts whose spilled URLs are wanted back, the longest wait first.
-- ARGV: now, job, most, URLs per host kept here
-- Returns: {host, class, cursor ("" = still in the buffer), room} each
-- A host that lacks nothing, or has no room, is forgotten here: its next lease calls again.
local job, out = ARGV[2], {}
local Y, LOW = T .. ':y:' .. job, 64
for _, host in ipairs(redis.call('ZRANGE', Y, 0, ARGV[3] - 1)) do
  local away, n, want = spilled(job, host) or {0, 0, 0, 0}, 0, nil
  for class = 0, 3 do
    n = n + redis.call('LLEN', queue(job, class, host))
    if not want and away[class + 1] > 0 and n < LOW then want = class end
  end
  local room = ARGV[4] - n
  if want and room > 0 then
    local cursor = redis.call('LINDEX', T .. ':z:' .. job .. ':' .. want .. ':' .. host, 0) or ''
    out[#out + 1] = {host, want, cursor, room}
  else
    redis.call('ZREM', Y, host)
  end
end
return out

#!lua flags=allow-oom
-- Move the deadlines of leases that are still held.
-- ARGV: now, ttl ms, then 2 per lease: host, token
-- Returns: one digit per lease (1 renewed, 0 lost)
-- Keeps 3 (a stale token changes nothing). A lease past its deadline is lost, reaped or not.
local deadline, out = ms(now + tonumber(ARGV[2])), {}
for i = 3, #ARGV, 2 do
  local host = ARGV[i]
  local H = T .. ':h:' .. host
  local h = redis.call('HMGET', H, 'k', 'x')
  if h[1] == ARGV[i + 1] and tonumber(h[2]) > now then
    redis.call('HSET', H, 'x', deadline)
    redis.call('ZADD', T .. ':l', deadline, host)
    out[#out + 1] = '1'
  else
    out[#out + 1] = '0'
  end
end
return table.concat(out)

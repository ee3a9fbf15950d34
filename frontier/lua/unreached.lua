-- Count a job's URLs that are still queued, spilled or waiting, by what holds their host back; paged.
-- ARGV: now, job, first, most
-- Returns: {most that any list had left, {reason, n, reason, n, ...}}; "" = nothing holds it
-- Changes nothing.
local job, first, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local found, by = 0, {}
local function add(why, n) by[why] = (by[why] or 0) + n end
for _, kind in ipairs({':r:', ':rs:'}) do
  local hosts = redis.call('ZRANGE', T .. kind .. job, first, first + most - 1)
  for _, host in ipairs(hosts) do
    local away = spilled(job, host) or {0, 0, 0, 0}
    add(redis.call('HGET', T .. ':h:' .. host, 'b') or '', queued(job, host) + away[1] + away[2] + away[3] + away[4])
  end
  found = math.max(found, #hosts)
end
local retries = redis.call('ZRANGE', T .. ':w:' .. job, first, first + most - 1)
for _, member in ipairs(retries) do
  local _, _, _, _, reason = fields(string.match(member, '\n(.*)$'))
  add(reason, 1)
end
if first == 0 then
  local lost = tonumber(redis.call('HGET', T .. ':c:' .. job, 'quarantined') or 0)
  if lost > 0 then add('spill-damaged', lost) end
end
local flat = {}
for why, n in pairs(by) do
  flat[#flat + 1] = why
  flat[#flat + 1] = n
end
return {math.max(found, #retries), flat}

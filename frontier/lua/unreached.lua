-- Count a job's URLs that are still queued or waiting, by what holds their host back; paged.
-- ARGV: now, job, first, most
-- Returns: {hosts looked at, retries looked at, {reason, n, reason, n, ...}}; "" = nothing holds it
-- Changes nothing.
local job, first, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local sums = {}
local function add(host, n)
  local why = redis.call('HGET', T .. ':h:' .. host, 'b') or ''
  sums[why] = (sums[why] or 0) + n
end
local hosts = redis.call('ZRANGE', T .. ':r:' .. job, first, first + most - 1)
for _, host in ipairs(hosts) do add(host, queued(job, host)) end
local retries = redis.call('ZRANGE', T .. ':w:' .. job, first, first + most - 1)
for _, member in ipairs(retries) do
  local entry = string.match(member, '\n(.*)$')
  local _, _, _, _, reason = fields(entry)
  sums[reason] = (sums[reason] or 0) + 1
end
local flat = {}
for why, n in pairs(sums) do
  flat[#flat + 1] = why
  flat[#flat + 1] = n
end
return {#hosts, #retries, flat}

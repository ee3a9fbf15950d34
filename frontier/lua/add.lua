-- Offer URLs: the seen-filter and the queue in one step.
-- ARGV: now, job, force ("1": past the seen-filter, for recrawls), then 4 per URL:
--       fingerprint (52 bits, decimal), host, class (0|1|2), entry
-- Returns: one digit per URL (1 accepted, 0 seen), ms until the job's next host here
-- Keeps 4 (in exactly one place): a URL is queued before it is marked seen, so a failure between
-- the two repeats it and never loses it. Seen sets stay intsets: buckets split by linear hashing
-- at a mean of 200, well under set-max-intset-entries (512). Fingerprints are never formatted.
local FILL = 200
local now, job, force = clock(), ARGV[2], ARGV[3] == '1'
local C = T .. ':c:' .. job
local head = redis.call('HMGET', C, 'sn', 'sb')
local n, buckets = tonumber(head[1] or '0'), tonumber(head[2] or '1')
local size = 1 -- smallest power of two >= buckets
while size < buckets do size = size * 2 end

local function bucket(fp)
  local b = tonumber(fp) % size
  if b >= buckets then b = b - size / 2 end
  return T .. ':s:' .. job .. ':' .. ms(b)
end

local function split()
  if buckets == size then size = size * 2 end
  local old, new = T .. ':s:' .. job .. ':' .. ms(buckets - size / 2), T .. ':s:' .. job .. ':' .. ms(buckets)
  local move = {}
  for _, fp in ipairs(redis.call('SMEMBERS', old)) do
    if tonumber(fp) % size == buckets then move[#move + 1] = fp end
  end
  if #move > 0 then
    redis.call('SADD', new, unpack(move))
    redis.call('SREM', old, unpack(move))
  end
  buckets = buckets + 1
end

local codes, accepted, known, hosts = {}, 0, 0, {}
for i = 4, #ARGV, 4 do
  local fp, host = ARGV[i], ARGV[i + 1]
  local set = bucket(fp)
  if not force and redis.call('SISMEMBER', set, fp) == 1 then
    codes[#codes + 1], known = '0', known + 1
  else
    redis.call('RPUSH', queue(job, ARGV[i + 2], host), ARGV[i + 3])
    n = n + redis.call('SADD', set, fp)
    codes[#codes + 1], accepted, hosts[host] = '1', accepted + 1, true
    if n > FILL * buckets then split() end
  end
end
for host in pairs(hosts) do
  local t = tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or '0')
  redis.call('ZADD', T .. ':r:' .. job, 'NX', ms(math.max(t, now)), host)
end
redis.call('HSET', C, 'sn', ms(n), 'sb', ms(buckets))
count(job, 'accepted', accepted)
count(job, 'queued', accepted)
count(job, 'seen', known)
return {table.concat(codes), next_due(job, now)}

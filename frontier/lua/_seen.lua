-- The seen-set of a job in this partition: fingerprints in buckets that stay intsets.
-- Buckets split by linear hashing (Litwin 1980) at a mean of 200, well under set-max-intset-entries
-- (512; past it a bucket is a hash table for good). Fingerprints are never formatted: they exceed
-- what Lua writes exactly.
local function seen_set(job)
  local FILL, C = 200, T .. ':c:' .. job
  local head = redis.call('HMGET', C, 'sn', 'sb')
  local n, buckets = tonumber(head[1] or '0'), tonumber(head[2] or '1')
  local size = 1 -- smallest power of two >= buckets
  while size < buckets do size = size * 2 end

  local function name(b) return T .. ':s:' .. job .. ':' .. ms(b) end

  local function bucket(fp)
    local b = tonumber(fp) % size
    if b >= buckets then b = b - size / 2 end
    return name(b)
  end

  local function split()
    if buckets == size then size = size * 2 end
    local old, new = name(buckets - size / 2), name(buckets)
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

  local function has(fp) return redis.call('SISMEMBER', bucket(fp), fp) == 1 end

  local function mark(fps)
    local by = {}
    for _, fp in ipairs(fps) do
      local b = bucket(fp)
      if not by[b] then by[b] = {} end
      by[b][#by[b] + 1] = fp
    end
    for b, more in pairs(by) do n = n + redis.call('SADD', b, unpack(more)) end
    while n > FILL * buckets do split() end
    if #fps > 0 then redis.call('HSET', C, 'sn', ms(n), 'sb', ms(buckets)) end
  end

  return {has = has, mark = mark}
end

-- The seen-set of a job in this partition: fingerprints in buckets that stay intsets.
-- Buckets split by linear hashing (Litwin 1980) at a mean of 200, well under set-max-intset-entries
-- (512; past it a bucket is a hash table for good). Fingerprints are never formatted: they exceed
-- what Lua writes exactly.
local function seen_set(job)
  local FILL, C, S = 200, T .. ':c:' .. job, T .. ':s:' .. job .. ':'
  local head = redis.call('HMGET', C, 'sn', 'sb')
  local n, buckets = tonumber(head[1] or '0'), tonumber(head[2] or '1')
  local size = 1 -- smallest power of two >= buckets
  while size < buckets do size = size * 2 end

  local function sorted(fps) -- by bucket
    local by, half = {}, size / 2
    for i = 1, #fps do
      local fp = fps[i]
      local b = fp % size
      if b >= buckets then b = b - half end
      local there = by[b]
      if there then there[#there + 1] = fp else by[b] = {fp} end
    end
    return by
  end

  local function split()
    if buckets == size then size = size * 2 end
    local old, new = S .. (buckets - size / 2), S .. buckets
    local move = {}
    for _, fp in ipairs(redis.call('SMEMBERS', old)) do
      if fp % size == buckets then move[#move + 1] = fp end
    end
    if #move > 0 then
      redis.call('SADD', new, unpack(move))
      redis.call('SREM', old, unpack(move))
    end
    buckets = buckets + 1
  end

  local function known(fps) -- fingerprint -> true for those that have been seen
    local out = {}
    for b, there in pairs(sorted(fps)) do
      local found = redis.call('SMISMEMBER', S .. b, unpack(there))
      for i = 1, #there do
        if found[i] == 1 then out[there[i]] = true end
      end
    end
    return out
  end

  local function has(fp) return known({fp})[fp] end

  local function mark(fps)
    for b, there in pairs(sorted(fps)) do n = n + redis.call('SADD', S .. b, unpack(there)) end
    while n > FILL * buckets do split() end
    if #fps > 0 then redis.call('HSET', C, 'sn', ms(n), 'sb', ms(buckets)) end
  end

  return {has = has, known = known, mark = mark}
end

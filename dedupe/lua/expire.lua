-- Lets an index expire, or keeps it; at most 500 keys per call.
-- KEYS[1] root. ARGV[1] milliseconds, 0: keep it for good; ARGV[2] where to go on, 0 first.
-- Returns where to go on, -1 when all is done or there is nothing to do, -2 when the index that is
-- to be kept has expired: delete what is left.
-- Invariant: the root is the first to get an end and the last to lose it, and lives an hour longer
-- than the rest, so that an index which was half done, or is half gone, is known by its root.
local HOUR = 3600000
local ttl, at, last = tonumber(ARGV[1]), tonumber(ARGV[2]), math.floor(docs / SLOTS)
local fixed = { ":g", ":o" }
for _, number in ipairs(redis.call("HKEYS", root .. ":o")) do fixed[#fixed + 1] = ":l:" .. number end
local all = buckets + last + 1 + #fixed
if redis.call("EXISTS", root) == 0 then return -1 end
if ttl == 0 and redis.call("PTTL", root) == -1 then return -1 end
if ttl == 0 and redis.call("PTTL", root) <= HOUR then return -2 end
local function set(key)
  if ttl > 0 then redis.call("PEXPIRE", key, ttl) else redis.call("PERSIST", key) end
end
if ttl > 0 and at == 0 then redis.call("PEXPIRE", root, ttl + HOUR) end
local stop = math.min(all, at + 500)
for i = at, stop - 1 do
  if i < buckets then set(root .. ":b:" .. i)
  elseif i <= buckets + last then set(root .. ":r:" .. (i - buckets))
  else set(root .. fixed[i - buckets - last]) end
end
if stop < all then return stop end
if ttl == 0 then redis.call("PERSIST", root) end
return -1

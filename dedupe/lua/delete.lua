-- Deletes a job's index, at most 500 keys per call, the root last so that calls can be repeated.
-- KEYS[1] root. Returns 1 when there is more to do, else 0.
-- Invariant: the root's counts name every key that is left.
local last = math.floor(docs / SLOTS)
local going = {}
while #going < 500 and buckets > 0 do
  buckets = buckets - 1
  going[#going + 1] = root .. ":b:" .. buckets
end
while #going < 500 and last >= 0 do
  going[#going + 1] = root .. ":r:" .. last
  last = last - 1
end
if #going > 0 then redis.call("UNLINK", unpack(going)) end
if buckets > 0 or last >= 0 then
  docs = (last + 1) * SLOTS - 1
  save()
  return 1
end
for _, number in ipairs(redis.call("HKEYS", root .. ":o")) do
  redis.call("UNLINK", root .. ":l:" .. number)
end
redis.call("UNLINK", root .. ":g", root .. ":o", root)
return 0

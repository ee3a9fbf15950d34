#!lua flags=allow-oom
-- Ends a segment: confirms its documents or erases them, 1,000 at a time.
-- KEYS[1] root. ARGV[1] segment, ARGV[2] "confirm" | "forget".
-- Returns 1 when there is more to do, else 0. Unknown segments are done already.
-- Invariant: a forgotten document is never the answer to a lookup again (its entries go when met).
local number = redis.call("HGET", root .. ":g", ARGV[1])
if not number then return 0 end
local list = root .. ":l:" .. number
if ARGV[2] == "forget" then
  local going = redis.call("LPOP", list, 1000) or {}
  for _, doc in ipairs(going) do
    local found = record(tonumber(doc)) -- a page fetched again has moved to a later segment
    if struct.unpack("<I4", found, 25) == tonumber(number) then erase(tonumber(doc)) end
  end
  if redis.call("EXISTS", list) == 1 then return 1 end
end
redis.call("UNLINK", list)
redis.call("HDEL", root .. ":g", ARGV[1])
redis.call("HDEL", root .. ":o", number)
return 0

#!lua flags=allow-oom
-- Whether a segment's URLs are its own still, so that it may be committed.
-- ARGV: now, segment, its URLs here when it was sealed
-- Returns: 1; 0 when it is not sealed here, or its URLs are others by now
-- Keeps 6 (one row per visit) where a server has lost the seal, or what came of its URLs elsewhere.
-- Changes nothing.
local segment = ARGV[2]
local state = redis.call('HGET', T .. ':g', segment) or ''
if string.sub(state, 1, 1) ~= 's' or pending(segment) ~= tonumber(ARGV[3]) then return 0 end
local X = T .. ':x:' .. string.sub(state, 3)
if redis.call('EXISTS', X) == 0 then return 1 end
for _, blob in ipairs(redis.call('HVALS', T .. ':p:' .. segment)) do
  for _, entry in ipairs(split(string.match(blob, '\n(.*)$'))) do
    if redis.call('HEXISTS', X, fingerprint(entry)) == 1 then return 0 end
  end
end
return 1

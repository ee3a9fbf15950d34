-- Make a deployment's record, at once and once.
-- KEYS[1] = {g}:meta; ARGV: schema, partitions, secret
-- Returns: 1 made, 0 it was there
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'partitions', ARGV[2], 'secret', ARGV[3])
return 1

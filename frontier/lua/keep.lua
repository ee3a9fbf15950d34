#!lua flags=allow-oom
-- One write that must not be refused for want of memory, or memory could never fall.
-- KEYS[1] = any key; ARGV: command, then its arguments behind the key
-- Returns: what the command does
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))

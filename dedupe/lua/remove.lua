-- Takes one page out (takedown). KEYS[1] root. ARGV[1] page id 16, ARGV[2] payload digest 8.
-- Returns 1 when the page had a record, 0 when it had none (an exact copy, or never added).
-- Invariant: neither id nor signature of the page remains; its band entries go when met.
local doc = get("p" .. ARGV[2])
if not doc or string.sub(record(tonumber(doc)), 1, 16) ~= ARGV[1] then return 0 end
erase(tonumber(doc))
drop("p" .. ARGV[2])
save()
return 1

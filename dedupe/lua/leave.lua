-- Takes documents out from under bands and text digests: copies, and those that are gone.
-- KEYS[1] root of the part that has these fields. ARGV: pairs of field and document's number.
-- Invariant: only what was named goes.
for i = 1, #ARGV, 2 do
  local field, left = ARGV[i], {}
  local value = get(field)
  for doc in string.gmatch(value or "", "%d+") do
    if doc ~= ARGV[i + 1] then left[#left + 1] = doc end
  end
  if value and #left == 0 then drop(field) elseif value then put(field, table.concat(left, ",")) end
end
save()
return 0

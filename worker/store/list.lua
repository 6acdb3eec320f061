-- A part of a page of fits, newest first.
-- Arguments: status or '', system or '', labels (JSON) that a fit must have, the earliest time of submission or '', the
-- time before which it must lie or '', its owner or '', maximum number of fits, cursor (a sequence number) or '', number of fits to look
-- at.
-- Returns the fits, the cursor of the next part, and 1 if there is none.
local status, system, wanted, after, before, owner, limit, cursor, scan = unpack(ARGV)
local index = (owner == '' and INDEX or OWNER_INDEX .. owner .. ':') .. status .. ':' .. system
wanted, limit, after, before = cjson.decode(wanted), tonumber(limit), tonumber(after), tonumber(before)

local function is_wanted(id)
  local labels, created = unpack(redis.call('HMGET', FIT .. id, 'labels', 'created_at'))
  if before and tonumber(created) >= before then return false end
  if next(wanted) == nil then return true end
  labels = cjson.decode(labels)
  for key, value in pairs(wanted) do
    if labels[key] ~= value then return false end
  end
  return true
end

-- A fit more than is looked at says whether there is a next part.
local upper = cursor == '' and '+inf' or '(' .. cursor
local found = redis.call('ZREVRANGEBYSCORE', index, upper, '-inf', 'WITHSCORES', 'LIMIT', 0, scan + 1)
local fits, last = {}, cursor
for i = 1, math.min(#found, 2 * scan), 2 do
  local id, sequence = found[i], found[i + 1]
  -- Fits are accepted one after the other, so all that follow are older still.
  if after and tonumber(redis.call('HGET', FIT .. id, 'created_at')) < after then return { fits, last, 1 } end
  if not has_expired(FIT .. id) and is_wanted(id) then
    if #fits == limit then return { fits, last, 0 } end
    fits[#fits + 1] = record(id, false)
  end
  if #fits < limit or fits[limit][1] == id then last = sequence end
end
return { fits, last, #found > 2 * scan and 0 or 1 }

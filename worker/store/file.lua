-- A file that was made of a result.
-- Arguments: id, name of the file.
-- Returns 1 if the fit has a result, and the content or false; false if there is no such fit.
local id, name = unpack(ARGV)
if not exists(id) then return false end
return { redis.call('HEXISTS', FIT .. id, 'result'), redis.call('HGET', FIT .. id, 'file:' .. name) }

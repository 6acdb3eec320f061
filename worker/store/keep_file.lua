-- Keep a file that was made of a result.
-- Arguments: id, name of the file, content.
local id, name, content = unpack(ARGV)
if not exists(id) then return 0 end
return redis.call('HSET', FIT .. id, 'file:' .. name, content)

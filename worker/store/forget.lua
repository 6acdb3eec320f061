-- Delete a fit that has ended.
-- Arguments: id.
local id = ARGV[1]
if not exists(id) then return 'not_found' end
if not has_ended(redis.call('HGET', FIT .. id, 'status')) then return 'not_finished' end
remove(id)
return 'forgotten'

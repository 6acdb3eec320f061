-- Delete a batch that has ended.
-- Arguments: id.
local id = ARGV[1]
if not batch_exists(id) then return 'not_found' end
if not has_ended(redis.call('HGET', BATCH .. id, 'status')) then return 'not_finished' end
remove_batch(id)
return 'forgotten'

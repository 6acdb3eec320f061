-- Where the rows of a batch are.
-- Arguments: id.
-- Returns the status, the problem, the starts of the chunks, the numbers of the chunks with rows, and the endings of
-- chunks that ended early as pairs; false if there is no such batch.
local id = ARGV[1]
if not batch_exists(id) then return false end
local status, problem = unpack(redis.call('HMGET', BATCH .. id, 'status', 'problem'))
return {
  status, problem, redis.call('LRANGE', BATCH_STARTS .. id, 0, -1), redis.call('HKEYS', BATCH_ROWS .. id),
  redis.call('HGETALL', BATCH_ENDS .. id),
}

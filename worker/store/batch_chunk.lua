-- Keep the series of a chunk of a batch that is arriving.
-- Arguments: id of the batch, number of the chunk, the place of its first series, its series, seconds until it is
-- forgotten if the batch is not accepted.
-- Returns the number of chunks.
local id, chunk, first, series, life = unpack(ARGV)
if redis.call('HSETNX', BATCH_SERIES .. id, chunk, series) == 1 then
  redis.call('RPUSH', BATCH_STARTS .. id, first)
end
redis.call('EXPIRE', BATCH_SERIES .. id, life)
redis.call('EXPIRE', BATCH_STARTS .. id, life)
return redis.call('LLEN', BATCH_STARTS .. id)

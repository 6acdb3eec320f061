-- Accept a batch whose chunks have arrived, unless its idempotency key already belongs to a batch.
-- Arguments: id, problem, system, labels, queue, lane, number of series, number of chunks, hash of the idempotency key or
-- '', digest, the owner or '', maximum number of unfinished batches, the broker's list, then messages for the chunks.
-- Returns 'created' or 'repeated' and the batch, 'conflict', 'full', or 'lost' if chunks are missing.
local id, problem, system, labels, queue, lane, series, chunks, idempotency, digest, owner, limit, list = unpack(ARGV)

if redis.call('EXISTS', BATCH .. id) == 1 then
  return { 'created', batch_record(id) }  -- repeated because the reply was lost
end
local verdict, first = earlier_with_key(idempotency, digest, BATCH, remove_batch)
if verdict then return { verdict, first and batch_record(first) } end
if redis.call('ZCARD', BATCH_INDEX) - redis.call('ZCARD', BATCH_EXPIRIES) >= tonumber(limit) then return { 'full' } end
if redis.call('HLEN', BATCH_SERIES .. id) ~= tonumber(chunks) then return { 'lost' } end

local sequence = redis.call('INCR', SEQUENCE)
redis.call('HSET', BATCH .. id, 'status', 'queued', 'system', system, 'queue', queue, 'lane', lane,
  'sequence', sequence, 'created_at', whole(now()), 'labels', labels, 'problem', problem, 'series', series,
  'chunks', chunks, 'next', 0)
redis.call('RPUSH', BATCH_STARTS .. id, series)
redis.call('PERSIST', BATCH_SERIES .. id)
redis.call('PERSIST', BATCH_STARTS .. id)
redis.call('ZADD', BATCH_INDEX, sequence, id)
if owner ~= '' then
  redis.call('HSET', BATCH .. id, 'owner', owner)
  redis.call('ZADD', BATCH_INDEX .. owner, sequence, id)
end
if idempotency ~= '' then
  redis.call('HSET', BATCH .. id, 'idempotency', idempotency, 'digest', digest)
  redis.call('SET', IDEMPOTENCY .. idempotency, id)
end
local released = release_chunks(id)
for i = 14, math.min(#ARGV, 13 + released) do redis.call('LPUSH', list, ARGV[i]) end
return { 'created', batch_record(id) }

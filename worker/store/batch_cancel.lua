-- Cancel a batch: the chunks that wait at once, those that run by asking their workers to stop. Rows that are done stay.
-- Arguments: id, how long results are kept.
-- Returns 'not_found'; 'ended' and the status; or 'already' or 'accepted' and the batch.
local id, kept = ARGV[1], tonumber(ARGV[2])
if not batch_exists(id) then return { 'not_found' } end

local status, cancelled = unpack(redis.call('HMGET', BATCH .. id, 'status', 'cancelled'))
if status == 'cancelled' then return { 'already', batch_record(id) } end
if has_ended(status) then return { 'ended', status } end
if cancelled then return { 'accepted', batch_record(id) } end

write_even_when_full()
redis.call('HSET', BATCH .. id, 'cancelled', 1)
for _, chunk in ipairs(redis.call('SMEMBERS', BATCH_OPEN .. id)) do
  if redis.call('ZSCORE', LEASES, chunk) then
    redis.call('ZADD', CANCELLING, 'NX', whole(now()), chunk)
  else
    end_fit(chunk, 'cancelled', kept)
  end
end
return { 'accepted', batch_record(id) }

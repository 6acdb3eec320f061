-- The functions of batches that scripts share, after those of prelude.lua.
--
-- A batch is divided into chunks of series. Each chunk is claimed, leased, handed back and ended by the scripts of fits.
-- Only so many chunks of a batch wait or run at a time, so that a batch of any size takes little of the queue.
-- Fields of a batch besides BATCH_FIELDS:
--   problem                  the request without data, and the versions
--   queue, lane, sequence    as accepted
--   idempotency, digest      hashes of its idempotency key and of the body sent with it
--   chunks, next             how many chunks there are, and which comes next
--   cancelled                once it was asked to stop

local OPEN_CHUNKS = 64

local function batch_exists(id)
  return redis.call('EXISTS', BATCH .. id) == 1 and not has_expired(BATCH .. id)
end

local function size_of_chunk(batch, chunk)
  local first, following = unpack(redis.call('LRANGE', BATCH_STARTS .. batch, chunk, chunk + 1))
  return following - first
end

local function start_batch(id, at)
  if redis.call('HSETNX', BATCH .. id, 'started_at', whole(at)) == 1 then
    redis.call('HSET', BATCH .. id, 'status', 'running')
  end
end

local function count_series(batch, name, number)
  if number > 0 then redis.call('HINCRBY', BATCH_COUNTS .. batch, name, number) end
end

-- Let the next chunks wait. Returns their number.
local function release_chunks(batch)
  local key, released = BATCH .. batch, 0
  local queue, lane, system, owner, sequence, created_at =
    unpack(redis.call('HMGET', key, 'queue', 'lane', 'system', 'owner', 'sequence', 'created_at'))
  local chunks, chunk, cancelled = unpack(redis.call('HMGET', key, 'chunks', 'next', 'cancelled'))
  chunk = tonumber(chunk)
  while not cancelled and chunk < tonumber(chunks) and redis.call('SCARD', BATCH_OPEN .. batch) < OPEN_CHUNKS do
    local id = batch .. '/' .. whole(chunk)
    redis.call('HSET', FIT .. id, 'status', 'queued', 'system', system, 'queue', queue, 'sequence', sequence,
      'created_at', created_at, 'attempts', 0, 'batch', batch, 'chunk', whole(chunk),
      'size', size_of_chunk(batch, chunk))
    if owner then redis.call('HSET', FIT .. id, 'owner', owner) end
    redis.call('SADD', BATCH_OPEN .. batch, id)
    add_to_lane(id, queue, lane, next_place(queue, lane, owner))
    chunk, released = chunk + 1, released + 1
  end
  redis.call('HSET', key, 'next', whole(chunk))
  return released
end

-- How many series have ended.
local function ended_series(batch)
  local ended = 0
  for _, status in ipairs({ 'succeeded', 'failed', 'cancelled' }) do
    ended = ended + tonumber(redis.call('HGET', BATCH_COUNTS .. batch, 'status:' .. status) or 0)
  end
  return ended
end

-- End the batch if none of its chunks waits or runs. Series of chunks that never waited are cancelled.
local function end_batch_if_done(batch, kept)
  if redis.call('SCARD', BATCH_OPEN .. batch) > 0 then return end
  local key, at = BATCH .. batch, now()
  local rest = tonumber(redis.call('HGET', key, 'series')) - ended_series(batch)
  count_series(batch, 'status:cancelled', rest)
  local is_cancelled = tonumber(redis.call('HGET', BATCH_COUNTS .. batch, 'status:cancelled') or 0) > 0
  redis.call('HSET', key, 'status', is_cancelled and 'cancelled' or 'succeeded',
    'finished_at', whole(at), 'expires_at', whole(at + kept))
  redis.call('ZADD', BATCH_EXPIRIES, whole(at + kept), batch)
end

-- End a chunk, for good. rows: of its series as far as they are done, and counts (JSON) of them; '' or nil for those of
-- the last checkpoint. failure: the error (JSON) of the other series, '' or nil if there is none.
function end_chunk(id, status, kept, rows, failure, counts)
  local fit = FIT .. id
  local batch, chunk, size = unpack(redis.call('HMGET', fit, 'batch', 'chunk', 'size'))
  if not rows or rows == '' then
    rows, counts = unpack(redis.call('HMGET', fit, 'partial', 'partial_outcome'))
  end
  redis.call('DEL', fit)
  redis.call('SREM', BATCH_OPEN .. batch, id)

  local rest = tonumber(size)
  if rows then
    redis.call('HSET', BATCH_ROWS .. batch, chunk, rows)
    for name, number in pairs(cjson.decode(counts)) do
      count_series(batch, name, number)
      if string.find(name, 'status:', 1, true) == 1 then rest = rest - number end
    end
  end
  if rest > 0 then
    local how = status == 'cancelled' and 'cancelled' or 'failed'
    count_series(batch, 'status:' .. how, rest)
    local has_error = failure and failure ~= ''
    local ending = '{"status":"' .. how .. '"' .. (has_error and ',"error":' .. failure or '') .. '}'
    redis.call('HSET', BATCH_ENDS .. batch, chunk, ending)
  else
    redis.call('HDEL', BATCH_SERIES .. batch, chunk)
  end
  release_chunks(batch)
  end_batch_if_done(batch, kept)
end

local function remove_batch(id)
  local idempotency, owner = unpack(redis.call('HMGET', BATCH .. id, 'idempotency', 'owner'))
  for _, key in ipairs({ BATCH, BATCH_SERIES, BATCH_STARTS, BATCH_ROWS, BATCH_ENDS, BATCH_COUNTS, BATCH_OPEN }) do
    redis.call('UNLINK', key .. id)
  end
  redis.call('ZREM', BATCH_EXPIRIES, id)
  redis.call('ZREM', BATCH_INDEX, id)
  if owner then redis.call('ZREM', BATCH_INDEX .. owner, id) end
  if idempotency then redis.call('DEL', IDEMPOTENCY .. idempotency) end
end

-- A batch as scripts return it: id, BATCH_FIELDS, the number of series that run, and the counts.
local function batch_record(id)
  local fields = redis.call('HMGET', BATCH .. id, unpack(BATCH_FIELDS))
  table.insert(fields, 1, id)
  local running = 0
  for _, chunk in ipairs(redis.call('SMEMBERS', BATCH_OPEN .. id)) do
    local status, size = unpack(redis.call('HMGET', FIT .. chunk, 'status', 'size'))
    if status == 'running' then running = running + tonumber(size) end
  end
  fields[#BATCH_FIELDS + 2] = running
  fields[#BATCH_FIELDS + 3] = redis.call('HGETALL', BATCH_COUNTS .. id)
  return fields
end

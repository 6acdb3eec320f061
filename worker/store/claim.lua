-- Take a lease on the next waiting fit of a queue: the first of the small ones, or else of the long ones. A long one that
-- has waited for some time comes first if no long one has started meanwhile.
-- Arguments: queue, length of the lease, the time after which a long fit comes first.
-- Returns id, token, running time of earlier attempts in seconds, problem, checkpoint and losses
-- or false, id of the request or false; for a chunk of a batch also the place of its first series, its series, the rows
-- that are done or false, and the number of deaths since the last of them. Returns false if no fit waits.
local queue, lease, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local id = redis.call('ZRANGE', READY .. queue, 0, 0)[1]
if not id then return false end

local first_long = redis.call('ZRANGEBYSCORE', READY .. queue, LONG_LANE, '+inf', 'LIMIT', 0, 1)[1]
if first_long and first_long ~= id then
  local started_at = redis.call('HGET', TURNS, queue .. ':long_started_at')
  if now() - math.max(ready_since(first_long), tonumber(started_at or 0)) > patience then id = first_long end
end

local fit = FIT .. id
local at = now()
redis.call('ZREM', READY .. queue, id)
local lane, place = lane_of(id)
local of_lane = queue .. ':' .. lane
local last = tonumber(redis.call('HGET', TURNS, of_lane) or 0)
redis.call('HSET', TURNS, of_lane, math.max(last, place))
if lane == 'long' then redis.call('HSET', TURNS, queue .. ':long_started_at', whole(at)) end
redis.call('ZADD', LEASES, whole(at + lease), id)
move(id, 'running')
local token = redis.call('HINCRBY', fit, 'attempts', 1)
local elapsed, attempt = unpack(redis.call('HMGET', fit, 'elapsed', 'attempt_seconds'))
elapsed = string.format('%.6f', (elapsed or 0) + (attempt or 0))
redis.call('HSETNX', fit, 'started_at', whole(at))
redis.call('HSET', fit, 'token', token, 'elapsed', elapsed, 'attempt_seconds', 0)
local problem, checkpoint, losses = unpack(redis.call('HMGET', fit, 'problem', 'checkpoint', 'losses'))
local request = redis.call('HGET', fit, 'request_id')
local batch, chunk = unpack(redis.call('HMGET', fit, 'batch', 'chunk'))
if batch then
  start_batch(batch, at)
  problem = redis.call('HGET', BATCH .. batch, 'problem')
  local series = redis.call('HGET', BATCH_SERIES .. batch, chunk)
  local first = redis.call('LINDEX', BATCH_STARTS .. batch, chunk)
  local rows, deaths = unpack(redis.call('HMGET', fit, 'partial', 'deaths'))
  return { id, tostring(token), elapsed, problem, checkpoint, false, request, first, series, rows, deaths or '0' }
end
return { id, tostring(token), elapsed, problem, checkpoint, losses, request }

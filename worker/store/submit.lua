-- Accept a fit and push its message to the broker's list, unless its idempotency key already belongs to a fit.
-- Arguments: id, problem, system, labels, queue, maximum number of waiting fits, hash of the idempotency key or '',
-- digest, the list, the message, the webhook (JSON) or '', the id of
-- the HTTP request or '', the owner or '', the most queued and running fits of the owner or '',
-- the kind, the estimated seconds, above how many seconds a fit is long.
-- Returns 'created' or 'repeated' and the fit, 'conflict', 'full' or 'owner_full'.
local id, problem, system, labels, queue, limit, idempotency, digest, list, message, webhook,
  request_id, owner, owner_limit, kind, estimate, long = unpack(ARGV)

if redis.call('EXISTS', FIT .. id) == 1 then
  return { 'created', record(id, false) }  -- repeated because the reply was lost
end
local verdict, first = earlier_with_key(idempotency, digest, FIT, remove)
if verdict then return { verdict, first and record(first, true) } end
if redis.call('ZCARD', READY .. 'cpu') + redis.call('ZCARD', READY .. 'gpu') >= tonumber(limit) then
  return { 'full' }
end

if owner ~= '' and owner_limit ~= '' then
  local of_owner = OWNER_INDEX .. owner .. ':'
  local unfinished = redis.call('ZCARD', of_owner .. 'queued:') + redis.call('ZCARD', of_owner .. 'running:')
  if unfinished >= tonumber(owner_limit) then return { 'owner_full' } end
end

local sequence = redis.call('INCR', SEQUENCE)
redis.call('HSET', FIT .. id, 'status', 'queued', 'system', system, 'queue', queue, 'sequence', sequence,
  'created_at', whole(now()), 'labels', labels, 'attempts', 0, 'problem', problem)
if idempotency ~= '' then
  redis.call('HSET', FIT .. id, 'idempotency', idempotency, 'digest', digest)
  redis.call('SET', IDEMPOTENCY .. idempotency, id)
end
if owner ~= '' then redis.call('HSET', FIT .. id, 'owner', owner) end
if request_id ~= '' then redis.call('HSET', FIT .. id, 'request_id', request_id) end
if webhook ~= '' then redis.call('HSET', FIT .. id, 'webhook', webhook) end
for _, index in ipairs(indexes('queued', system, owner ~= '' and owner)) do redis.call('ZADD', index, sequence, id) end
local seconds = tonumber(kind ~= '' and redis.call('HGET', COSTS, kind) or estimate)
local lane = seconds > tonumber(long) and 'long' or 'small'
if kind ~= '' then redis.call('HSET', FIT .. id, 'kind', kind) end
add_to_lane(id, queue, lane, next_place(queue, lane, owner))
redis.call('LPUSH', list, message)
return { 'created', record(id, false) }

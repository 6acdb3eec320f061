-- Numbers about the queue and the store.
-- Arguments: how long a worker counts as live after its last heartbeat.
-- Returns pairs of a name and a number, then the counters, then the memory of each live worker.
local live_since = now() - tonumber(ARGV[1])
local at = now()
local found = {}
local function add(name, value)
  found[#found + 1] = name
  found[#found + 1] = tostring(value)
end

for _, queue in ipairs({ 'cpu', 'gpu' }) do
  local oldest = 0
  for _, first in ipairs({ '-inf', LONG_LANE }) do  -- of each lane
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', READY .. queue, first, '+inf', 'LIMIT', 0, 1)) do
      oldest = math.max(oldest, (at - tonumber(redis.call('HGET', FIT .. id, 'created_at'))) / 1000000)
    end
  end
  add('queued:' .. queue, redis.call('ZCARD', READY .. queue))
  add('oldest:' .. queue, oldest)
end
for status, _ in pairs(MOVES) do add('fits:' .. status, redis.call('ZCARD', INDEX .. status .. ':')) end
add('running', redis.call('ZCARD', LEASES))
add('simulations', redis.call('LLEN', SIMULATIONS))
add('webhooks', redis.call('ZCARD', WEBHOOKS))
add('workers', redis.call('ZCOUNT', WORKERS, whole(live_since), '+inf'))
local memory = 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, whole(live_since), '+inf')) do
  memory = memory + tonumber(redis.call('HGET', WORKER_MEMORY, name) or 0)
end
add('worker_memory', memory)
return { found, redis.call('HGETALL', COUNTERS) }

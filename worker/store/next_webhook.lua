-- Take the webhook that has been due longest.
-- Arguments: the length of the lease, after which it is due again.
-- Returns id and status of its fit, the webhook (JSON) and the number of this attempt; false if none is due.
local lease = tonumber(ARGV[1])
local at = now()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', WEBHOOKS, '-inf', whole(at), 'LIMIT', 0, 100)) do
  local status, webhook = unpack(redis.call('HMGET', FIT .. id, 'status', 'webhook'))
  if webhook then
    write_even_when_full()
    redis.call('ZADD', WEBHOOKS, whole(at + lease), id)
    return { id, status, webhook, redis.call('HINCRBY', FIT .. id, 'webhook_attempts', 1) }
  end
  redis.call('ZREM', WEBHOOKS, id)  -- the fit was deleted
end
return false

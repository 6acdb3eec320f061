-- End an attempt to deliver a webhook.
-- Arguments: id, the pause until the next attempt or '' if it was delivered, how long after the end of the fit it is
-- tried.
-- Returns 1 if there is another attempt.
local id, pause, tried = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local finished_at = redis.call('HGET', FIT .. id, 'finished_at')
write_even_when_full()
if pause and finished_at and now() - finished_at + pause < tried then
  redis.call('ZADD', WEBHOOKS, whole(now() + pause), id)
  return 1
end
redis.call('ZREM', WEBHOOKS, id)
redis.call('HDEL', FIT .. id, 'webhook')
return 0

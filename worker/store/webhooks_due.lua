-- Whether any webhook is due.
return #redis.call('ZRANGEBYSCORE', WEBHOOKS, '-inf', whole(now()), 'LIMIT', 0, 1)

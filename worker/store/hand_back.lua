-- Return an unfinished fit to its place in the queue, without counting a death.
-- Arguments: id, token, how long results are kept, then the update.
-- Returns 'lost', 'cancelled' or 'ready'.
local id, token, kept = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds(id, token) then return 'lost' end

write_even_when_full()
save_update(id, update_from(4))
if redis.call('ZSCORE', CANCELLING, id) then
  end_fit(id, 'cancelled', kept)
  return 'cancelled'
end
redis.call('HDEL', FIT .. id, 'token')
make_ready(id)
return 'ready'

-- Return an unfinished fit to its place in the queue, without counting a death; one that turned out long to the end of
-- the long ones.
-- Arguments: id, token, how long results are kept, then the update, then the seconds after which a fit is long.
-- Returns 'lost', 'cancelled' or 'ready'.
local id, token, kept = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds(id, token) then return 'lost' end

write_even_when_full()
local update = update_from(4)
save_update(id, update)
if redis.call('ZSCORE', CANCELLING, id) then
  end_fit(id, 'cancelled', kept)
  return 'cancelled'
end
redis.call('HDEL', FIT .. id, 'token')
make_ready(id)
if tonumber(update.seconds) >= tonumber(ARGV[14]) then
  local queue, owner = unpack(redis.call('HMGET', FIT .. id, 'queue', 'owner'))
  add_to_lane(id, queue, 'long', next_place(queue, 'long', owner))
end
return 'ready'

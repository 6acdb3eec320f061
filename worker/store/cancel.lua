-- Cancel a fit: at once if it is not under a lease, else by asking its worker to stop.
-- Arguments: id, how long results are kept.
-- Returns 'not_found'; 'ended' and the status; or 'already' or 'accepted' and the fit.
local id, kept = ARGV[1], tonumber(ARGV[2])
if not exists(id) then return { 'not_found' } end

local status = redis.call('HGET', FIT .. id, 'status')
if status == 'cancelled' then return { 'already', record(id, true) } end
if has_ended(status) then return { 'ended', status } end

if redis.call('ZSCORE', LEASES, id) then
  write_even_when_full()
  redis.call('ZADD', CANCELLING, 'NX', whole(now()), id)
else
  end_fit(id, 'cancelled', kept)
end
return { 'accepted', record(id, true) }

-- End a fit, under the token of its attempt. id, token, status, how long results are kept, result, error, progress
-- (each may be ''). Returns whether it was done, now or by the same call before.
local id, token, status, kept, result, failure, progress = unpack(ARGV)
if holds(id, token) then
  end_fit(id, status, tonumber(kept), result, failure, progress)
  return 1
end
local now_status, now_token = unpack(redis.call('HMGET', FIT .. id, 'status', 'token'))
return (now_status == status and now_token == token) and 1 or 0

-- One fit. id, '1' with its result
if not exists(ARGV[1]) then return false end
return record(ARGV[1], ARGV[2] == '1')

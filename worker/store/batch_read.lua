-- One batch.
-- Arguments: id.
if not batch_exists(ARGV[1]) then return false end
return batch_record(ARGV[1])

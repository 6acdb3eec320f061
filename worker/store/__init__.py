"""The store in Redis: all that is known of a fit, and the only place from which a lost worker is recovered.

Every move is one Lua script and therefore atomic. The scripts use nothing that Redis 6.2 lacks, and Redis's own
clock. They compute the names of keys from ids, so the store needs one Redis server, not a cluster.
"""

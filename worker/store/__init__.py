"""The store in Redis: everything known about a fit, and the basis for recovery from lost workers.

Every move is one Lua script and therefore atomic. The scripts run on Redis 6.2 and use its clock. They compute key
names from ids, so the store needs a single Redis server, not a cluster.
"""

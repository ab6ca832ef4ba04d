"""The database: the truth about everything but the media bytes.

Queries stand in modules by noun. A function that writes takes the transaction of its caller, so that what
belongs together is committed together; a function that only reads takes a connection of either kind.
"""

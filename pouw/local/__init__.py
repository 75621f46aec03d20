"""Servers of one's own for a first run and for tests: PostgreSQL and Valkey out of Python packages.

Both listen on a Unix socket only, so they need no port and no password: the socket's directory, and for
PostgreSQL the peer's identity, decide who gets in.
"""

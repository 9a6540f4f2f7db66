"""The agent: PID 1 of every guest.

Start-up is the product's: modules here import what the interpreter has built in (`_socket`,
`_json`, `_thread`) where the public one costs milliseconds, and nothing at all of `typing`: that
one is 50 ms here, so `TYPE_CHECKING` is a name of each module's own.
"""

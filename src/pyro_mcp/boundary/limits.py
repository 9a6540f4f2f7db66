"""How much may cross the host boundary in one transfer."""

SOURCE_LIMIT_BYTES = 20 * 1024**3
"""Content of one seed or push: what a compressed archive may grow to."""
EXPORT_LIMIT_BYTES = 20 * 1024**3
"""Content of one export, unless the caller says otherwise."""
ENTRY_LIMIT = 2_000_000
"""Files, directories and links of one transfer."""
PATH_LIMIT_BYTES = 4095
"""Linux has no longer paths."""
NAME_LIMIT_BYTES = 255
DEPTH_LIMIT = 256
"""Directories below each other; each of them holds a descriptor while it is read."""
NOTES_LIMIT = 100
"""Notes about what was left out that a result carries; further ones are counted."""
ROOM_TO_LEAVE_MIB = 256
"""What an export leaves free on the file system that it goes to."""
CHUNK = 1 << 20
"""Bytes that are read, checked and passed on at once."""

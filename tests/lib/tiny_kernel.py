# SPDX-License-Identifier: Apache-2.0
"""A kernel of a few bytes, for tests that need a guest that runs and no more."""
import struct

TEXT = 0x1000000


COUNTS = bytes.fromhex("48c7c300008001" "48ff03" "ebfb")  # mov rbx, data; 1: inc [rbx]; jmp 1b
RESETS = bytes.fromhex("b0fe" "e664" "ebfe")  # the keyboard controller's reset; 1: jmp 1b


def kernel(path, code=COUNTS):
    """An ELF kernel that counts in memory for ever, or does what else is said."""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, TEXT, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 7, 0x1000, TEXT, TEXT, 0x1000, 0x1000, 0x1000)
    with open(path, "wb") as f:
        f.write(head.ljust(0x1000, b"\0") + code.ljust(0x1000, b"\0"))

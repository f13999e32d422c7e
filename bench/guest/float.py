# SPDX-License-Identifier: Apache-2.0
"""Python's floating point."""


def main():
    x, total = 0.5, 0.0
    for _ in range(600000):
        x = 3.9 * x * (1.0 - x)
        total += x ** 0.5 / (1 + x * x)
    print(repr(total))


main()

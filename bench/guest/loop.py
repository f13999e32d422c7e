# SPDX-License-Identifier: Apache-2.0
"""Python's loop and small integers."""


def main():
    n = 0
    for i in range(1500000):
        n = (n + i * 3) % 1000003
    print(n)


main()

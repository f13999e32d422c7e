# SPDX-License-Identifier: Apache-2.0
"""Python's objects: attributes, methods, dictionaries, strings, sorting, exceptions."""
import re


class Account:
    def __init__(self, name):
        self.name, self.balance, self.log = name, 0, []

    def add(self, amount):
        if self.balance + amount < 0:
            raise ValueError(self.name)
        self.balance += amount
        self.log.append(amount)


def main():
    accounts = {f"name{i}": Account(f"name{i}") for i in range(500)}
    refused, state = 0, 1
    for _ in range(60000):
        state = state * 1103515245 + 12345 & 0x7fffffff
        try:
            accounts[f"name{state // 64 % 500}"].add(state // 8 % 2001 - 1000)
        except ValueError:
            refused += 1
    rich = sorted(accounts.values(), key=lambda a: (-a.balance, a.name))[:100]
    text = " ".join(f"{a.name}={a.balance}/{len(a.log)}" for a in rich)
    words = re.findall(r"name(\d+)=(\d+)/(\d+)", text)
    print(refused, len(words), sum(int(a) ^ int(b) * int(c) for a, b, c in words))


main()

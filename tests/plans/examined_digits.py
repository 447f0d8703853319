"""How many first digits the plans of all regions look at, by the metadata of the Python port of libphonenumber.

`src/numbers/list/plan_blocks.rs` takes what a plan said of one number for all that differ in their last digits.
This lists the regions in which one of the patterns looks at more digits than the usual ones do.

Usage: examined_digits.py
"""

import functools
import re._parser as parser

import phonenumbers
from phonenumbers import PhoneMetadata

DIGITS = frozenset("0123456789")
LENGTHS = range(8, 18)
USUAL = 5
MOST_REPEATS = 20


class Automaton:
    """Which states are reached by which digits, for a pattern of digits."""

    def __init__(self, pattern, is_prefix):
        self.silent, self.steps = [], []
        start = self.state()
        self.end = self.add(parser.parse(pattern), start)
        if is_prefix:
            self.steps[self.end].append((DIGITS, self.end))
        self.start = self.closure([start])

    def state(self):
        self.silent.append([])
        self.steps.append([])
        return len(self.steps) - 1

    def step(self, state, digits):
        reached = self.state()
        self.steps[state].append((digits, reached))
        return reached

    def add(self, pattern, state):
        for operation, argument in pattern:
            name = str(operation)
            if name == "LITERAL":
                state = self.step(state, frozenset(chr(argument)))
            elif name == "IN":
                state = self.step(state, class_of(argument))
            elif name == "SUBPATTERN":
                state = self.add(argument[-1], state)
            elif name == "BRANCH":
                reached = self.state()
                for branch in argument[1]:
                    begin = self.state()
                    self.silent[state].append(begin)
                    self.silent[self.add(branch, begin)].append(reached)
                state = reached
            elif name == "MAX_REPEAT":
                least, most, repeated = argument
                for _ in range(least):
                    state = self.add(repeated, state)
                reached = self.state()
                for _ in range(min(int(most), MOST_REPEATS) - least):
                    self.silent[state].append(reached)
                    state = self.add(repeated, state)
                self.silent[state].append(reached)
                state = reached
            elif name != "AT":
                raise ValueError(name)
        return state

    def closure(self, states):
        reached, rest = set(states), list(states)
        while rest:
            for state in self.silent[rest.pop()]:
                if state not in reached:
                    reached.add(state)
                    rest.append(state)
        return frozenset(reached)

    @functools.lru_cache(None)
    def after(self, states, digit):
        return self.closure([to for state in states for digits, to in self.steps[state] if digit in digits])

    @functools.lru_cache(None)
    def verdict(self, states, count):
        """Whether all texts with `count` more digits match, or none; else None."""
        if count == 0:
            return self.end in states
        verdicts = {self.verdict(self.after(states, digit), count - 1) for digit in DIGITS}
        return verdicts.pop() if len(verdicts) == 1 else None

    def examined(self, length):
        """How many digits of a text of that length decide."""
        layer = {self.start}
        for count in range(length + 1):
            if all(self.verdict(states, length - count) is not None for states in layer):
                return count
            layer = {self.after(states, digit) for states in layer for digit in DIGITS}
        return length


def class_of(items):
    digits = set()
    for operation, argument in items:
        name = str(operation)
        if name == "LITERAL":
            digits.add(chr(argument))
        elif name == "RANGE":
            digits |= {chr(code) for code in range(argument[0], argument[1] + 1)}
        elif name == "CATEGORY":
            digits |= DIGITS
        else:
            raise ValueError(name)
    return frozenset(digits)


def main():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        metadata = PhoneMetadata.metadata_for_region(region)
        patterns = [
            ("numbers", metadata.general_desc.national_number_pattern, False),
            ("national prefix", metadata.national_prefix_for_parsing, True),
            ("international prefix", metadata.international_prefix, True),
        ]
        for name, pattern, is_prefix in patterns:
            if pattern:
                automaton = Automaton(pattern, is_prefix)
                examined = {length: automaton.examined(length) for length in LENGTHS}
                deep = {length: count for length, count in examined.items() if count > USUAL}
                if deep:
                    print(region, metadata.country_code, name, deep)


main()

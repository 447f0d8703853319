"""Valid numbers of all regions, with what the Python port of libphonenumber reads in them.

Usage: numbers.py examples | numbers.py random COUNT

Each line: the region, the national form, the international form; then, where the reference reads another number
in it or none, the digits of the national form alone (`-` for none) and those of the international form alone.
"""

import random
import sys

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

SEED = 16
TYPES = [kind for kind in PhoneNumberType.values() if kind != PhoneNumberType.UNKNOWN]


def digits(text):
    return "".join(character for character in text if character.isdigit())


def read(text, region):
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return "-"
    possible = phonenumbers.is_possible_number_with_reason(number)
    local_but_valid = possible == phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY and phonenumbers.is_valid_number(number)
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE and not local_but_valid:
        return "-"
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]


def line(region, number):
    own = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    assert read(national, region) == own and read(international, region) == own, (region, own)
    plain = [read(digits(text), region) for text in (national, international)]
    others = ["" if text == own else text for text in plain]
    return "\t".join([region, national, international, *others]).rstrip("\t")


def examples():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in TYPES:
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield region, number


def valid(count):
    """Numbers that share a random beginning with an example."""
    generator = random.Random(SEED)
    by_region = {}
    for region, number in examples():
        by_region.setdefault(region, []).append(number)
    per_region = -(-count // len(by_region))
    for region, known in sorted(by_region.items()):
        found = 0
        while found < per_region:
            example = generator.choice(known)
            national = phonenumbers.national_significant_number(example)
            kept = generator.randint(1, max(1, len(national) - 1))
            changed = national[:kept] + "".join(generator.choice("0123456789") for _ in national[kept:])
            try:
                number = phonenumbers.parse(f"+{example.country_code}{changed}")
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number_for_region(number, region):
                found += 1
                yield region, number


def main():
    numbers = examples() if sys.argv[1] == "examples" else valid(int(sys.argv[2]))
    print(f"# By phonenumbers {phonenumbers.__version__}, which is derived from libphonenumber (Apache-2.0).")
    seen = set()
    for region, number in numbers:
        written = line(region, number)
        if written not in seen:
            seen.add(written)
            print(written)


main()

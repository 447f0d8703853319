"""What a schema cannot say: rules between fields, between a request and its pool, and what a text means.

A request that breaks one of them fits the document and is refused with 400 all the same. Each such refusal is named here by
its own words; any other refusal of a request that fits the document is a failure.
"""

import re

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Of the `detail` of a 400.
BEYOND_THE_SCHEMA = [
    r"ttl is \d+ seconds, more than ttl_max",
    r"ttl is \d+ seconds: give 1 to \d+, the (pool's ttl_max|ttl_max of the pool)",
    r"column is for single numbers, first and last are for ranges",
    r"region and country_code exclude each other",
    r"as=prefix is for one column",
    r"a range needs both ends",
    r"within goes with state",
    r"is not a time zone",
    r"A list is not created by a dry run",
    r"the number list holds no number",
    r"(column|first|last|header|delimiter) is for CSV",
    r"is for text and CSV: leave it out with a Roaring bitmap",
    r"the range ends before it starts",
    r"state goes without a list",
    r"builtin takes no body",
    r"pools has .* twice",
    # What a text means: the lines of a list, days and times, names of encodings, columns put together.
    r"^(line|row at line) \d+",
    r"the first row is",
    r"encoding is .* give a name of the Encoding Standard",
    r"(column|first|last) is .* give the name of a column",
    r"the CSV has no column",
    r" is for a list: leave it out with (state|holder)",
    r"(days|from|to|closed) is ",
    # What bytes mean.
    r"is not a portable Roaring bitmap",
    r"(a holder|an outcome) is named by 1 to \d+ bytes",
    r"there is no region",
    r"give a time from 2020 to",
    r"holder goes alone",
    r"There is nothing to release",
    # A link of the stateful phase leads to a name that the document does not have.
    r"is not a (pool name|name of a list)",
    # Of settings and fields that go together.
    r"tracks no holders",
    r"(max|first)_per_holder is for a pool that tracks holders",
    # A rest of more than ten years.
    r"is \"rest:\d{9,}\": give available",
    r"then is available, as if there were no limit",
    r"keep is for backups that are named by their time",
]
KNOWN = re.compile("|".join(BEYOND_THE_SCHEMA))


@schemathesis.check
def valid_requests_are_accepted(ctx, response, case):
    """As positive_data_acceptance, but for the rules above."""
    if response.status_code == 400 and KNOWN.search(response.json().get("detail", "")):
        return None
    # A key that an earlier case used for another body.
    if response.status_code == 422 and response.json()["code"] == "idempotency_mismatch":
        return None
    return positive_data_acceptance(ctx, response, case)

"""Uses the client that openapi-python-client generates from the daemon's OpenAPI document, against a daemon."""

import io
import json
import sys

from allotd_client import Client
from allotd_client.api.daemon import check_readiness, show_stats
from allotd_client.api.numbers import show_number
from allotd_client.api.pools import create_pool, delete_pool, list_pools, pause_pool, resume_pool, show_pool
from allotd_client.api.services import lease_numbers, renew_leases, return_lease, return_leases
from allotd_client.models import (
    Exhausted,
    InUseProblem,
    LeaseRequest,
    PausedProblem,
    PoolExistsProblem,
    RenewRequest,
    RenewRequestLeasesItem,
    ReturnRequest,
    ReturnRequestLeasesItem,
    StaleProblem,
)
from allotd_client.types import File

FIRST = 79120000000


def numbers(count: int) -> File:
    return File(payload=io.BytesIO("".join(f"{FIRST + i}\n" for i in range(count)).encode()), mime_type="text/plain")


def main(url: str) -> None:
    client = Client(base_url=url, raise_on_unexpected_status=True)
    assert check_readiness.sync(client=client) is not None
    created = create_pool.sync("py", client=client, body=numbers(3), ttl=60)
    assert created.numbers == 3, created
    assert isinstance(create_pool.sync("py", client=client, body=numbers(3)), PoolExistsProblem)

    leased = lease_numbers.sync("py", client=client, body=LeaseRequest(count=2, ttl=30), idempotency_key="k")
    again = lease_numbers.sync("py", client=client, body=LeaseRequest(count=2, ttl=30), idempotency_key="k")
    assert [one.number for one in leased.leases] == [one.number for one in again.leases]
    one, other = leased.leases
    assert FIRST <= one.number < FIRST + 3 and one.number > 2**32
    item = RenewRequestLeasesItem(number=one.number, token=one.token)
    renewed = renew_leases.sync("py", client=client, body=RenewRequest(leases=[item], ttl=600))
    assert renewed.results[0].result == "renewed" and renewed.results[0].expires_at > one.expires_at

    assert len(lease_numbers.sync("py", client=client, body=LeaseRequest(count=9)).leases) == 1
    assert isinstance(lease_numbers.sync("py", client=client), Exhausted)
    assert isinstance(delete_pool.sync("py", client=client), InUseProblem)
    assert pause_pool.sync("py", client=client).paused
    refused = lease_numbers.sync("py", client=client)
    assert isinstance(refused, PausedProblem) and refused.code == "paused", refused
    assert not resume_pool.sync("py", client=client).paused

    assert show_number.sync("py", one.number, client=client).state == "leased"
    items = [ReturnRequestLeasesItem(number=one.number, token=one.token)]
    returned = return_leases.sync("py", client=client, body=ReturnRequest(leases=items))
    assert returned.results[0].result == "returned"
    assert return_lease.sync("py", other.number, client=client, lease_token=other.token).result == "returned"
    wrong = return_lease.sync("py", other.number, client=client, lease_token="A" * 11)
    assert isinstance(wrong, StaleProblem), wrong
    assert show_pool.sync("py", client=client).leased == 1
    assert "py" in [pool.pool for pool in list_pools.sync(client=client).pools]
    stats = show_stats.sync(client=client)
    assert stats.pools["py"].totals.leases == 3, json.dumps(stats.to_dict())
    assert delete_pool.sync("py", client=client, force=True) is not None
    print("the generated Python client works")


main(sys.argv[1])

"""Only names of this machine pass, in all their spellings."""

import pytest

from trivet.server.hosts import names_this_machine

HERE = ["127.0.0.1", "127.0.0.1:1", "127.8.8.8", "LOCALHOST:8416", "localhost.", "[::1]", "[::1]:8416"]
ELSEWHERE = [
    "", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:80", "0.0.0.0", "[",
    "127.0.0.1@evil",
]  # fmt: skip


@pytest.mark.parametrize("host", HERE)
def test_loopback_in_all_its_spellings(host):
    assert names_this_machine(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_every_other_name(host):
    assert not names_this_machine(host)

import signal
import threading
import time

import pytest
import redis

from tests.servers import redis_server
from trivet.errors import ConfigError, Conflict, TrivetError
from trivet.features.online.contract import Row
from trivet.features.online.redis import PIECE, RedisStore, open_store
from trivet.testing.online import SharedOnlineContract


@pytest.fixture(scope="module")
def server():
    with redis_server() as running:
        yield running


class TestRedis(SharedOnlineContract):
    @pytest.fixture(autouse=True)
    def _address(self, server):
        type(self).url = f"redis://127.0.0.1:{server.port}/0"


def rows(count, moment=1):
    return [((number,), Row(moment, ["x", number], [moment, None])) for number in range(count)]


def opened(server, **options):
    return RedisStore(f"redis://127.0.0.1:{server.port}/1", **options)


def test_projects_in_one_redis_are_apart(server, tmp_path):
    (tmp_path / "shop").mkdir()
    url = f"redis://127.0.0.1:{server.port}/2"
    one, two = open_store(url, tmp_path), open_store(f"{url}?project=other&timeout=2s", tmp_path)
    again = open_store(f"{url}?project={tmp_path.name}", tmp_path / "shop")
    one.write("v", rows(1), watermark=1)
    assert (two.read("v", [(0,)]), two.views()) == ([None], [])
    assert again.watermark("v") == 1
    for store in (one, two, again):
        store.close()
    with pytest.raises(Conflict, match="closed"):
        one.read("v", [(0,)])


def test_a_long_write_is_several_transactions_and_ends_with_the_watermark(server):
    store = opened(server, project="long")
    count = 2 * PIECE + 77
    assert store.write("v", rows(count, 5), watermark=5) == count
    assert store.write("v", rows(count, 4), watermark=4) == 0
    assert store.write("v", [*rows(count, 4), ((-1,), Row(3, [1], [1]))]) == 1
    assert store.read("v", [(count - 1,), (-1,)]) == [rows(count, 5)[-1][1], Row(3, [1], [1])]
    assert store.watermark("v") == 5
    store.close()


def test_one_round_trip_reads_many_keys_and_views(server):
    store = opened(server, project="trip")
    for view in "abc":
        store.write(view, rows(50))
    client = redis.Redis(port=server.port)
    before = client.info("commandstats")
    store.get([(view, [b"\x91\x01"] * 50) for view in "abc"])
    after = client.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert calls["cmdstat_hmget"] == 3
    assert not any(calls.get(name) for name in ("cmdstat_keys", "cmdstat_scan", "cmdstat_hscan"))
    client.close()
    store.close()


def test_a_socket_is_an_address_too(server, tmp_path):
    store = open_store(f"redis+unix://{server.socket}?db=3&project=socket", tmp_path)
    store.write("v", rows(2))
    assert store.read("v", [(1,)]) == [rows(2)[1][1]]
    store.close()


def test_lost_rows_take_their_watermark_with_them(server):
    store = opened(server, project="evicted")
    store.write("v", rows(3), watermark=1)
    client = redis.Redis(port=server.port, db=1)
    client.delete("trivet:evicted:view:v")  # as eviction does: whole keys
    assert (store.read("v", [(0,)]), store.watermark("v"), store.views()) == ([None], None, [])
    client.close()
    store.close()


def test_writers_of_several_threads_never_put_older_over_newer(server):
    store = opened(server, project="race")
    order = [3, 9, 1, 7, 5, 2, 8, 4, 6, 0]
    threads = [
        threading.Thread(target=lambda part=part: [store.write("v", rows(40, moment)) for moment in order[part::2] * 5])
        for part in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row.as_of for row in store.read("v", [(number,) for number in range(40)])} == {9}
    store.close()


def test_redis_gone_is_a_sentence_and_back_needs_no_restart():
    with redis_server() as server:
        store = opened(server, timeout=1)
        store.write("v", rows(3), watermark=1)
        server.stop()
        for call in (
            lambda: store.read("v", [(0,)]),
            lambda: store.write("v", rows(3, 2), watermark=2),
            lambda: store.drop("v"),
        ):
            began = time.monotonic()
            with pytest.raises(TrivetError, match=rf"Redis at 127.0.0.1:{server.port}/1 does not answer"):
                call()
            assert time.monotonic() - began < 5
        server.start()
        assert store.watermark("v") is None
        assert store.write("v", rows(3, 2), watermark=2) == 3
        assert store.read("v", [(2,)]) == [rows(3, 2)[2][1]]
        store.close()


def test_redis_that_hangs_is_waited_for_no_longer_than_said():
    with redis_server() as server:
        store = opened(server, timeout=0.3)
        store.write("v", rows(3), watermark=1)
        server.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(TrivetError, match="does not answer"):
                store.read("v", [(0,)])
            assert time.monotonic() - began < 3
        finally:
            server.signal(signal.SIGCONT)
        assert store.watermark("v") == 1
        store.close()


def test_a_full_redis_refuses_and_keeps_what_it_has():
    with redis_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        store = opened(server)
        store.write("v", rows(100), watermark=1)

        def fill():
            for step in range(2, 50):
                wide = [((step, number), Row(step, ["x" * 500], [1])) for number in range(1000)]
                store.write("v", wide, watermark=step)

        with pytest.raises(TrivetError, match="is full"):
            fill()
        reached = store.watermark("v")
        assert store.read("v", [(99,)]) == [rows(100)[99][1]]
        assert None not in store.read("v", [(reached, number) for number in range(1000)])
        assert store.read("v", [(reached + 1, number) for number in range(1000)]) == [None] * 1000
        store.close()


def test_a_password_comes_from_the_environment_and_is_never_told(tmp_path, monkeypatch):
    secret = "s3cr3t/with:odd@signs"
    with redis_server("--requirepass", secret) as server:
        url = f"redis://:$SHOP_REDIS@127.0.0.1:{server.port}/0"
        with pytest.raises(ConfigError, match=r"no such environment variable"):
            open_store(url, tmp_path)
        monkeypatch.setenv("SHOP_REDIS", secret)
        store = open_store(url, tmp_path)
        assert store.write("v", rows(1)) == 1
        store.close()
        monkeypatch.setenv("SHOP_REDIS", "wrong-" + secret)
        refused = open_store(url, tmp_path)
        with pytest.raises(TrivetError, match="refuses") as told:
            refused.read("v", [(0,)])
        assert secret not in f"{told.value!r}{refused!r}{vars(refused)}"
        refused.close()
    with pytest.raises(ConfigError, match="written out"):
        open_store("redis://:literal@127.0.0.1/0", tmp_path)


@pytest.mark.parametrize("url", ["redis://localhost:port/0", "redis://localhost/0?socket_timeout=soon"])
def test_an_address_that_cannot_be_read_is_told(url, tmp_path):
    with pytest.raises(ConfigError, match="cannot be used"):
        open_store(url, tmp_path)

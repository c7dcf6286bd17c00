from __future__ import annotations

from pathlib import Path
from typing import Literal, get_origin

import msgspec
import pytest

from trivet.config import SECTIONS, Settings, find_root, load_settings, url_path
from trivet.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "trivet.toml").write_text(text, "utf-8")
        return tmp_path

    return write


def test_without_a_file_there_are_defaults_that_need_no_server(tmp_path):
    settings = load_settings(tmp_path, {})
    assert settings == Settings(root=tmp_path.resolve())
    assert settings.ledger.url == "sqlite:///.trivet/ledger.db"


def test_a_file_changes_what_it_names(write):
    root = write('[ledger]\nurl = "postgresql://127.0.0.1/trivet"\n[serving]\nport = 9000\n')
    settings = load_settings(root, {})
    assert settings.ledger.url == "postgresql://127.0.0.1/trivet"
    assert settings.serving.port == 9000
    assert settings.serving.host == "127.0.0.1"


def test_every_key_can_be_set_in_the_environment(tmp_path):
    for section, shape in SECTIONS.items():
        for field in msgspec.structs.fields(shape):
            text = "answer" if get_origin(field.type) is Literal else "7s" if field.type is str else "7"
            text = "0.5" if isinstance(field.default, float) else text
            settings = load_settings(tmp_path, {f"TRIVET_{section}_{field.name}".upper(): text})
            assert str(getattr(getattr(settings, section), field.name)) == text


def test_the_environment_overrides_the_file_key_by_key(write):
    root = write('[server]\nhost = "0.0.0.0"\nport = 1\n')
    settings = load_settings(root, {"TRIVET_SERVER_PORT": "2"})
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 2)


def test_settings_are_frozen(tmp_path):
    with pytest.raises(AttributeError):
        load_settings(tmp_path, {}).ledger = None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[ledger]\nulr = 'x'", r"trivet.toml: \[ledger\] has no key 'ulr'. Did you mean 'url'\?"),
        ("[serving]\nflush_evry = '2s'", "Did you mean 'flush_every'"),
        ("[serving]\nunrecordd = 'answer'", "Did you mean 'unrecorded'"),
        ("[serving]\nunrecorded = 'drop'", r"\[serving\] unrecorded is 'drop'. Choose one of: refuse, answer\."),
        ("[server]\nxyzzy = 1", "It has: host, port"),
        ("[legder]\nurl = 'x'", "no section 'legder'. Did you mean 'ledger'"),
        ("port = 3", "no section 'port'"),
        ("ledger = 'sqlite:///x'", r"Write \[ledger\] and its keys"),
        ("[[ledger]]\nurl = 'x'", r"Write \[ledger\] and its keys"),
        ("[ledger]\nurl = 3", r"\[ledger\] url = 3 does not fit. Give text in quotes\."),
        ("[server]\nport = 'http'", r"\[server\] port = 'http' does not fit. Give a whole number\."),
        ("[server]\nport = 70000", r"port = 70000 does not fit. Give a whole number of at most 65535\."),
        ("[pipelines]\nthreads = 0", r"threads = 0 does not fit. Give a whole number of at least 1\."),
        ("[monitoring]\nmax_silence = 'a day'", r"\[monitoring\] max_silence: 'a day' is not a duration"),
        ("[serving]\nflush_every = ''", r"\[serving\] flush_every"),
        ("[ledger", "cannot be read as TOML"),
        ("a = 1\na = 2", "cannot be read as TOML"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(write, text, says):
    with pytest.raises(ConfigError, match=says):
        load_settings(write(text), {})


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "trivet.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_settings(tmp_path, {})


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ({"TRIVET_SERVER_PORT": "http"}, r"The environment: \[server\] port = 'http' does not fit"),
        ({"TRIVET_LEGDER_URL": "x"}, "TRIVET_LEGDER_URL is no setting. Did you mean TRIVET_LEDGER_URL"),
        ({"TRIVET_SERVING_PROT": "1"}, "Did you mean TRIVET_SERVING_PORT"),
    ],
)
def test_a_variable_that_cannot_be_used_is_a_sentence(tmp_path, variable, says):
    with pytest.raises(ConfigError, match=says):
        load_settings(tmp_path, variable)


def test_a_section_that_is_none_is_told_before_the_environment_changes_it(write):
    with pytest.raises(ConfigError, match=r"Write \[ledger\]"):
        load_settings(write("ledger = 'x'"), {"TRIVET_LEDGER_URL": "y"})


def test_what_kubernetes_sets_for_a_service_is_left_alone(tmp_path):
    service = {
        "TRIVET_SERVER_PORT": "tcp://10.0.0.1:80",
        "TRIVET_SERVER_PORT_80_TCP": "tcp://10.0.0.1:80",
        "TRIVET_SERVER_PORT_80_TCP_ADDR": "10.0.0.1",
        "TRIVET_SERVER_SERVICE_HOST": "10.0.0.1",
        "TRIVET_SERVER_SERVICE_PORT": "80",
        "TRIVET_CI": "1",
        "PATH": "/bin",
    }
    assert load_settings(tmp_path, service) == load_settings(tmp_path, {})


def test_the_root_is_the_nearest_folder_that_says_so(tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_root(inner) == inner
    (tmp_path / ".trivet").mkdir()
    assert find_root(inner) == tmp_path
    (tmp_path / "a" / "trivet.toml").touch()
    assert find_root(inner) == tmp_path / "a"
    monkeypatch.chdir(inner)
    assert find_root(Path()) == tmp_path / "a"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///ledger.db", "/p/ledger.db"),
        ("sqlite:////var/ledger.db", "/var/ledger.db"),
        ("sqlite:///.trivet/ledger.db?synchronous=normal", "/p/.trivet/ledger.db"),
        ("file:.trivet/blobs", "/p/.trivet/blobs"),
        ("file:/data", "/data"),
        ("file:///data", "/data"),
        ("file:../shared", "/p/../shared"),
        ("lmdb:.trivet/online", "/p/.trivet/online"),
        ("lmdb:/fast/online", "/fast/online"),
        ("file:with%20space%3F", "/p/with space?"),
        ("file:dé lai", "/p/dé lai"),
    ],
)
def test_url_path(url, path):
    assert url_path(url, Path("/p")) == Path(path)


@pytest.mark.parametrize("url", ["file://data/blobs", "sqlite://ledger.db", "lmdb://host/x"])
def test_a_file_has_no_host(url):
    with pytest.raises(ConfigError, match="a file has none"):
        url_path(url, Path("/p"))


@pytest.mark.parametrize("url", ["file:", "sqlite://", "sqlite:///", "file:///", "lmdb:?x=1"])
def test_a_url_that_names_no_file(url):
    with pytest.raises(ConfigError, match="names no file"):
        url_path(url, Path("/p"))

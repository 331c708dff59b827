"""Settings are typed, their sources ordered, and a misspelt one is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Settings, SettingsError, decided, from_environment, load, merged
from storage.redis.rebuild import rows_since_us


def a_file(tmp_path, text: str):
    path = tmp_path / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_any_source_everything_has_its_default():
    assert load(None, {}) == Settings()


def test_the_file_is_over_the_defaults_the_environment_over_the_file_and_arguments_over_all(tmp_path):
    path = a_file(tmp_path, 'workers = 2\n[http]\nport = 1\nhost = "127.0.0.1"\n[spool]\nkept_s = 5\n')
    environment = {"INGEST_HTTP_PORT": "2", "INGEST_SPOOL_QUOTA_BYTES": "3", "PATH": "/bin"}
    found = load(path, environment, http={"port": 4})
    assert (found.workers, found.http.port, found.http.host) == (2, 4, "127.0.0.1")
    assert (found.spool.kept_s, found.spool.quota_bytes) == (5, 3)
    assert load(path, environment).http.port == 2 and load(path, {}).http.port == 1


def test_sections_of_two_words_and_top_level_names_are_found_in_the_environment():
    assert from_environment(
        {"INGEST_DEAD_LETTERS_QUOTA_BYTES": "7", "INGEST_DATA_DIR": "d", "INGEST_WORKERS": "3"}
    ) == {
        "dead_letters": {"quota_bytes": "7"},
        "data_dir": "d",
        "workers": "3",
    }
    assert load(None, {"INGEST_SPOOL_HIGH_MARK": "0.5", "INGEST_REDIS_LEASE_FACTOR": "3"}).spool.high_mark == 0.5


@pytest.mark.parametrize(
    "environment",
    [
        {"INGEST_HTP_PORT": "1"},
        {"INGEST_HTTP_PROT": "1"},
        {"INGEST_HTTP": "1"},
        {"INGEST_": "1"},
        {"INGEST_HTTP_PORT": "eighty"},
        {"INGEST_HTTP_PORT": "65536"},
        {"INGEST_HTTP_PORT": ""},
        {"INGEST_WORKERS": "0"},
        {"INGEST_SPOOL_HIGH_MARK": "1.1"},
        {"INGEST_SPOOL_HIGH_MARK": "0"},
        {"INGEST_CORE": "Rust"},
        {"INGEST_HTTP_BODY_MAX_BYTES": "100", "INGEST_HTTP_DECODED_MAX_BYTES": "99"},
        {"INGEST_HTTP_DECODED_MAX_BYTES": str(2**40)},
    ],
)
def test_what_is_no_setting_or_no_value_of_one_is_an_error(environment):
    with pytest.raises(SettingsError):
        load(None, environment)


@pytest.mark.parametrize(
    "text",
    ["[http]\nprot = 1", "[htp]\nport = 1", "workers = ", "workers = 1.5", "http = 1", "[http]\nport = -1", "\x00"],
)
def test_what_is_wrong_in_the_file_is_an_error_and_not_silently_a_default(tmp_path, text):
    with pytest.raises(SettingsError):
        load(a_file(tmp_path, text), {})


def test_a_file_that_is_not_there_or_not_utf8_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match=r"gateway\.toml"):
        load(tmp_path / "gateway.toml", {})
    (tmp_path / "gateway.toml").write_bytes(b"host = '\xff'")
    with pytest.raises(SettingsError):
        load(tmp_path / "gateway.toml", {})


def test_an_error_says_where_it_is():
    with pytest.raises(SettingsError, match=r"\$\.http\.port"):
        load(None, {"INGEST_HTTP_PORT": "65536"})


@pytest.mark.parametrize(
    "name, url",
    [
        ("postgres", "postgresql://a:se/cret@127.0.0.1:5432/b"),
        ("postgres", "postgresql://a:77/secret@127.0.0.1:5432/b"),
        ("postgres", "postgresql://a:77#secret@127.0.0.1:5432/b"),
        ("postgres", "mysql://a:secret@127.0.0.1/b"),
        ("postgres", "postgresql://a:secret@127.0.0.1:port/b"),
        ("postgres", "postgresql://a:secret@[::1/b"),
        ("redis", "redis://:se?cret@127.0.0.1:6379"),
        ("redis", "secret:6379"),
        ("redis", "http://:secret@127.0.0.1"),
    ],
)
def test_an_address_of_a_store_that_cannot_be_read_is_named_and_not_told(name, url):
    with pytest.raises(SettingsError) as raised:
        load(None, {f"INGEST_{name.upper()}_URL": url})
    assert f"{name}.url" in str(raised.value)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "name, url",
    [
        ("postgres", "postgres://a:se%2Fcret@127.0.0.1/b?sslmode=require"),
        ("postgres", "postgresql://a:b@[::1]:5432,127.0.0.1:5433/c"),
        ("postgres", "postgresql:///c?host=/run/postgresql&user=a@b"),
        ("redis", "rediss://:b@127.0.0.1:6379/1"),
        ("redis", "unix:///run/redis.sock"),
    ],
)
def test_every_kind_of_address_of_a_store_is_taken(name, url):
    assert getattr(load(None, {f"INGEST_{name.upper()}_URL": url}), name).url == url


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        Settings().workers = 2  # type: ignore[misc]


@given(st.dictionaries(st.text(max_size=20).map(lambda name: "INGEST_" + name), st.text(max_size=9)))
def test_no_environment_raises_anything_else(environment):
    try:
        load(None, environment)
    except SettingsError:
        pass


nested = st.dictionaries(st.sampled_from("abc"), st.integers() | st.dictionaries(st.sampled_from("xy"), st.integers()))


@given(nested, nested)
def test_merging_keeps_what_is_below_only_where_nothing_is_above(below, above):
    result = merged(below, above)
    assert result.keys() == below.keys() | above.keys()
    for key, value in result.items():
        if key not in above:
            assert value == below[key]
        elif isinstance(value, dict) and isinstance(below.get(key), dict):
            assert value == {**below[key], **above[key]}
        else:
            assert value == above[key]


def test_write_keys_are_required_where_the_stores_are_not_embedded_unless_it_is_said() -> None:
    said = {word: load(None, {"INGEST_KEYS_REQUIRED": word}) for word in ("auto", "true", "false")}
    assert [decided(one, embedded=True).keys.required for one in said.values()] == [False, True, False]
    assert [decided(one, embedded=False).keys.required for one in said.values()] == [True, True, False]


@pytest.mark.parametrize(
    "environment",
    [
        {"INGEST_STORE": "cassandra"},
        {"INGEST_SCYLLA_KEYSPACE": "Stream Verse"},
        {"INGEST_SCYLLA_KEYSPACE": ""},
        {"INGEST_SCYLLA_CONTACT_POINTS": " , "},
        {"INGEST_SCYLLA_CONSISTENCY": "ANY"},
        {"INGEST_SCYLLA_DRIVER": "scyllapy"},
        {"INGEST_SCYLLA_CONTENT_BUCKETS": "0"},
        {"INGEST_SCYLLA_INFLIGHT_MAX": "1025"},
        {"INGEST_SCYLLA_RETENTION_DAYS": "0"},
        {"INGEST_SCYLLA_CONSISTENCY": "ONE"},  # three replicas by default
        {"INGEST_SCYLLA_CONSISTENCY": "TWO", "INGEST_SCYLLA_REPLICATION": "1"},
    ],
)
def test_what_the_cql_store_cannot_be_told_is_an_error(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        load(None, environment)


def test_the_cql_store_is_reached_at_every_host_and_keeps_some_fifty_windows() -> None:
    found = load(None, {"INGEST_STORE": "scylla", "INGEST_SCYLLA_CONTACT_POINTS": "a, b,c"})
    assert (found.store, found.scylla.hosts) == ("scylla", ["a", "b", "c"])
    windows = {days: load(None, scylla={"retention_days": days}).scylla.window_days for days in (1, 45, 46, 400)}
    assert windows == {1: 1, 45: 1, 46: 2, 400: 9}


def test_a_lease_of_a_key_s_interval_is_no_longer_than_anybody_remembers_a_session():
    with pytest.raises(SettingsError, match="lease_factor"):
        load(None, {"INGEST_REDIS_LEASE_FACTOR": "3.1"})


def test_rows_in_cql_live_as_long_as_a_rebuild_of_views_reads_them() -> None:
    for memory_days, least in ((35, 36), (1, 34), (100, 101)):
        memory = {"view_memory_s": memory_days * 86_400}
        for days, is_taken in ((least, True), (least - 1, False)):
            wanted = {"store": "scylla", "scylla": {"retention_days": days}, "redis": memory}
            if is_taken:
                needed_us = load(None, {}, **wanted).scylla.retention_days * 86_400_000_000
                assert needed_us >= -rows_since_us(0, memory["view_memory_s"]) + 86_400_000_000
            else:
                with pytest.raises(SettingsError, match=f"scylla.retention_days is below {least}"):
                    load(None, {}, **wanted)
            assert load(None, {}, **{**wanted, "store": "postgres"}).store == "postgres"

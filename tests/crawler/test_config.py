from pathlib import Path
from typing import Any

import pytest

from crawler.config import FETCH_LIMITS, FIELDS, Settings, mask_url, resolve
from crawler.fetch.wire import Limits
from crawler.job import JobSpec, UsageError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> Path:
    Path(name).write_text(text)
    return Path(name)


def error(
    options: dict[str, Any] | None = None, env: dict[str, str] | None = None, **files: Path
) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(options or {}, env=env or {}, **files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_job_and_settings_share_no_key() -> None:
    assert not set(JobSpec.model_fields) & set(Settings.model_fields)


def test_the_fetch_limits_are_the_clients_own() -> None:
    mine, theirs = Settings(), Limits()
    names = {"connect_timeout": "connect", "first_byte_timeout": "first_byte"}
    names |= {"total_timeout": "total"}
    for key in FETCH_LIMITS:
        assert getattr(mine, key) == getattr(theirs, names.get(key, key)), key


class TestPrecedence:
    def test_each_source_wins_over_those_before(self) -> None:
        write("comity.toml", 'delay = 2\nmax_pages = 2\nmax_depth = 2\nscope = "domain"\n')
        job = write("job.toml", "max_pages = 4\nmax_depth = 4\n")
        env = {"COMITY_DELAY": "3", "COMITY_MAX_PAGES": "3", "COMITY_MAX_DEPTH": "3"}
        found = resolve({"max_depth": "5"}, env=env, job=job)
        spec = found.spec
        assert (spec.scope, spec.delay, spec.max_pages, spec.max_depth) == ("domain", 3.0, 4, 5)
        assert found.origins == {
            "scope": "comity.toml",
            "delay": "COMITY_DELAY",
            "max_pages": "job.toml",
            "max_depth": "--max-depth",
        }

    def test_defaults_have_no_origin(self) -> None:
        found = resolve({}, env={})
        assert (found.spec, found.origins) == (JobSpec(), {})
        assert {value.origin for value in found.values()} == {"default"}
        assert [value.key for value in found.values()] == list(FIELDS)

    def test_a_named_config_file_replaces_the_customary_one(self) -> None:
        write("comity.toml", "delay = 2\n")
        other = write("other.toml", "max_pages = 7\n")
        found = resolve({}, env={}, config=other)
        assert (found.spec.delay, found.spec.max_pages) == (1.0, 7)

    @pytest.mark.parametrize("empty", [None, "", [], ()])
    def test_an_empty_option_is_not_given(self, empty: Any) -> None:
        assert resolve({"contact": empty}, env={"COMITY_CONTACT": "me@example.org"}).spec.contact

    def test_an_empty_variable_is_not_set(self) -> None:
        assert resolve({}, env={"COMITY_MAX_PAGES": ""}).spec.max_pages is None


class TestVariables:
    def test_lists_and_headers(self) -> None:
        env = {
            "COMITY_SEEDS": "https://a.test/ https://b.test/",
            "COMITY_EXCLUDE": '["*/a b/*"]',
            "COMITY_HEADERS": "X-One: 1\nX-Two: a: b",
            "COMITY_ALLOW_PRIVATE_NETWORKS": "true",
        }
        spec = resolve({}, env=env).spec
        assert spec.seeds == ("https://a.test/", "https://b.test/")
        assert spec.exclude == ("*/a b/*",)
        assert spec.headers == {"X-One": "1", "X-Two": "a: b"}
        assert spec.allow_private_networks

    def test_headers_as_json(self) -> None:
        assert resolve({}, env={"COMITY_HEADERS": '{"A": "b"}'}).spec.headers == {"A": "b"}

    def test_delays_of_networks(self) -> None:
        write("comity.toml", 'address_delays = {"192.0.2.0/24" = "100ms", "2001:DB8::/32" = 0}')
        found = resolve({}, env={})
        assert found.settings.address_delays == {"192.0.2.0/24": 0.1, "2001:db8::/32": 0.0}
        [value] = [v for v in found.values() if v.key == "address_delays"]
        assert value.text == "192.0.2.0/24: 0.1, 2001:db8::/32: 0.0"
        env = {"COMITY_ADDRESS_DELAYS": '{"198.51.100.0/24": 2}'}
        assert resolve({}, env=env).settings.address_delays == {"198.51.100.0/24": 2.0}

    def test_bad_delays_of_networks(self) -> None:
        def said(text: str) -> str:
            return error(env={"COMITY_ADDRESS_DELAYS": text})

        start = "COMITY_ADDRESS_DELAYS: "
        assert said('{"192.0.2.1/24": 1}').startswith(f"{start}not a network: '192.0.2.1/24' (")
        assert said('{"192.0.2.0/24": 61}').startswith(f"{start}should be less than or equal to 60")
        assert said('{"192.0.2.0/24": -1}').startswith(f"{start}should be greater than or equal")
        assert said('{"192.0.2.0/24": "soon"}').startswith(f"{start}not a duration: 'soon'")

    def test_bad_json(self) -> None:
        assert error(env={"COMITY_SEEDS": "[oops"}).startswith("COMITY_SEEDS: not JSON: ")

    @pytest.mark.parametrize(
        ("name", "near"),
        [("COMITY_MAXPAGES", "COMITY_MAX_PAGES"), ("COMITY_Redis", "COMITY_REDIS")],
    )
    def test_an_unknown_one_is_named_with_the_nearest(self, name: str, near: str) -> None:
        found = error(env={name: "1"})
        assert found == f"environment: unknown key {name!r}; did you mean {near!r}?"

    @pytest.mark.parametrize(
        "name",
        ["COMITY_SERVICE_HOST", "COMITY_SERVICE_PORT_HTTP", "COMITY_PORT", "COMITY_PORT_80_TCP",
         "COMITY_PORT_80_TCP_ADDR", "COMITY_API_SERVICE_HOST"],
    )  # fmt: skip
    def test_what_kubernetes_adds_is_passed_over(self, name: str) -> None:
        assert resolve({}, env={name: "10.0.0.1"}).origins == {}


class TestMistakes:
    def test_an_unknown_key_in_the_file(self) -> None:
        write("comity.toml", "redsi = 'redis://h'\n")
        assert error() == "comity.toml: unknown key 'redsi'; did you mean 'redis'?"

    def test_a_setting_in_a_job_file(self) -> None:
        found = error(job=write("job.toml", "workers = 2\n"))
        assert found.startswith("job.toml: 'workers' is a setting, not part of a job")

    def test_a_named_config_file_must_exist(self) -> None:
        assert error(config=Path("no.toml")) == "cannot read no.toml: No such file or directory"

    def test_the_source_of_a_bad_value_is_named(self) -> None:
        write("comity.toml", "max_pages = -1\n")
        assert error().startswith("comity.toml: max_pages: should be greater")
        assert error({"max_pages": "-2"}).startswith("--max-pages: should be greater")
        assert error(env={"COMITY_MAX_PAGES": "-3"}).startswith("COMITY_MAX_PAGES: should be")

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("workers", "-1", "--workers: should be greater than or equal to 0, not '-1'"),
            ("dns_server", "nameserver", "--dns-server: not IP:PORT: 'nameserver'"),
            ("dns_server", "127.0.0.1:99999", "--dns-server: not IP:PORT"),
            ("dns_server", "127.0.0.1:0", "--dns-server: not IP:PORT"),
            ("dns_server", "1.2.3:53", "--dns-server: not IP:PORT"),
            ("redis", "http://h", "--redis: not a Redis URL: 'http://h'"),
            ("redis", "redis://", "--redis: not a Redis URL"),
            ("redis", "redis://h:port", "--redis: not a Redis URL"),
            ("redis", "redis://:secret@h:port", "--redis: not a Redis URL: 'redis://:***@h:port'"),
            ("worker_name", "a b", "--name: not a name: 'a b'"),
            ("headers", ["no colon"], "--header: not 'Name: value': 'no colon'"),
            ("domain_delay", "2m", "domain_delay: should be less than or equal to 60, not 120"),
            ("headers", ["A: 1", "a: 2"], "--header: a is given twice"),
            ("total_timeout", "10m", "lease_ttl (1m) must exceed total_timeout (10m) by 5s"),
        ],
    )
    def test_bad_values(self, key: str, value: Any, message: str) -> None:
        assert error({key: value}).startswith(message)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("9.9.9.9", "9.9.9.9:53"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[2001:DB8::1]:5353", "[2001:db8::1]:5353"),
    ],
)
def test_name_servers_are_normalised(given: str, kept: str) -> None:
    assert Settings(dns_server=given).dns_server == kept


class TestSignatures:
    KEY = "key.pem"

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("https://bot.example.org", "https://bot.example.org"),
            ("https://Bot.Example.org/", "https://bot.example.org"),
            ("https://bücher.example:443", "https://xn--bcher-kva.example"),
            ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ],
    )
    def test_the_agent_is_an_origin(self, given: str, kept: str) -> None:
        found = Settings(signing_key=self.KEY, signature_agent=given)
        assert (found.signature_agent, found.signature_form) == (kept, "string")

    @pytest.mark.parametrize(
        "text",
        ["", "bot.example.org", "http://bot.example.org", "https://", "https://h/path",
         "https://h?q", "https://u@h", "https://h:0", 'https://h"', "https://a b", "https://[x]"],
    )  # fmt: skip
    def test_and_nothing_else(self, text: str) -> None:
        write("comity.toml", f"signing_key = 'k'\nsignature_agent = '{text}'\n")
        assert error() == (
            f"comity.toml: signature_agent: not an https origin: {text!r} "
            "(write https://bot.example.org)"
        )

    def test_both_or_none(self) -> None:
        env = {"COMITY_SIGNING_KEY": self.KEY}
        assert error(env=env).startswith("signing_key needs signature_agent: ")
        env = {"COMITY_SIGNATURE_AGENT": "https://bot.example.org"}
        assert error(env=env).startswith("signature_agent needs signing_key: ")

    def test_they_are_no_part_of_a_job(self) -> None:
        found = error(job=write("job.toml", "signing_key = 'key.pem'\n"))
        assert found.startswith("job.toml: 'signing_key' is a setting, not part of a job")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h:6379/3?socket_timeout=5",
        "rediss://u:p@a:7001,b,[::1]:7003/0",
        "redis+sentinel://a,b:26380/crawl/3?sentinel_password=s",
        "rediss+sentinel://u:p@[::1]:26380/crawl",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_every_url_that_the_frontier_takes_is_taken(url: str) -> None:
    assert resolve({"redis": url}, env={}).settings.redis == url


class TestSecrets:
    @pytest.mark.parametrize(
        ("url", "masked"),
        [
            (
                "redis+sentinel://u:pw@a,b:26380/crawl?sentinel_password=x",
                "redis+sentinel://u:***@a,b:26380/crawl?sentinel_password=***",
            ),
            ("rediss://a:7001,[::1]:7002/0", "rediss://a:7001,[::1]:7002/0"),
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:secret@h", "redis://:***@h"),
            ("redis://u:se:cr@et@h/1", "redis://u:***@h/1"),
            ("unix:///s?db=1&password=secret", "unix:///s?db=1&password=***"),
        ],
    )
    def test_passwords_in_urls(self, url: str, masked: str) -> None:
        assert mask_url(url) == masked

    def test_no_secret_is_shown(self) -> None:
        options = {"redis": "redis://:secret@h", "headers": ["Authorization: secret"]}
        shown = {value.key: value.text for value in resolve(options, env={}).values()}
        assert shown["redis"] == "redis://:***@h"
        assert shown["headers"] == "Authorization: ***"

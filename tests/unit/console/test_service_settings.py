"""The settings of the service: from the file, the environment and options."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from affidavit.cli import run
from affidavit.config import AuditConfig
from affidavit.console.config import ServeConfig
from affidavit.console.settings import SETTINGS, field_of, load
from affidavit.errors import ConfigError

pytestmark = pytest.mark.requirement("R13")

FILE = """
mongodb_uri = "mongodb://127.0.0.1/wadm"
ttl_days = 30

[serve]
host = "10.0.0.7"
port = 9000
behind_proxy = ["10.0.0.5", "10.1.0.0/16"]
public_url = "https://audit.example.org"
oidc_issuer = "https://login.example.org"
oidc_client_id = "affidavit"
oidc_secret = "of the file"
oidc_host = "keys.example.org, more.example.org"
oidc_departments_claim = "department"
max_body_bytes = "32MB"
request_timeout_s = 20
session_idle_s = 600
language = "es"
state_dir = "/srv/affidavit"
schedules = false

[serve.oidc_role]
"audit team, all" = "auditor"
platform = "admin"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with settings of both, in force."""
    path = tmp_path / "audit.toml"
    path.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("AFFIDAVIT_CONFIG", str(path))
    return path


def test_each_field_has_a_setting_and_the_same_default() -> None:
    """None is forgotten, and none is of nothing."""
    named = {field_of(name) for name in SETTINGS}
    assert named == {each.name for each in fields(ServeConfig)} - {"sources"}
    for name, setting in SETTINGS.items():
        assert setting.default == getattr(ServeConfig(), field_of(name)), name


def test_the_table_of_the_file_is_read(file: Path) -> None:
    """Each in its own kind; the log's settings stay the log's."""
    held = load()
    assert (held.host, held.port, held.language) == ("10.0.0.7", 9000, "es")
    assert held.behind_proxy == ("10.0.0.5", "10.1.0.0/16")
    assert held.oidc_hosts == ("keys.example.org", "more.example.org")
    assert held.oidc_roles == (("audit team, all", "auditor"), ("platform", "admin"))
    assert held.max_body_bytes == 32 * 1024 * 1024
    assert (held.request_timeout_s, held.session_idle_s, held.schedules) == (20, 600, False)
    assert held.state_dir == Path("/srv/affidavit")
    assert held.oidc_client_secret == "of the file"
    assert held.sources["port"] == "audit.toml"
    assert AuditConfig.load().ttl_days == 30


def test_an_option_wins_over_the_environment_and_that_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each says where it is from."""
    monkeypatch.setenv("AFFIDAVIT_SERVE_PORT", "9001")
    monkeypatch.setenv("AFFIDAVIT_SERVE_LANGUAGE", "en")
    monkeypatch.setenv("AFFIDAVIT_SERVE_SCHEDULES", "yes")
    monkeypatch.setenv("AFFIDAVIT_SERVE_BEHIND_PROXY", "10.0.0.9")
    monkeypatch.setenv("AFFIDAVIT_SERVE_OIDC_ROLE", '{"staff": "viewer"}')
    monkeypatch.setenv("AFFIDAVIT_SERVE_OIDC_SECRET", "of the environment")
    held = load(port=9002, host=None)
    assert (held.port, held.language, held.schedules) == (9002, "en", True)
    assert held.behind_proxy == ("10.0.0.9",)
    assert held.oidc_roles == (("staff", "viewer"),)
    assert held.oidc_client_secret == "of the environment"
    assert held.host == "10.0.0.7"
    assert (held.sources["port"], held.sources["host"]) == ("argument", "audit.toml")
    assert held.sources["language"] == "AFFIDAVIT_SERVE_LANGUAGE"
    assert held.sources["oidc_client_secret"] == "AFFIDAVIT_SERVE_OIDC_SECRET"
    assert "of the environment" not in repr(held)
    assert AuditConfig.load().ttl_days == 30, "the log does not mind"


def test_the_example_of_the_page_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/how-to/console.md shows can be used as it stands."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "console.md"
    [example] = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "affidavit.toml").write_text(example, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load().port == 8443


def test_the_command_shows_the_settings_of_the_service(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside those of the log, without secrets."""
    assert run(["config", "--json"]) == 0
    out = capsys.readouterr().out
    assert "of the file" not in out
    told = {each["name"]: each for each in json.loads(out)["serve"]}
    assert (told["port"]["value"], told["port"]["source"]) == (9000, "audit.toml")
    assert told["oidc_secret"]["value"] == "***"
    assert run(["config"]) == 0
    assert "serve.port" in capsys.readouterr().out


def test_without_a_file_all_are_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked for."""
    monkeypatch.chdir(tmp_path)
    assert load() == ServeConfig()
    assert load().sources == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serve]\nprot = 1", "serve.port"),
        ("[serve]\nport = 'x'", "serve.port="),
        ("[serve]\nport = 70000", "at most 65535"),
        ("[serve]\nbehind_proxy = [1]", "a list of texts"),
        ("[serve]\nbehind_proxy = ['0.0.0.0/0']", "behind-proxy"),
        ("[serve]\nlanguage = 'fr'", "'en', 'es'"),
        ("[serve]\nschedules = 'no'", "True or False"),
        ("[serve]\nhost = '0.0.0.0'", "without TLS"),
        ("[serve.oidc_role]\nstaff = 'viewer'", "oidc_issuer"),
        ("[serve]\nmax_body_bytes = 0", "at least 1"),
        ("serve = 1", r"\[serve\]"),
    ],
)
def test_what_can_not_be_is_said_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """The cause and what to write."""
    (tmp_path / "affidavit.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        load()


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("AFFIDAVIT_SERVE_PROT", "1", "AFFIDAVIT_SERVE_PORT"),
        ("AFFIDAVIT_SERVE_XYZZY", "1", "There are"),
        ("AFFIDAVIT_SERVE_PORT", "many", "AFFIDAVIT_SERVE_PORT="),
        ("AFFIDAVIT_SERVE_OPEN_METRICS", "perhaps", "true or false"),
    ],
)
def test_a_variable_that_can_not_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str
) -> None:
    """A mistyped one is not silently ignored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=said):
        load()


@pytest.mark.parametrize("beyond", [{"behind_proxy": ("127.0.0.1",)}, {"host": "10.0.0.7"}])
def test_metrics_without_a_token_are_for_this_machine(beyond: dict[str, object]) -> None:
    """A proxy makes everybody look as if they were on it."""
    tls = {"tls_cert": Path("a"), "tls_key": Path("b")} if "host" in beyond else {}
    with pytest.raises(ConfigError, match="open_metrics"):
        ServeConfig(open_metrics=True, **beyond, **tls)  # type: ignore[arg-type]
    assert ServeConfig(open_metrics=True).open_metrics


def test_tokens_and_settings_need_no_package_of_the_service() -> None:
    """`affidavit tokens` and `affidavit config` work where the extra is not installed."""
    script = """
import sys
for name in ("fastapi", "starlette", "jinja2", "joserfc", "uvicorn", "python_multipart", "anyio"):
    sys.modules[name] = None
import affidavit.console.settings, affidavit.console.auth.granting, affidavit.cli
from affidavit.console.auth.sessions import Sessions
assert affidavit.cli.run(["config", "--json"]) == 0
assert affidavit.cli.run(["tokens", "create", "--help"]) == 0
away = "mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=50"
assert affidavit.cli.run(["tokens", "list", "--uri", away]) == 3
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

"""The command ``affidavit redact``: try rules, make keys, open what is sealed."""

from __future__ import annotations

import base64
import io
import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.cli import run
from affidavit.pipeline.redact import PRESETS, Policy, Redactor
from affidavit.pipeline.redact.kinds import KINDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R21", "R6")

RECORD = "0123456789abcdef01234567"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run the command with an input, in an empty directory; give code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        code = run(["redact", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run_it


def test_json_in_and_out(say: Any) -> None:
    """One JSON string a line gives one object a line."""
    code, out, _ = say("--json", given='"to ana@example.com"\n\n"line\\nbreak"\n')
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert first == {
        "text": "to [email]",
        "redactions": [{"kind": "email", "count": 1, "path": "text", "action": "remove"}],
    }
    assert second == {"text": "line\nbreak", "redactions": []}


@pytest.mark.parametrize("line", ["not json", "3", '["a"]'])
def test_what_is_no_string_is_refused_by_its_line(line: str, say: Any) -> None:
    """Without repeating it."""
    code, _, err = say("--json", given=f'"fine"\n{line}\n')
    assert (code, "Line 2" in err) == (2, True)


def test_plain_lines(say: Any) -> None:
    """Without --json, each line is a text; control characters do not reach the terminal."""
    assert say(given="to ana@example.com\n\x1b[31mred\n")[1] == "to [email]\n\\x1b[31mred\n"


@pytest.mark.parametrize("preset", list(PRESETS))
def test_each_preset_is_explained(preset: str, say: Any) -> None:
    """Every kind with its action, and every preset with its purpose."""
    code, out, _ = say("--explain", "--preset", preset)
    assert code == 0
    assert f"* {preset}: " in out
    assert all(kind in out for kind in KINDS)
    told = json.loads(say("--explain", "--json", "--preset", preset)[1])
    assert told["actions"] == {
        kind: str(action) for kind, action in PRESETS[preset].actions.items()
    }


def test_the_settings_in_force_are_explained(say: Any, tmp_path: Path) -> None:
    """Own patterns and rules for fields, too."""
    (tmp_path / "affidavit.toml").write_text(
        '[redaction.patterns]\nstaff = "EMP-[0-9]{6}"\n'
        '[redaction.fields]\n"details.raw" = "withhold"\n'
    )
    _, out, _ = say("--explain")
    assert "staff" in out
    assert "details.raw: withhold" in out
    assert say(given="EMP-123456\n")[1] == "[staff]\n"


def test_an_unknown_preset_is_refused(say: Any) -> None:
    """With the ones there are."""
    code, _, err = say("--preset", "nope")
    assert (code, "'trading'" in err) == (2, True)


def test_a_key_is_made_once_and_for_its_owner(say: Any, tmp_path: Path) -> None:
    """Nobody else may read it, and an old one is never overwritten."""
    assert say("key", "redaction.key")[0] == 0
    path = tmp_path / "redaction.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    code, _, err = say("key", "redaction.key")
    assert (code, "cannot be made" in err) == (2, True)
    assert path.read_bytes() == before


def test_the_token_of_a_value_is_the_one_that_is_stored(
    say: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one can search for it."""
    say("key", "redaction.key")
    monkeypatch.setenv("AFFIDAVIT_REDACTION_KEY", "redaction.key")
    monkeypatch.setenv("AFFIDAVIT_REDACTION", '{"kinds": {"email": "pseudonymize"}}')
    stored = say(given="ana@example.com\n")[1]
    assert say("token", "email", "ANA@example.com")[1] == stored
    key = (tmp_path / "redaction.key").read_bytes().strip()
    document = {"user_id": "ana"}
    Redactor(Policy.read("default", identity="keyed", key=key)).redact(document)
    assert say("token", "user_id", "ana")[1].strip() == document["user_id"]
    code, _, err = say("token", "shoe_size", "42")
    assert (code, "user_id" in err) == (2, True)


def test_a_token_needs_the_key(say: Any) -> None:
    """And says where it comes from."""
    code, _, err = say("token", "email", "ana@example.com")
    assert (code, "redaction_key" in err) == (2, True)


@pytest.mark.parametrize("extended", [False, True])
def test_the_private_half_opens_what_was_sealed(extended: bool, say: Any) -> None:
    """From records as JSON, plain or as mongoexport writes them; others are passed over."""
    code, out, _ = say("keypair", "compliance.private")
    assert code == 0
    public = bytes.fromhex(out.split()[1])
    document: dict[str, Any] = {"note": "to ana@example.com"}
    redactor = Redactor(Policy.read({"kinds": {"email": "seal"}}, seal_to=public))
    box = redactor.redact(document, bytes.fromhex(RECORD))
    assert box is not None
    text = base64.b64encode(box).decode()
    record: dict[str, Any] = {"_id": RECORD, "sealed": text}
    if extended:
        record = {"_id": {"$oid": RECORD}, "sealed": {"$binary": {"base64": text, "subType": "00"}}}
    given = f"{json.dumps(record)}\n{json.dumps({'_id': RECORD})}\n"
    code, out, _ = say("open", "--private-key", "compliance.private", given=given)
    assert code == 0
    assert json.loads(out) == {"_id": RECORD, "originals": {"1": "ana@example.com"}}


def test_what_does_not_open_is_named(say: Any) -> None:
    """The exit code says that something is wrong, and the rest is read."""
    say("keypair", "one.private")
    public = bytes.fromhex(say("keypair", "two.private")[1].split()[1])
    redactor = Redactor(Policy.read({"kinds": {"email": "seal"}}, seal_to=public))
    box = redactor.redact({"n": "ana@example.com"}, bytes.fromhex(RECORD))
    record = {"_id": RECORD, "sealed": base64.b64encode(box or b"").decode()}
    code, out, err = say("open", "--private-key", "one.private", given=json.dumps(record))
    assert (code, out) == (1, "")
    assert "Use the other key" in err
    assert say("open", "--private-key", "no-such-file")[0] == 2


@pytest.mark.parametrize("digits", ["ab" * 16, "ab" * 33])
def test_a_private_key_of_another_size_is_refused(digits: str, say: Any, tmp_path: Path) -> None:
    """Before any record is read; the file is named."""
    (tmp_path / "k").write_text(digits)
    code, _, err = say("open", "--private-key", "k")
    assert (code, "32" in err, "k holds" in err) == (2, True, True)


def test_an_input_without_sealed_records_is_told(say: Any) -> None:
    """Nothing would be printed otherwise, as if all was well."""
    say("keypair", "k")
    code, out, err = say("open", "--private-key", "k", given='{"_id": "x"}\n')
    assert (code, out, "nothing to open" in err) == (0, "", True)


def test_a_sealed_record_without_its_id_is_told(say: Any) -> None:
    """The id is part of the seal."""
    say("keypair", "k")
    box = base64.b64encode(b"\1" * 80).decode()
    code, _, err = say("open", "--private-key", "k", given=f'{{"sealed": "{box}"}}\n')
    assert (code, "_id" in err) == (1, True)


def test_rules_of_a_wrong_type_in_a_file_are_a_usage_error(say: Any, tmp_path: Path) -> None:
    """Not a fault of the program."""
    (tmp_path / "affidavit.toml").write_text('[redaction]\nkinds = ["x"]\n')
    code, _, err = say("--explain")
    assert (code, "redaction.kinds must be a table" in err) == (2, True)

#!/usr/bin/env python3
"""Verify evidence of an Affidavit log offline: a bundle of one call, or an export of a whole log.

    python3 affidavit_verify.py PATH [--vkey KEY] [--checkpoint FILE]

One file, to be read by who relies on it; needs Python 3.9 and the package ``cryptography``.
Exit codes: 0 everything holds, 1 something does not, 2 it could not be checked, 3 it holds, and
something is gone that a reason given after your checkpoint may be about. Without --vkey the key is
the one found at PATH: then compare the key that is printed with the log's as you know it.
It names the reasons that the ledger gives for what is gone; whether they are about just that, and
whether retention allowed it, only `affidavit verify` judges. Formats: RFC 6962, c2sp.org, RFC 8785.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from decimal import Decimal
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_INT = 2**53 - 1


class Wrong(Exception):
    """The evidence does not hold."""


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def b64(text):
    data = base64.b64decode(text)
    if base64.b64encode(data).decode() != text:
        raise Wrong("something is no base64, or written in an unusual way")
    return data


def b64_of(value):
    return b64(tagged(value, "b") or "")


def signed(public, data, signature):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class Key:
    def __init__(self, vkey):
        parts = vkey.strip().split("+", 2)
        self.text, self.name, material = vkey.strip(), parts[0], b64(parts[-1])
        self.id, self.public = sha(self.name.encode(), b"\n", material)[:4], material[1:]
        whole = [self.name, self.id.hex(), base64.b64encode(b"\x01" + self.public).decode()]
        if parts != whole or len(self.public) != 32:
            raise Wrong("this is no vkey of an Ed25519 key: name+1234abcd+base64")


def signed_text(note, *keys):
    """The text of a signed note, if one of these keys signed it."""
    text, mark, lines = note.rpartition("\n\n")
    for parts in (line.split(" ") for line in lines.splitlines() if mark):
        for key in keys if len(parts) == 3 and parts[0] == "\u2014" else ():
            blob = b64(parts[2]) if parts[1] == key.name else b""
            if blob[:4] == key.id and signed(key.public, f"{text}\n".encode(), blob[4:]):
                return f"{text}\n"
    raise Wrong(f"not signed by {keys[-1].name}+{keys[-1].id.hex()}")


def checkpoint(note, *keys):
    """Size and root of a checkpoint that one of these keys, all of one log, has signed."""
    lines = signed_text(note, *keys).split("\n")
    if len(lines) != 4 or lines[0] != keys[0].name or not re.fullmatch("0|[1-9][0-9]*", lines[1]):
        raise Wrong("the checkpoint has another form, or is another log's")
    return int(lines[1]), b64(lines[2])


class Tree:  # keeps the roots of its complete subtrees
    def __init__(self):
        self.size, self.peaks = 0, []

    def add(self, leaf):
        self.size += 1
        for _ in range((self.size & -self.size).bit_length() - 1):
            leaf = sha(b"\x01", self.peaks.pop(), leaf)
        self.peaks.append(leaf)

    def root(self):
        value = self.peaks[-1] if self.peaks else sha()
        for left in reversed(self.peaks[:-1]):
            value = sha(b"\x01", left, value)
        return value


def root_of(leaf, index, size, hashes):  # to which an inclusion proof leads (RFC 9162, 2.1.3)
    inner = (index ^ (size - 1)).bit_length()
    if not 0 <= index < size or len(hashes) != inner + bin(index >> inner).count("1"):  # noqa: FURB161
        raise Wrong("the proof is for a leaf that the tree does not have, or has another length")
    for level, value in enumerate(hashes):
        left = level >= inner or index >> level & 1
        leaf = sha(b"\x01", value, leaf) if left else sha(b"\x01", leaf, value)
    return leaf


# A record is written as tagged JSON, which is already the form that is hashed; only nulls go.
TABLES = (
    "writer=w event_type=type call_id=call status=status provider=provider model=model "
    "finish_reason=finish environment=env service=service price_book=book cost_status=cost_status",
    "seq=s schema_version=schema input_tokens=in output_tokens=out cached_tokens=cached "
    "reasoning_tokens=reasoning",
    "user_id=subject session_id=subject conversation_id=subject department=subject tenant=subject "
    "client_info=client error_type=error error_message=error redactions=findings odd=findings "
    "truncated=findings details=details actor=actor sealed=sealed",
)
TEXTS, NUMBERS, GROUPED = (dict(pair.split("=") for pair in text.split()) for text in TABLES)
REQUEST = (
    "endpoint files input message message_length messages model operation parameters provider "
    "request_count requests server_address stream tools"
).split()
RESPONSE = (
    "body body_bytes cost_usd finish_reasons http_status processing_time_ms provider_used "
    "reasoning refusal request_id response_id response_length retries service_tier stream "
    "system_fingerprint text tokens_used tool_calls usage_estimated usage_raw"
).split()


def encode(value):  # RFC 8785
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def without_nulls(value):
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


def clear_text(value):
    plain = isinstance(value, str) and (value[:1] != "~" or value[:2] == "~~")
    value = value[1:] if plain and value[:1] == "~" else value
    return value if plain and len(value) <= 512 else None


def clear_number(value):
    return value if type(value) is int and abs(value) <= MAX_INT else None


def tagged(value, tag):
    return value[2:] if isinstance(value, str) and value.startswith("~" + tag) else None


def clear_time(value):
    said = tagged(value, "t")
    return None if said is None or abs(int(said)) > MAX_INT else int(said)


def nano(value):
    """An amount with exactly nine decimals, as whole nano-dollars."""
    sign, digits, exponent = Decimal(tagged(value, "d") or "NaN").as_tuple()
    number = int("".join(map(str, digits)) or 0) if exponent == -9 else MAX_INT + 1
    known = number <= MAX_INT and (number or not sign)
    return (-number if sign else number) if known else None


def micros(value):
    """Milliseconds as whole microseconds, where that says exactly the same."""
    said = tagged(value, "f")
    if not said or said[0] not in "0123456789" or float(said) >= MAX_INT / 1000:
        return None
    us = round(float(said) * 1000)
    return us if us / 1000 == float(said) else None


CLEAR = {
    "_id": ("id", lambda v: tagged(v, "o")), "timestamp": ("t", clear_time),
    "success": ("success", lambda v: v if isinstance(v, bool) else None),
    "time_to_first_token_ms": ("ttft_us", micros),
    **{name: (shown, clear_text) for name, shown in TEXTS.items()},
    **{name: (shown, clear_number) for name, shown in NUMBERS.items()},
}  # fmt: skip
RESPONSE_CLEAR = {
    "tokens_used": ("used", clear_number), "provider_used": ("by", clear_text),
    "cost_usd": ("cost_nano", nano), "processing_time_ms": ("us", micros),
}  # fmt: skip


def entry_of(record, collection):
    """The entry that was hashed of a record, and its groups of fields; (None, {}) if unproved."""
    clear, groups = {"v": 1, "col": collection}, {}

    def put(name, value, table, group):
        said = table[name][1](value) if name in table else None
        if said is not None:
            clear[table[name][0]] = said
        else:
            groups.setdefault(group, {})[name] = value

    for name, value in without_nulls(record).items():
        if name in ("salt", "salts", "erased"):
            continue
        if name == "request_data" and isinstance(value, dict) and value:
            for key, item in value.items():
                put(key, item, {}, "request" if key in REQUEST else "request_fields")
        elif name == "response_data" and isinstance(value, dict) and value:
            for key, item in value.items():
                own = "response" if key in RESPONSE else "response_fields"
                put(key, item, RESPONSE_CLEAR, own)
        else:
            put(name, value, CLEAR, GROUPED.get(name, "other"))
    seed = tagged(record.get("salt"), "b")
    if seed is not None:
        salts = {g: hmac.new(b64(seed), g.encode(), "sha256").digest() for g in groups}
    elif "erased" in record:
        salts = {group: b64_of(salt) for group, salt in (record.get("salts") or {}).items()}
    else:
        return None, groups
    if salts.keys() != groups.keys():
        raise Wrong("the salts of a record are not those of its groups")
    clear["c"] = {g: sha(salts[g], encode(value)).hex() for g, value in groups.items()}
    for group, value in (record.get("erased") or {}).items() if seed is None else ():
        clear["c"][group] = b64_of(value).hex()
    return encode(clear), groups


def verify_bundle(path, pinned, saved):
    key = pinned or Key((path / "log.vkey").read_text(encoding="utf-8"))
    older = checkpoint(saved, key) if saved else None
    about = json.loads((path / "call.json").read_text(encoding="utf-8"))
    there = {f"records/{each.name}" for each in path.glob("records/[!.]*")}
    if not there or there != {row["folder"] for row in about["records"]}:
        raise Wrong("the folders in records/ are not those that call.json names")
    for row in about["records"]:
        folder = path / row["folder"]
        entry = (folder / "entry.json").read_bytes()
        record = json.loads((folder / "record.json").read_bytes())
        made, groups = entry_of(record, row["collection"])
        if made != entry:
            raise Wrong(f"{row['folder']}/record.json is not the record of entry.json")
        for each in folder.glob("groups/[!.]*"):
            if each.suffix not in (".json", ".salt") or each.stem not in groups:
                raise Wrong(f"{row['folder']}/groups/{each.name} is no part of the record")
        for group in groups:
            opened = folder / "groups" / group
            parts = [opened.with_suffix(end).read_bytes() for end in (".salt", ".json")]
            if len(parts[0]) != 32 or sha(*parts).hex() != json.loads(entry)["c"].get(group):
                raise Wrong(f"{row['folder']}/groups/{group}.json is not what was recorded")
        head, _, note = (folder / "proof.tlog-proof").read_text(encoding="utf-8").partition("\n\n")
        lines = head.split("\n")
        if lines[0] != "c2sp.org/tlog-proof@v1" or lines[1][:6] != "index ":
            raise Wrong(f"{row['folder']}/proof.tlog-proof is no proof")
        (size, root), hashes = checkpoint(note, key), [b64(line) for line in lines[2:]]
        if root_of(sha(b"\x00", entry), int(lines[1][6:]), size, hashes) != root:
            raise Wrong(f"{row['folder']}: the record is not in the log")
        if older and older[0] == size and older[1] != root:
            raise Wrong("the log was rewritten since your checkpoint was saved")
        print(f"holds   {row['folder']}: leaf {lines[1][6:]} of {size}")
    for row in about.get("left_out", []):
        print(f"without proof: {row['event_type']} {row['id']}: {row['why']}")
    if saved:
        print("note: a bundle cannot show that the log grew from your checkpoint; an export can.")
    return [key], 0


def lines_of(path):  # where each line begins, and what it says
    at = 0
    with path.open("rb") as file:
        for line in file:
            yield at, json.loads(line)
            at += len(line)


def load_records(path):  # where each record's line begins, by writer and number
    places = {}
    for name in ("records", "ledger"):
        for at, record in lines_of(path / f"{name}.jsonl"):
            key = (record.get("writer"), record.get("seq"))
            places.setdefault(key if isinstance(key[1], int) else (name, at), []).append((name, at))
    return places


def batch_leaves(batch):
    """The leaves of a batch, if its writer's signature over them holds."""
    w, s0, n = batch["w"], batch["s0"], batch["n"]
    h, t, k, prev = (b64_of(batch[name]) for name in ("h", "t", "k", "prev"))
    said = {"v": 1, "w": w, "s0": s0, "n": n, "prev": prev.hex()}
    said.update(h=sha(h).hex(), t=sha(t).hex(), k=sha(k).hex())
    said.update({"rebuilt": True} if batch["made"] != "writer" else {})
    if len(h) != 32 * n or not signed(b64_of(batch["key"]), encode(said), b64_of(batch["sig"])):
        raise Wrong(f"the leaf batch {batch['_id']} is not signed by its key")
    return [h[at : at + 32] for at in range(0, len(h), 32)], k


def reason(record, kept):
    """What a ledger record gives as a reason for what is gone or erased; None for others."""
    kind, details = record.get("event_type"), record.get("details") or {}
    if kind == "setup":
        kept.append(details.get("ttl_s"))
        return f"records are kept for {kept[-1]} s" if kept[-2:-1] != kept[-1:] else None
    about = {"spool_adopted": "lost_seqs", "dead_letter": "seqs", "erasure": "records"}.get(kind)
    return kind if about and (details.get(about) or details.get("refused_seqs")) else None


def verify_export(path, pinned, saved):
    places = load_records(path)
    batches = {batch["_id"]: batch for _, batch in lines_of(path / "leaf_batches.jsonl")}
    files = {name: (path / f"{name}.jsonl").open("rb") for name in ("records", "ledger")}
    # An export begins with the log's first key; the pinned one may have come later.
    keys = [Key(json.loads((path / "identity.json").read_bytes())["vkey"])]
    size, root = (int(saved.split("\n")[1]), b64(saved.split("\n")[2])) if saved else (2**62, b"")
    tree, signers, found, gone, erased, reasons, kept = Tree(), set(), 0, 0, 0, [], []

    def add(leaf):
        tree.add(leaf)
        if tree.size == size and tree.root() != root:
            raise Wrong(f"the first {tree.size} leaves are not those of your checkpoint")

    for number, (_, seal) in enumerate(lines_of(path / "seals.jsonl")):
        if seal["_id"] != number:
            raise Wrong(f"seal {number} is missing")
        for item in seal["items"]:
            if "gap" in item:
                gap = {"v": 1, "gap": item["gap"], "s": item["s0"], "n": item["n"], "t": item["t"]}
                add(sha(b"\x00", encode(gap)))
                continue
            batch = batches.get(item["b"])
            if batch is None:
                raise Wrong(f"the leaf batch {item['b']} is missing")
            leaves, classes = batch_leaves(batch)
            for at in range(item.get("from", 0), item.get("from", 0) + item["n"]):
                add(leaves[at])
                held = places.pop((batch["w"], batch["s0"] + at), [])
                called = f"number {batch['s0'] + at} of {batch['w']}"
                if len(held) > 1 or (classes[at] and not held):
                    raise Wrong(f"{called} is {'there twice' if held else 'missing in the ledger'}")
                for name, offset in held:
                    files[name].seek(offset)
                    record = json.loads(files[name].readline())
                    entry, _ = entry_of(record, name)
                    if entry is None or sha(b"\x00", entry) != leaves[at]:
                        raise Wrong(f"{called} in {name} was altered")
                    erased += "erased" in record
                    if name == "ledger" and (said := reason(record, kept)):
                        reasons.append((tree.size - 1, f"{said}, says {batch['w']}"))
                found, gone = found + len(held), gone + 1 - len(held)
        if checkpoint(seal["cp"], keys[-1]) != (tree.size, tree.root()):
            raise Wrong(f"the leaves of seal {number} do not lead to its signed root")
        signers.add(keys[-1].text)
        if "key" in seal:  # the next key: the one before and the new one both signed for it
            keys.append(Key(seal["key"]["vkey"]))
            said = [signed_text(seal["key"]["note"], each) for each in keys[-2:]]
            if said[0] != said[1] or keys[-1].text not in said[0].split("\n"):
                raise Wrong(f"seal {number} changes the log's key without a right to")
    if pinned and pinned.text not in signers:
        raise Wrong(f"{pinned.name}+{pinned.id.hex()} has signed no checkpoint of this log")
    if saved and checkpoint(saved, *keys)[0] > tree.size:
        raise Wrong(f"the log ends at {tree.size} leaves, your checkpoint has {size}")
    new = bool(gone or erased) and any(index >= size for index, _ in reasons)
    lacks = [f"{gone} records missing"] * bool(gone) + [f"{erased} erased"] * bool(erased)
    text = f", with {' and '.join(lacks)} for reasons the log's owner gave" * bool(lacks)
    print(f"{'NOT CONFIRMED: complete' if new else 'Complete'}{text}.")
    for index, said in reasons if lacks else ():  # whether about these, `affidavit verify` judges
        print(f"reason  {said} [leaf {index}]{', AFTER your checkpoint' * (index >= size)}")
    print(f"holds   {tree.size} leaves, {found} records under their leaves")
    print(f"without a leaf: {len(places)} records (not sealed yet, or another logger's)")
    print(f"checkpoint: {tree.size} leaves, root {base64.b64encode(tree.root()).decode()}")
    return keys, 3 if new else 0


def main(arguments):
    parser = argparse.ArgumentParser(description="Verify a bundle or an export, offline.")
    parser.add_argument("path", type=Path, help="the folder")
    parser.add_argument("--vkey", help="the log's public key, as you know it")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint that you saved before")
    given = parser.parse_args(arguments)
    try:
        key = Key(given.vkey) if given.vkey else None
        saved = given.checkpoint.read_text(encoding="utf-8") if given.checkpoint else None
        is_bundle = (given.path / "call.json").exists()
        keys, code = (verify_bundle if is_bundle else verify_export)(given.path, key, saved)
    except Wrong as error:
        print(f"WRONG   {error}")
        return 1
    except (OSError, LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
        print(f"This cannot be checked ({type(error).__name__}: {str(error)[:200]}).")
        return 2
    print(*(f"key     {each.text}" for each in keys), sep="\n")
    if not given.vkey:
        print("        It was found beside the evidence. Compare it with the key as you know it.")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

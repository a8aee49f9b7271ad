#!/bin/sh
# Checks one bundle with nothing but a shell and openssl 3. Usage, inside the bundle:
#   sh check.sh "THE KEY THAT YOU WERE GIVEN"
#
# For each record: every disclosed part opens its commitment in entry.json, the entry is a leaf of
# the log whose checkpoint is in the proof, and that checkpoint is signed by the key in log.vkey.
# Whether log.vkey is the right key, nobody can tell from the bundle: without a key it is printed, to
# be compared. A script that came with the bundle may have been changed with it: read it, or take it
# from the project, and run it inside the bundle.
set -eu
[ -d records ] || cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

wrong() { echo "WRONG  $1"; exit 1; }
hash() { openssl dgst -sha256 -binary; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
plain() { openssl base64 -d -A; }

vkey=$(head -n 1 log.vkey)
name=${vkey%%+*}
# 32 bytes of public key after one byte that says Ed25519, in the frame that openssl reads.
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'
  printf '%s' "${vkey#*+*+}" | plain | tail -c 32; } >"$work/key.der"
echo "key    $vkey"
if [ $# -gt 0 ] && [ "$1" != "$vkey" ]; then
    wrong "log.vkey is not the key that you gave: the bundle proves nothing"
fi
# What stands in clear in an entry; a quotation mark inside a text is written with a backslash.
said() { sed -n 's/.*[,{]"'"$1"'":"\{0,1\}\([^",]*\).*/\1/p' "$2"; }

# Only plain numbers may come near arithmetic: a shell would run what it finds in others.
number() { case $1 in '' | *[!0-9]* | 0?* | ????????????????*) return 1 ;; esac; }

for folder in records/*/; do
    entry=${folder}entry.json
    proof=${folder}proof.tlog-proof
    [ -f "$entry" ] && [ -f "$proof" ] || wrong "$folder holds no record with a proof"
    for group in "$folder"groups/*; do
        [ -e "$group" ] || continue
        part=$(basename "$group" .json)
        case $group in
            *.json) ;;
            *.salt) [ -e "${group%.salt}.json" ] && continue; wrong "$group has no .json" ;;
            *) wrong "$group is no part of a record" ;;
        esac
        salt=${group%.json}.salt
        # Of another length, it could hold the beginning of what is to be shown.
        [ -f "$salt" ] && [ "$(wc -c <"$salt")" -eq 32 ] || wrong "$salt is no salt of 32 bytes"
        made=$(cat "$salt" "$group" | hash | hex)
        grep -qF "\"$part\":\"$made\"" "$entry" || wrong "$group is not what was recorded"
    done
    for part in $(sed -n 's/.*[,{]"c":{\([^}]*\)}.*/\1/p' "$entry" | tr ',' '\n' | cut -d '"' -f 2); do
        [ -e "${folder}groups/$part.json" ] ||
            echo "absent ${folder}groups/$part.json: recorded, and erased or held back"
    done

    { printf '\000'; cat "$entry"; } | hash >"$work/node"
    sed '1,/^$/d' "$proof" >"$work/note"
    sed '/^$/,$d' "$work/note" >"$work/text"
    sed -n "s/^— $(printf '%s' "$name" | sed 's,[/.],\\&,g') //p" "$work/note" | head -n 1 |
        plain | tail -c 64 >"$work/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/text" \
        -sigfile "$work/signature" >/dev/null || wrong "the checkpoint is not signed by this key"

    at=$(sed -n '2s/^index //p' "$proof")
    size=$(sed -n 2p "$work/text")
    { number "$at" && number "$size" && [ "$at" -lt "$size" ]; } || wrong "$proof is no proof"
    [ "$(sed -n 1p "$work/text")" = "$name" ] || wrong "$proof is of another log"
    last=$((size - 1))
    for sibling in $(sed -n '3,/^$/p' "$proof"); do
        printf '%s' "$sibling" | plain >"$work/sibling"
        if [ $((at % 2)) -eq 1 ] || [ "$at" -eq "$last" ]; then
            { printf '\001'; cat "$work/sibling" "$work/node"; } | hash >"$work/next"
            while [ $((at % 2)) -eq 0 ] && [ "$at" -ne 0 ]; do at=$((at / 2)); last=$((last / 2)); done
        else
            { printf '\001'; cat "$work/node" "$work/sibling"; } | hash >"$work/next"
        fi
        mv "$work/next" "$work/node"
        at=$((at / 2)); last=$((last / 2))
    done
    sed -n 3p "$work/text" | plain >"$work/root"
    cmp -s "$work/node" "$work/root" && [ "$last" -eq 0 ] || wrong "$entry is not in the log"
    ms=$(said t "$entry")
    when=$(date -u -d "@${ms%???}" '+%Y-%m-%d %H:%M:%S UTC' 2>/dev/null || echo "$ms ms since 1970")
    echo "right  $folder $(said type "$entry") of $when, call $(said call "$entry")"
done
[ $# -gt 0 ] || echo "Compare the key above with the one that you were given, on another way."

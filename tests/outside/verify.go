// Verifies what Affidavit writes with golang.org/x/mod/sumdb, which knows nothing of Affidavit.
//
//	verify record VKEY ENTRY PROOF       the entry's leaf is in the log, at the proof's checkpoint
//	verify growth VKEY OLD NEW PROOF     the log of checkpoint NEW begins with that of OLD
//	verify sign KEY TEXT                 signs a text with a private key, and prints the note
//
// All are names of files; the last one of growth holds a base64 hash a line. Prints what it found,
// or what is wrong, and exits with 1.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	a := os.Args
	switch {
	case len(a) == 5 && a[1] == "record":
		head, checkpoint, _ := strings.Cut(read(a[4]), "\n\n")
		lines := strings.Split(head, "\n")
		if lines[0] != "c2sp.org/tlog-proof@v1" || len(lines) < 2 {
			fail(fmt.Errorf("no proof"))
		}
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
		fail(err)
		size, root := tree(read(a[2]), checkpoint)
		leaf := tlog.RecordHash([]byte(read(a[3])))
		fail(tlog.CheckRecord(hashes(lines[2:]), size, root, index, leaf))
		fmt.Println("record", index, "of", size)
	case len(a) == 6 && a[1] == "growth":
		oldSize, oldRoot := tree(read(a[2]), read(a[3]))
		size, root := tree(read(a[2]), read(a[4]))
		fail(tlog.CheckTree(hashes(strings.Fields(read(a[5]))), size, root, oldSize, oldRoot))
		fmt.Println("grew from", oldSize, "to", size)
	case len(a) == 4 && a[1] == "sign":
		signer, err := note.NewSigner(read(a[2]))
		fail(err)
		signed, err := note.Sign(&note.Note{Text: read(a[3])}, signer)
		fail(err)
		fmt.Print(string(signed))
	default:
		fail(fmt.Errorf("see the first lines of verify.go"))
	}
}

func tree(vkey, signed string) (int64, tlog.Hash) {
	verifier, err := note.NewVerifier(strings.TrimSpace(vkey))
	fail(err)
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	fail(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		fail(fmt.Errorf("not a checkpoint of this log"))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	fail(err)
	root, err := tlog.ParseHash(lines[2])
	fail(err)
	return size, root
}

func hashes(lines []string) (found []tlog.Hash) {
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		fail(err)
		found = append(found, hash)
	}
	return
}

func read(name string) string {
	data, err := os.ReadFile(name)
	fail(err)
	return string(data)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Verifies what Affidavit writes with golang.org/x/mod/sumdb, which knows nothing of Affidavit.
//
//	verify record VKEY ENTRY PROOF       the entry's leaf is in the log, at the proof's checkpoint
//	verify growth VKEY OLD NEW PROOF     the log of checkpoint NEW begins with that of OLD
//	verify sign KEY TEXT                 signs a text with a private key, and prints the note
//	verify served VKEY ENTRY INDEX PREFIX TOKEN
//	                                     reads checkpoint and tiles of a log that is served at an
//	                                     address, or of an export in a folder, and verifies the
//	                                     tree and that entry in it
//
// All are names of files; the last one of growth holds a base64 hash a line. Prints what it found,
// or what is wrong, and exits with 1.
package main

import (
	"fmt"
	"io"
	"net/http"
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
	case len(a) == 7 && a[1] == "served":
		log := served{read(a[5]), read(a[6])}
		signed, err := log.get("checkpoint")
		fail(err)
		size, root := tree(read(a[2]), string(signed))
		hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, log)
		again, err := tlog.TreeHash(size, hashes)
		fail(err)
		if again != root {
			fail(fmt.Errorf("the tiles have another root"))
		}
		index, err := strconv.ParseInt(read(a[4]), 10, 64)
		fail(err)
		proof, err := tlog.ProveRecord(size, index, hashes)
		fail(err)
		fail(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash([]byte(read(a[3])))))
		fmt.Println("read", size, "leaves, and found", index)
	default:
		fail(fmt.Errorf("see the first lines of verify.go"))
	}
}

// served is a log at an address, with a token that lets one in, or a folder with the same files.
type served struct{ prefix, token string }

func (log served) Height() int { return 8 }

func (log served) SaveTiles([]tlog.Tile, [][]byte) {}

func (log served) ReadTiles(tiles []tlog.Tile) (found [][]byte, err error) {
	for _, tile := range tiles {
		// c2sp.org/tlog-tiles leaves the height out of the path: it is always 8.
		data, err := log.get(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", tile.Path(), len(data))
		}
		found = append(found, data)
	}
	return found, nil
}

func (log served) get(path string) ([]byte, error) {
	if !strings.HasPrefix(log.prefix, "http://") {
		return os.ReadFile(log.prefix + "/" + path)
	}
	request, err := http.NewRequest("GET", log.prefix+"/"+path, nil)
	fail(err)
	request.Header.Set("Authorization", "Bearer "+log.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(answer.Body)
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

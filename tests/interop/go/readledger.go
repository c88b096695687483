// Readledger opens a ledger with Go's own checksum-database code and prints what it proved.
//
//	readledger DIR VKEY OLD_SIZE OLD_ROOT
//
// It verifies the Ed25519 line of DIR/checkpoint, reads the tiles (each is checked against the root on the way), proves
// leaves at both ends and at the edges of tiles, and that the tree extends OLD_ROOT. Any failure ends it with status 1.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ledger reads tiles where C2SP tlog-tiles puts them: Go's own paths name the height, which is always 8 there.
type ledger struct{ dir string }

func (l ledger) Height() int { return 8 }

func (l ledger) SaveTiles([]tlog.Tile, [][]byte) {}

func (l ledger) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(l.dir, path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

// entry reads one entry out of its bundle.
func (l ledger) entry(index int64, size int64) []byte {
	bundle := tlog.Tile{H: 8, L: -1, N: index / 256, W: int(min(256, size-index/256*256))}
	path := strings.Replace(bundle.Path(), "tile/8/data/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(l.dir, path))
	check(err)
	for skip := index % 256; skip > 0; skip-- {
		data = data[2+binary.BigEndian.Uint16(data):]
	}
	return data[2 : 2+binary.BigEndian.Uint16(data)]
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 5 {
		log.Fatal("usage: readledger DIR VKEY OLD_SIZE OLD_ROOT")
	}
	tiles := ledger{os.Args[1]}
	size, root := checkpoint(filepath.Join(tiles.dir, "checkpoint"), os.Args[2])
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles)

	for _, index := range []int64{0, 1, 255, 256, 511, 65535, 65536, size / 2, size - 2, size - 1} {
		if index >= size {
			continue
		}
		proof, err := tlog.ProveRecord(size, index, hashes)
		check(err)
		check(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(tiles.entry(index, size))))
		fmt.Println("entry", index, hashLine(proof))
	}

	old, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	oldRoot, err := tlog.ParseHash(os.Args[4])
	check(err)
	proof, err := tlog.ProveTree(size, old, hashes)
	check(err)
	check(tlog.CheckTree(proof, size, root, old, oldRoot))
	fmt.Println("extends", old, hashLine(proof))
}

func checkpoint(path, vkey string) (int64, tlog.Hash) {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	text, err := os.ReadFile(path)
	check(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		log.Fatal("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return size, root
}

func hashLine(proof []tlog.Hash) string {
	var words []string
	for _, hash := range proof {
		words = append(words, base64.StdEncoding.EncodeToString(hash[:]))
	}
	return strings.Join(words, " ")
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"lacre/store"
)

// Whatever keys look like, all with the prefix are read, in order and once, in few requests,
// and etcd does not count the same ones again and again.
func TestPagesReadAllKeysOnce(t *testing.T) {
	t.Parallel()
	const n = 30_000
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, key := range map[string]func(i int) string{
		"ids":                  func(int) string { return fmt.Sprintf("%016x%016x", rnd.Uint64(), rnd.Uint64()) },
		"versions of ids":      func(i int) string { return fmt.Sprintf("%x/%010d", mix(uint64(i/3)), i%3) },
		"numbers":              func(i int) string { return fmt.Sprintf("i1/host-%06d.example", i) },
		"one long prefix":      func(i int) string { return strings.Repeat("\xff", 40) + fmt.Sprint(i) },
		"bytes":                func(int) string { return string([]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}) },
		"few and far":          func(i int) string { return fmt.Sprintf("%c%x", rune('a'+i%20), i/20000) },
		"each begins the next": func(i int) string { return strings.Repeat("a", i%5100) },
	} {
		t.Run(name, func(t *testing.T) {
			keys := []string{"/p/1", "/p/10/x", "/p/2/x", "/p/9"} // beside the prefix
			for i := range n {
				keys = append(keys, "/p/1/"+key(i))
			}
			slices.Sort(keys)
			keys = slices.Compact(keys)
			want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !strings.HasPrefix(k, "/p/1/") })
			read, requests, counted := store.PagesOf(keys, "/p/1/")
			if !slices.Equal(read, want) {
				t.Fatalf("read %d keys, want %d in order", len(read), len(want))
			}
			if requests > 1000 || counted > 8*len(want) {
				t.Errorf("%d keys took %d requests, and counting %d", len(want), requests, counted)
			}
		})
	}
}

// mix makes ids of numbers that are spread as random ones are.
func mix(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 }

package edge

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lacre"
	"lacre/keypair"
)

// index finds the site of a host name. Any number of goroutines may look up; only the
// holder of holdings.mu changes it.
type index struct {
	hosts     sync.Map // canonical host -> *site: who is served
	wildcards sync.Map // what follows "*." -> *site
	count     atomic.Int64

	// rivals are all claims of hosts that more than one domain names, oldest first.
	// Several instances on one edge may claim the same host.
	rivals    map[string][]*site
	conflicts atomic.Int64
}

func newIndex() *index { return &index{rivals: make(map[string][]*site)} }

func (x *index) len() int { return int(x.count.Load()) }

// resolve returns the site that serves a name as a client sends it in SNI or Host,
// nil if there is none: the exact host first, then the wildcard for the leftmost
// label. SNI and Host go through here alike, so they cannot disagree about a name.
// It takes no lock and allocates nothing.
func (x *index) resolve(name string) *site {
	host, err := keypair.CanonicalHost(name)
	if err != nil || strings.HasPrefix(host, "*") {
		return nil // a client asks for a host, never for a pattern
	}
	if s, ok := x.hosts.Load(host); ok {
		return s.(*site)
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		if s, ok := x.wildcards.Load(parent); ok {
			return s.(*site)
		}
	}
	return nil
}

// serving returns the site that serves a canonical host or pattern, nil if none does.
func (x *index) serving(host string) *site {
	if sites, key := x.place(host); sites == &x.wildcards {
		s, _ := sites.Load(key)
		served, _ := s.(*site)
		return served
	}
	return x.resolve(host)
}

// wildcardOver returns the site of the wildcard that an exact site hides, nil if there
// is none.
func (x *index) wildcardOver(s *site) *site {
	_, parent, _ := strings.Cut(s.host, ".")
	hidden, ok := x.wildcards.Load(parent)
	if !ok || strings.HasPrefix(s.host, "*.") {
		return nil
	}
	return hidden.(*site)
}

// place returns where the site of a canonical host is kept, and under which key.
func (x *index) place(host string) (*sync.Map, string) {
	if parent, ok := strings.CutPrefix(host, "*."); ok {
		return &x.wildcards, parent
	}
	return &x.hosts, host
}

// put adds s, or replaces the site with its id, which must have the same host.
// It returns the site that serves the host afterwards and how many claim it.
func (x *index) put(s *site) (serving *site, claims int) {
	all := append(x.others(s), s)
	x.settle(s.host, all)
	return all[0], len(all)
}

// remove takes the site with the id of s away; a rival takes over.
func (x *index) remove(s *site) { x.settle(s.host, x.others(s)) }

// others returns the sites of other domains that claim the host of s, in a slice of
// its own.
func (x *index) others(s *site) []*site {
	var claims []*site
	if rivals := x.rivals[s.host]; rivals != nil {
		claims = slices.Clone(rivals)
	} else {
		sites, key := x.place(s.host)
		if holder, ok := sites.Load(key); ok {
			claims = []*site{holder.(*site)}
		}
	}
	return slices.DeleteFunc(claims, func(c *site) bool { return c.id == s.id })
}

// settle sorts the claims and publishes the oldest, whatever order they came in.
func (x *index) settle(host string, claims []*site) {
	delete(x.rivals, host)
	if len(claims) > 1 {
		slices.SortFunc(claims, func(a, b *site) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		x.rivals[host] = claims
	}
	x.conflicts.Store(int64(len(x.rivals)))
	sites, key := x.place(host)
	if len(claims) == 0 {
		if _, had := sites.LoadAndDelete(key); had {
			x.count.Add(-1)
		}
		return
	}
	if _, had := sites.Swap(key, claims[0]); !had {
		x.count.Add(1)
	}
}

// anyHostOf is a name that a client can ask for to reach a site, "" if there is none.
func (x *index) anyHostOf(s *site) string {
	rest, wildcard := strings.CutPrefix(s.host, "*")
	if !wildcard {
		return s.host
	}
	labels := strings.Split("0123456789abcdefghijklmnopqrstuvwxyz", "")
	if room := min(maxHost-len(rest), 12); room > 1 { // a random one, which nobody will have taken
		labels = append([]string{lacre.NewID()[:room]}, labels...)
	}
	for _, label := range labels {
		if host := label + rest; x.resolve(host) == s {
			return host
		}
	}
	return ""
}

// maxHost is the longest host name (RFC 1035 section 2.3.4, without the root).
const maxHost = 253

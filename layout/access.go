package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// access is how a configuration verifies clients.
type access struct {
	verify  string // value of the setting
	ca, crl string
	on      string // the value that demands a certificate of every client
	setting string
}

func (a access) verifies() bool {
	switch a.verify {
	case "", "off", "none":
		return false
	}
	return true
}

// unlike tells what of this verification Lacre would not do in the same way, so that
// nothing is served to more people than before; empty when there is nothing.
func (a access) unlike() string {
	switch {
	case !a.verifies():
		return ""
	case a.verify != a.on:
		return fmt.Sprintf("%s %s: Lacre verifies every client of a domain or none; bind it yourself", a.setting, a.verify)
	case a.ca == "":
		return fmt.Sprintf("%s %s names no CA; bind it yourself", a.setting, a.verify)
	}
	return ""
}

// served adds a pair with the names it is served for. Why, unless empty, is what keeps
// the names from being bound: then the certificate comes without them.
func (f *finder) served(p *Pair, named bool, why string) {
	if p.CA != "" {
		for i := range p.Hosts {
			p.Hosts[i].Verify = true
		}
	}
	f.forbid(p.Hosts, why)
	before := len(f.pairs)
	f.named(p)
	if len(f.pairs) == before {
		return
	}
	if why != "" {
		f.forbid(p.Hosts, why) // which may be those of the leaf only now
		for _, h := range p.Hosts {
			f.skip(p.Cert, h.Name+" is not bound: "+why)
		}
		p.Hosts = nil
		return
	}
	if named && len(p.Hosts) > 0 && p.Hosts[0].Derived { // all names it has are patterns
		p.Hosts = nil
	}
}

// forbid keeps hosts from being bound with any pair: another one, of another server, would
// serve them without what their clients had to show here. So would a wildcard.
func (f *finder) forbid(hosts []Host, why string) {
	if why == "" {
		return
	}
	for _, h := range hosts {
		name := plainHost(h.Name)
		f.forbidden[name] = cmp.Or(f.forbidden[name], why)
		if _, parent, ok := strings.Cut(name, "."); ok {
			f.forbidden["*."+parent] = cmp.Or(f.forbidden["*."+parent], "it stands for "+name+" too, with "+why)
		}
	}
}

// withhold takes the hosts away that are not to be bound, unless their clients are verified.
func (f *finder) withhold(pairs []*Pair) {
	for _, p := range pairs {
		p.Hosts = slices.DeleteFunc(p.Hosts, func(h Host) bool {
			why := f.forbidden[plainHost(h.Name)]
			if why == "" || h.Verify {
				return false
			}
			f.skip(p.Cert, h.Name+" is not bound: "+why)
			return true
		})
	}
}

func plainHost(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

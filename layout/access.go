package layout

import (
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
	before := len(f.pairs)
	f.named(p)
	if len(f.pairs) == before {
		return
	}
	if why != "" {
		for _, h := range p.Hosts {
			f.skip(p.Cert, h.Name+" is not bound: "+why)
			f.unlike[strings.ToLower(h.Name)] = true
		}
		p.Hosts = nil
		return
	}
	if named && len(p.Hosts) > 0 && p.Hosts[0].Derived { // all names it has are patterns
		p.Hosts = nil
	}
}

// bindable takes away the hosts that somewhere are verified as Lacre does not: whatever else
// names them without verifying, another server or another configuration, would let in who
// did not get in.
func (f *finder) bindable(pairs []*Pair) []*Pair {
	for _, p := range pairs {
		p.Hosts = slices.DeleteFunc(p.Hosts, func(h Host) bool { return f.unlike[h.Name] && !h.Verify })
	}
	return pairs
}

package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"

	"lacre/edge"
)

// prefixes reads --edge-proxy-from. An address alone is a range of one.
func prefixes(texts []string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if a, bad := netip.ParseAddr(text); err != nil && bad == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, usagef("--edge-proxy-from: expected an address or a range such as 10.0.0.0/8 or fd00::/8, got %q", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// openAccessLog opens what --access-log names, nil if that is nothing.
func (n *node) openAccessLog() (io.Writer, error) {
	switch n.cfg.AccessLog {
	case "":
		return nil, nil
	case "-":
		return os.Stdout, nil
	}
	file, err := edge.OpenLog(n.cfg.AccessLog)
	if err != nil {
		return nil, fmt.Errorf("--access-log: %w", err)
	}
	n.accessLog = file
	return file, nil
}

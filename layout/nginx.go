package layout

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// nginx reads an nginx configuration: every server's certificates, the names it serves
// them for and the CA that it verifies clients against.
func (f *finder) nginx(path string) {
	if f.configs[path] {
		return
	}
	f.configs[path] = true
	n := &nginx{finder: f, prefix: nginxPrefix(path)}
	n.block(n.parse(path, 0), nginxScope{})
}

// nginx is one configuration with all that it includes.
type nginx struct {
	*finder
	prefix string // directory that relative paths start from
}

// nginxPrefix is the nearest directory above with nginx.conf in it, which is where nginx
// takes relative paths from; that of the file itself when there is none.
func nginxPrefix(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if isFile(filepath.Join(dir, "nginx.conf")) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return filepath.Dir(path)
		}
	}
}

// parse reads a file with what it includes put in the include's place.
func (n *nginx) parse(path string, depth int) []*directive {
	text, fault, _ := readFile(path, maxConfig)
	if fault != "" {
		n.fail(path, fault)
		return nil
	}
	if depth > maxNesting {
		n.fail(path, "is included in a circle")
		return nil
	}
	n.configs[path] = true
	list, err := parseNginx(path, string(text))
	if err != nil {
		n.fail(path, "cannot be read as an nginx configuration: "+err.Error())
		return nil
	}
	return n.expanded(list, depth)
}

// holdsServers are the blocks in which certificates can be. What others include is not
// looked at, and need not be there.
var holdsServers = map[string]bool{"http": true, "stream": true, "mail": true, "server": true}

func (n *nginx) expanded(list []*directive, depth int) []*directive {
	var out []*directive
	for _, d := range list {
		if d.words[0] == "include" && len(d.words) == 2 {
			out = append(out, n.included(d, depth)...)
			continue
		}
		if holdsServers[d.words[0]] {
			d.block = n.expanded(d.block, depth)
		}
		out = append(out, d)
	}
	return out
}

func (n *nginx) included(d *directive, depth int) []*directive {
	pattern := n.path(d.words[1])
	if !strings.ContainsAny(pattern, "*?[") {
		return n.parse(pattern, depth+1)
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		n.fail(d.at(), err.Error())
	}
	var out []*directive
	for _, path := range paths {
		if !isDir(path) {
			out = append(out, n.parse(path, depth+1)...)
		}
	}
	return out
}

func (n *nginx) path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(n.prefix, path)
}

// nginxScope are the settings that a block hands down to those inside it. Each is
// replaced as a whole by a block that has its own.
type nginxScope struct {
	certs, keys []string
	sm2         sm2Scope
	verify      string // ssl_verify_client
	ca, crl     string
	origin      string
	foreign     bool // the servers are not of HTTP
}

func (n *nginx) block(list []*directive, s nginxScope) {
	s = s.with(list)
	for _, d := range list {
		switch {
		case d.block == nil:
		case d.words[0] == "server":
			n.server(d, s.with(d.block))
		case holdsServers[d.words[0]]:
			s := s
			s.foreign = s.foreign || d.words[0] != "http"
			n.block(d.block, s)
		}
	}
}

func (s nginxScope) with(list []*directive) nginxScope {
	var own nginxScope
	for _, d := range list {
		if len(d.words) < 2 {
			continue
		}
		own.sm2.take(d)
		switch value := d.words[1]; d.words[0] {
		case "ssl_certificate":
			own.certs, own.origin = append(own.certs, value), cmp.Or(own.origin, d.at())
		case "ssl_certificate_key":
			own.keys = append(own.keys, value)
		case "ssl_verify_client":
			own.verify = value
		case "ssl_client_certificate":
			own.ca = value
		case "ssl_trusted_certificate": // verifies clients too; the other one names CAs to them
			own.ca = cmp.Or(own.ca, value)
		case "ssl_crl":
			own.crl = value
		}
	}
	if own.certs == nil {
		own.certs, own.origin = s.certs, s.origin
	}
	if own.keys == nil {
		own.keys = s.keys
	}
	if own.sm2 == (sm2Scope{}) {
		own.sm2 = s.sm2
	}
	own.foreign = s.foreign
	own.verify, own.ca, own.crl = cmp.Or(own.verify, s.verify), cmp.Or(own.ca, s.ca), cmp.Or(own.crl, s.crl)
	return own
}

// server adds the pairs of one server block.
func (n *nginx) server(d *directive, s nginxScope) {
	if s.foreign {
		n.unbound(d, n.pairs(d, s))
		return
	}
	hosts, named := n.hosts(d)
	a := access{verify: s.verify, ca: s.ca, crl: s.crl, on: "on", setting: "ssl_verify_client"}
	why := a.unlike()
	n.forbid(hosts, why) // also where no certificate can be read
	n.fallback(d)
	for _, p := range n.pairs(d, s) {
		if p.Hosts = slices.Clone(hosts); a.verifies() && why == "" {
			p.CA = n.path(s.ca)
			if s.crl != "" {
				p.CRL = n.path(s.crl)
			}
		}
		n.served(p, named, why)
	}
}

// pairs are those that a server block names.
func (n *nginx) pairs(d *directive, s nginxScope) []*Pair {
	pairs := n.sm2Pair(d, s.sm2)
	for i, cert := range s.certs {
		if i >= len(s.keys) {
			n.fail(d.at(), "ssl_certificate without its ssl_certificate_key")
			return nil
		}
		p := &Pair{Origin: s.origin}
		if p.Cert, p.Key = n.pemFile(d, cert), n.pemFile(d, s.keys[i]); p.Cert != "" && p.Key != "" {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// unbound adds the pairs of a server that is not one of HTTP, for no names.
func (n *nginx) unbound(server *directive, pairs []*Pair) {
	for _, p := range pairs {
		n.named(p)
		p.Hosts = nil
	}
	if len(pairs) > 0 {
		n.skip(server.at(), "not a server of HTTP: its names are not bound")
	}
}

// fallback says what becomes of a server that others fall back to: of a name that no domain
// has, Lacre knows nothing.
func (n *nginx) fallback(server *directive) {
	for _, d := range server.block {
		has := func(word string) bool { return slices.Contains(d.words, word) }
		if d.words[0] == "listen" && (has("ssl") || has("quic")) && (has("default_server") || has("default")) {
			n.skip(d.at(), "default_server: whoever asks for a name that no domain has, or for none, gets no certificate")
			return
		}
	}
}

// pemFile is the path of a file that a setting names, empty when it names something else.
func (n *nginx) pemFile(d *directive, value string) string {
	switch {
	case strings.Contains(value, "$"):
		n.skip(d.at(), value+" has a variable in it; import the files it stands for by themselves")
	case strings.HasPrefix(value, "data:"), strings.HasPrefix(value, "engine:"), strings.HasPrefix(value, "store:"):
		kind, _, _ := strings.Cut(value, ":")
		n.skip(d.at(), kind+": is not a file")
	default:
		return n.path(value)
	}
	return ""
}

// hosts are the names of a server block that Lacre can serve, and whether it has any
// names: "_" and "" are what people write for none.
func (n *nginx) hosts(server *directive) (hosts []Host, named bool) {
	for _, d := range server.block {
		if d.words[0] != "server_name" {
			continue
		}
		for _, name := range d.words[1:] {
			switch {
			case name == "_" || name == "":
				continue
			case strings.HasPrefix(name, "~") || strings.Contains(name, "$") || strings.HasSuffix(name, ".*"):
				n.skip(d.at(), name+" is a pattern: bind the hosts it stands for")
			case strings.HasPrefix(name, "."):
				hosts = append(hosts, Host{Name: name[1:]}, Host{Name: "*" + name})
			default:
				hosts = append(hosts, Host{Name: name})
			}
			named = true
		}
	}
	return hosts, named
}

package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// haproxy reads an HAProxy configuration: the certificates of every bind line, those of
// its crt-lists with their filters, and the CA that clients are verified against.
func (f *finder) haproxy(path string) {
	if f.configs[path] {
		return
	}
	f.configs[path] = true
	text, fault, _ := readFile(path, maxConfig)
	if fault != "" {
		f.fail(path, fault)
		return
	}
	h := &haproxy{finder: f, dir: filepath.Dir(path), stored: map[string]storedPair{}}
	lines := haproxyLines(path, string(text))
	for _, l := range lines { // stores may stand below who uses them
		h.store(l)
	}
	h.section = ""
	for _, l := range lines {
		h.line(l)
	}
}

// haproxy is one configuration.
type haproxy struct {
	*finder
	dir                   string
	section, name         string // the one that lines are in
	crtBase, caBase       string
	storedBase, storedKey string                // bases of the crt-store that lines are in
	stored                map[string]storedPair // by @STORE/NAME
}

// storedPair is a "load" line of a crt-store.
type storedPair struct{ cert, key string }

// words is one line, with where it is.
type words struct {
	list []string
	at   string
}

// haproxyLines splits a text into lines of words. Lines may go on after a backslash.
func haproxyLines(path, text string) []words {
	var out []words
	for i, line := range strings.Split(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		if list := haproxyWords(line); len(list) > 0 {
			out = append(out, words{list, fmt.Sprintf("%s:%d", path, i+1)})
		}
	}
	return out
}

// haproxyWords splits one line: white space, both kinds of quotes, backslash, #.
func haproxyWords(line string) []string {
	var list []string
	var b strings.Builder
	var quote byte
	inside := false
	end := func() {
		if inside {
			list = append(list, b.String())
		}
		b.Reset()
		inside = false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
			inside = true
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inside = c, true
		case c == '#':
			end()
			return list
		case c == ' ' || c == '\t' || c == '\r':
			end()
		default:
			b.WriteByte(c)
			inside = true
		}
	}
	end()
	return list
}

// enter notes which section a line begins.
func (h *haproxy) enter(l words) bool {
	switch l.list[0] {
	case "global", "defaults", "frontend", "listen", "backend", "crt-store", "userlist", "peers", "resolvers", "program", "cache", "ring":
		h.section, h.name = l.list[0], ""
		if len(l.list) > 1 {
			h.name = l.list[1]
		}
		h.storedBase, h.storedKey = "", ""
		return true
	}
	return false
}

// store reads the "load" lines of crt-store sections.
func (h *haproxy) store(l words) {
	if h.enter(l) || h.section != "crt-store" {
		return
	}
	switch l.list[0] {
	case "crt-base":
		h.storedBase = l.value(1)
	case "key-base":
		h.storedKey = l.value(1)
	case "load":
		crt := l.option("crt")
		p := storedPair{cert: h.path(h.storedBase, crt)}
		if key := l.option("key"); key != "" {
			p.key = h.path(h.storedKey, key)
		}
		for _, name := range []string{crt, l.option("alias")} {
			if name != "" {
				h.stored["@"+h.name+"/"+name] = p
			}
		}
	}
}

// value is the nth word, empty when there are fewer.
func (l words) value(n int) string {
	if n < len(l.list) {
		return l.list[n]
	}
	return ""
}

// option is the word after name.
func (l words) option(name string) string {
	for i, word := range l.list {
		if word == name {
			return l.value(i + 1)
		}
	}
	return ""
}

func (h *haproxy) path(base, path string) string {
	switch {
	case filepath.IsAbs(path):
		return path
	case filepath.IsAbs(base):
		return filepath.Join(base, path)
	}
	return filepath.Join(h.dir, base, path)
}

func (h *haproxy) line(l words) {
	if h.enter(l) {
		return
	}
	switch h.section + " " + l.list[0] {
	case "global crt-base":
		h.crtBase = l.value(1)
	case "global ca-base":
		h.caBase = l.value(1)
	case "frontend bind", "listen bind":
		h.bind(l)
	}
}

// bind reads the certificates of one bind line.
func (h *haproxy) bind(l words) {
	for i, word := range l.list {
		switch word {
		case "crt":
			h.crt(l, l.value(i+1), nil, l.list)
		case "crt-list":
			h.crtList(l, h.path("", l.value(i+1)))
		}
	}
}

// crt adds what a crt option names: a file, a directory, or a bundle of files.
func (h *haproxy) crt(l words, value string, filters, options []string) {
	if p, ok := h.stored[value]; ok {
		h.pair(l, p.cert, p.key, filters, options)
		return
	}
	if strings.HasPrefix(value, "@") || strings.Contains(value, "$") {
		h.fail(l.at, value+" is not known here; import its files by themselves")
		return
	}
	path := h.path(h.crtBase, value)
	if isDir(path) {
		for _, file := range crtFiles(path) {
			h.pair(l, file, "", filters, options)
		}
		return
	}
	bundle := false
	for _, kind := range []string{".rsa", ".ecdsa", ".dsa"} {
		if !isFile(path) && isFile(path+kind) {
			bundle = true
			h.pair(l, path+kind, "", filters, options)
		}
	}
	if !bundle {
		h.pair(l, path, "", filters, options)
	}
}

// crtFiles are the files of a directory that HAProxy loads: not those beside a
// certificate that have its key, issuer, OCSP response or timestamps.
func crtFiles(dir string) []string {
	entries, _ := os.ReadDir(dir) // what cannot be read has no files, and HAProxy would not start
	var files []string
	for _, entry := range entries {
		switch path := filepath.Join(dir, entry.Name()); filepath.Ext(path) {
		case ".key", ".issuer", ".ocsp", ".sctl":
		default:
			if !strings.HasPrefix(entry.Name(), ".") && !isDir(path) {
				files = append(files, path)
			}
		}
	}
	return files
}

// pair adds one certificate file with its key.
func (h *haproxy) pair(l words, cert, key string, filters, options []string) {
	p := &Pair{Cert: cert, Key: key, Origin: l.at}
	if key == "" {
		p.Key = h.keyOf(cert)
	}
	if issuer := cert + ".issuer"; isFile(issuer) && len(h.open(cert).certs) == 1 {
		p.Chain = []string{issuer}
	}
	named := false
	for _, filter := range filters {
		switch {
		case strings.HasPrefix(filter, "!"):
			h.skip(cert, l.at+": "+filter+" takes a name away, which a domain cannot")
		case filter != "*":
			p.Hosts, named = append(p.Hosts, Host{Name: filter}), true
		}
	}
	a := access{verify: lastOption(options, "verify"), ca: lastOption(options, "ca-file"), crl: lastOption(options, "crl-file"), on: "required", setting: "verify"}
	why := a.unlike()
	if a.verifies() && why == "" {
		p.CA = h.path(h.caBase, a.ca)
		if a.crl != "" {
			p.CRL = h.path(h.caBase, a.crl)
		}
	}
	h.served(p, named, why)
}

// lastOption is the word after the last name among options: a crt-list's own stand
// behind those of its bind line.
func lastOption(options []string, name string) (value string) {
	for i, word := range options {
		if word == name && i+1 < len(options) {
			value = options[i+1]
		}
	}
	return value
}

// keyOf is where HAProxy looks for the key of a certificate file without one.
func (h *haproxy) keyOf(cert string) string {
	if h.open(cert).hasKey() {
		return cert
	}
	for _, key := range []string{cert + ".key", strings.TrimSuffix(cert, filepath.Ext(cert)) + ".key"} {
		if isFile(key) {
			return key
		}
	}
	return cert
}

// crtList reads a crt-list: on each line a file, options in brackets, SNI filters.
func (h *haproxy) crtList(bind words, path string) {
	text, fault, _ := readFile(path, maxConfig)
	if fault != "" {
		h.fail(path, "named in "+bind.at+": "+fault)
		return
	}
	h.configs[path] = true
	for _, l := range haproxyLines(path, string(text)) {
		options, filters := bracketed(l.list[1:])
		h.crt(l, l.list[0], filters, append(append([]string{}, bind.list...), options...))
	}
}

// bracketed parts the options in brackets from the filters behind them.
func bracketed(list []string) (options, filters []string) {
	text := strings.Join(list, " ")
	if !strings.HasPrefix(text, "[") {
		return nil, list
	}
	inside, after, _ := strings.Cut(text[1:], "]")
	return strings.Fields(inside), strings.Fields(after)
}

// Package layout finds certificate pairs in files as people keep them: PEM files of any
// name, certbot's directories, and the configurations of nginx and HAProxy.
//
// It only reads. Private keys are looked at to see which certificate they belong to and
// are forgotten at once; nothing it returns has key material in it. What the server will
// judge (validity, chains, strength) is not judged here: a pair that cannot be understood
// is returned all the same when its file names say that it is one, so that the server can
// tell what is wrong with it.
package layout

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Pair is one certificate with the files it is made of.
type Pair struct {
	Cert string // file with the leaf
	Key  string // file with its private key; Cert again when both are in one
	// Sign and SignKey are the files of the signing pair of SM2, whose encryption pair Cert
	// and Key are then; empty for other certificates.
	Sign, SignKey string
	Chain         []string // files that complete the chain in Cert, in their order
	CA            string   // file with the CAs that clients must chain to; empty without verification
	CRL           string   // file with the revocation lists that those clients are held to; may be empty
	Hosts         []Host   // what it is served for
	Origin        string   // FILE:LINE of the configuration that names it; empty without one
	Leaf          Leaf
}

// Host is a name that a pair is served for.
type Host struct {
	Name    string // as written, which need not be a name that Lacre takes
	Verify  bool   // clients have to show a certificate
	Derived bool   // taken from the leaf: no configuration names it
}

// Leaf says which certificate a pair is. It is zero when it cannot be read here.
type Leaf struct {
	Fingerprint string   // SHA-256 of the DER, lower-case hexadecimal
	Serial      string   // decimal
	SANs        []string // DNS names, then IP addresses
	Names       []string // the DNS names among them; the common name when there is none
	NotBefore   time.Time
	NotAfter    time.Time

	key keyID
}

// Note is why a file, or a name in it, is not imported.
type Note struct {
	Path   string
	Reason string
	Failed bool // it was meant to be imported, as far as one can tell
}

// Found is what Find makes of files.
type Found struct {
	Pairs []*Pair // in a stable order, each certificate once for each CA
	Notes []Note
}

// Find looks through files and directories. A directory with nginx.conf or haproxy.cfg is
// taken for that configuration, and only what it names is found; one with certbot's live
// and archive is its live directory; any other is walked, symbolic links followed. The
// error is that one of paths is not there.
func Find(paths ...string) (*Found, error) {
	f := newFinder()
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			f.directory(path)
		} else {
			f.file(path)
		}
	}
	f.match()
	pairs := merged(f.pairs)
	f.withhold(pairs) // when all that forbids a host was read
	return &Found{Pairs: pairs, Notes: f.notes}, nil
}

// finder collects what is found.
type finder struct {
	files   map[string]*contents // of every file that was opened
	entered map[string]bool      // directories that were walked, by their real path
	configs map[string]bool      // configurations that were read
	loose   []*contents          // PEM files that no configuration names, to be matched
	pairs   []*Pair
	notes   []Note

	forbidden map[string]string // hosts that are not to be bound, and why
}

func newFinder() *finder {
	return &finder{files: map[string]*contents{}, entered: map[string]bool{}, configs: map[string]bool{}, forbidden: map[string]string{}}
}

func (f *finder) skip(path, reason string) {
	f.notes = append(f.notes, Note{Path: path, Reason: reason})
}

func (f *finder) fail(path, reason string) {
	f.notes = append(f.notes, Note{Path: path, Reason: reason, Failed: true})
}

// directory reads a directory that was named by the user: what configures a server, both if
// there are two, or all files.
func (f *finder) directory(dir string) {
	configured := false
	for _, c := range []struct {
		name string
		read func(string)
	}{{"nginx.conf", f.nginx}, {"haproxy.cfg", f.haproxy}} {
		if path := filepath.Join(dir, c.name); isFile(path) {
			c.read(path)
			configured = true
		}
	}
	if configured {
		return
	}
	if live := filepath.Join(dir, "live"); isDir(live) && isDir(filepath.Join(dir, "archive")) {
		dir = live // the archive has what live points to, and all that it once pointed to
	}
	f.walk(dir)
}

// walk reads all below dir. A directory is entered once, so that links cannot lead round
// in circles.
func (f *finder) walk(dir string) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		f.fail(dir, reasonOf(err))
		return
	}
	if f.entered[real] {
		return
	}
	f.entered[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		f.fail(dir, reasonOf(err))
		return
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if isDir(path) {
			f.walk(path)
		} else {
			f.file(path)
		}
	}
}

// file reads one file, whatever it is.
func (f *finder) file(path string) {
	c := f.open(path)
	switch {
	case c.fault != "":
		f.notes = append(f.notes, Note{path, c.fault, c.unread})
	case c.isPEM():
		f.loose = append(f.loose, c)
	case c.kind == nginxConfig:
		f.nginx(path)
	case c.kind == haproxyConfig:
		f.haproxy(path)
	default:
		f.skip(path, "no PEM certificate or key in it")
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// reasonOf is an error of the file system without the path, which is said beside it.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

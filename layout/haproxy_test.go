package layout_test

import "testing"

func TestHAProxy(t *testing.T) {
	f := newTree(t)
	f.combined("certs/a.pem", "a.test")
	f.pair("certs/b.pem", "certs/b.pem.key", "b.test")
	f.pair("certs/c.crt", "certs/c.key", "c.test")
	f.combined("certs/d.pem.rsa", "d.test")
	f.combined("certs/d.pem.ecdsa", "d.test")
	f.combined("certs/.hidden.pem", "hidden.test")
	f.write("certs/a.pem.ocsp", "\x30\x00")
	f.combined("more/e.pem", "e.test", "e2.test")
	f.combined("more/f.pem", "f.test")
	f.combined("more/g.pem.ecdsa", "g.test")
	f.combined("more/h i.pem", "h.test")
	f.pair("store/s.crt", "private/s.key", "s.test")
	f.combined("backend.pem", "client.test")
	f.write("ca/clients.pem", f.ca.PEM())
	middle := f.ca.Intermediate(t, "Middle")
	leaf := middle.Leaf(t, []string{"j.test"})
	f.write("more/j.pem", leaf.CertPEM(), leaf.KeyPEM())
	f.write("more/j.pem.issuer", middle.PEM())
	f.write("haproxy.cfg", `
global
    log /dev/log local0   # comment
    crt-base ROOT/more
    ca-base ROOT/ca
crt-store web
    crt-base ROOT/store
    key-base ROOT/private
    load crt "s.crt" key "s.key" alias "site"
frontend www
    bind :443 ssl crt ROOT/certs crt e.pem alpn h2,http/1.1 \
         crt-list ROOT/list.txt
    bind :444 ssl crt "h i.pem" crt @web/site
    bind :445 ssl crt f.pem ca-file clients.pem verify required
    bind :446 ssl crt j.pem verify none
    use_backend app
backend app
    server s1 10.0.0.1:443 ssl crt ROOT/backend.pem
`)
	f.write("list.txt", `
# certificates with filters
f.pem [alpn h2 ca-file clients.pem verify required] f.test *.f.test !not.f.test
g.pem g.test
e.pem
`)
	pairs, notes := f.find()
	f.want("pairs", pairs,
		"certs/a.pem certs/a.pem a.test",
		"certs/b.pem certs/b.pem.key b.test",
		"certs/c.crt certs/c.key c.test",
		"certs/d.pem.ecdsa certs/d.pem.ecdsa d.test",
		"certs/d.pem.rsa certs/d.pem.rsa d.test",
		"more/e.pem more/e.pem e.test e2.test",
		"more/f.pem more/f.pem CA=ca/clients.pem f.test! *.f.test!",
		"more/g.pem.ecdsa more/g.pem.ecdsa g.test",
		"more/h i.pem more/h i.pem h.test",
		"store/s.crt private/s.key s.test",
		"more/j.pem more/j.pem +more/j.pem.issuer j.test")
	f.want("notes", notes, "more/f.pem: list.txt:3: !not.f.test takes a name away, which a domain cannot")
}

func TestHAProxyFaults(t *testing.T) {
	f := newTree(t)
	f.combined("a.pem", "a.test")
	f.write("ca.pem", f.ca.PEM())
	f.write("haproxy.cfg", `
frontend www
    bind :443 ssl crt gone.pem crt a.pem ca-file ca.pem verify optional
    bind :444 ssl crt @web/none crt "$DIR/x.pem" crt-list gone.txt
    bind :445 ssl crt a.pem verify required
    bind :446 ssl crt a.pem verify required ca-file ca.pem crl-file crl.pem
`)
	f.write("crl.pem", "a list")
	pairs, notes := f.find()
	f.want("pairs", pairs, "a.pem a.pem", "a.pem a.pem CA=ca.pem CRL=crl.pem a.test!")
	f.want("notes", notes,
		"FAILED gone.pem: named in haproxy.cfg:3: no such file or directory",
		"a.pem: a.test is not bound: verify optional: Lacre verifies every client of a domain or none; bind it yourself",
		"FAILED haproxy.cfg:4: @web/none is not known here; import its files by themselves",
		"FAILED haproxy.cfg:4: $DIR/x.pem is not known here; import its files by themselves",
		"FAILED gone.txt: named in haproxy.cfg:4: no such file or directory",
		"a.pem: a.test is not bound: verify required names no CA; bind it yourself")
}

func FuzzHAProxy(f *testing.F) {
	for _, text := range []string{"frontend a\n bind :1 crt x", "crt-store a\nload crt b", "bind \"\\", "frontend a\nbind crt", "listen x\nbind crt-list haproxy.cfg"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree := &tree{T: t, root: t.TempDir()}
		tree.write("haproxy.cfg", text)
		tree.find() // must end, and must not panic
	})
}

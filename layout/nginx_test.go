package layout_test

import (
	"slices"
	"testing"
)

func TestNginx(t *testing.T) {
	f := newTree(t)
	for _, name := range []string{"shop", "shop-rsa", "api", "default", "inner", "quoted name", "unused"} {
		f.pair("ssl/"+name+".crt", "ssl/"+name+".key", name+".test")
	}
	f.write("clients.pem", f.ca.PEM())
	f.write("mime.types", "types { text/html html; }")
	f.write("nginx.conf", `
user www-data; # a comment; with { braces
events { worker_connections 768; }
http {
	include mime.types;
	ssl_certificate ssl/default.crt; ssl_certificate_key ssl/default.key;
	map $http_upgrade $connection { default upgrade; "" close; "~x{2}" "a;b"; }
	upstream app { server 127.0.0.1:3000; }
	include ROOT/sites-enabled/*;
	server { listen 443 ssl default_server; server_name _; location / { include missing.conf; return 444; } }
}
stream { server { listen 993 ssl; ssl_certificate ssl/inner.crt; ssl_certificate_key ssl/inner.key; } }
`)
	f.write("sites-available/shop.conf", `
server {
	listen 443 ssl;
	server_name shop.test .shop.example.com
	            ~^(?<user>.+)\.shop\.test$;
	include snippets/shop.conf;
	location /a { if ($request_uri ~ "^/x;y") { return 301 https://${host}$request_uri; } }
	content_by_lua_block { local t = { a = "}" == "{" } }
}`)
	f.link("../sites-available/shop.conf", "sites-enabled/shop.conf")
	f.write("snippets/shop.conf", `ssl_certificate "ssl/shop.crt"; ssl_certificate ssl/shop-rsa.crt;
ssl_certificate_key 'ssl/shop.key'; ssl_certificate_key ssl/shop-rsa.key;`)
	f.write("sites-enabled/api", `
server { listen 443 ssl; server_name api.test; ssl_certificate ssl/api.crt; ssl_certificate_key ssl/api.key;
         ssl_client_certificate clients.pem; ssl_verify_client on; }
server { listen 8443 ssl; server_name plain.test; ssl_certificate ssl/api.crt; ssl_certificate_key ssl/api.key; }
server { server_name quoted.test; ssl_certificate ssl/quoted\ name.crt; ssl_certificate_key "ssl/quoted name.key"; }
`)
	pairs, notes := f.find()
	slices.Sort(pairs)
	f.want("pairs", pairs,
		"ssl/api.crt ssl/api.key CA=clients.pem api.test!",
		"ssl/api.crt ssl/api.key plain.test",
		"ssl/default.crt ssl/default.key default.test",
		"ssl/inner.crt ssl/inner.key",
		"ssl/quoted name.crt ssl/quoted name.key quoted.test",
		"ssl/shop-rsa.crt ssl/shop-rsa.key shop.test shop.example.com *.shop.example.com",
		"ssl/shop.crt ssl/shop.key shop.test shop.example.com *.shop.example.com")
	f.want("notes", notes, `sites-enabled/shop.conf:4: ~^(?<user>.+)\.shop\.test$ is a pattern: bind the hosts it stands for`,
		"nginx.conf:10: default_server: whoever asks for a name that no domain has, or for none, gets no certificate",
		"nginx.conf:12: not a server of HTTP: its names are not bound")
}

// What Lacre would not verify as nginx did is not bound, so that nobody new gets in.
func TestNginxVerificationThatIsNotOurs(t *testing.T) {
	f := newTree(t)
	f.pair("a.crt", "a.key", "a.test")
	f.write("ca.pem", f.ca.PEM())
	f.write("revoked.pem", "a list")
	f.write("nginx.conf", `http {
	ssl_certificate a.crt; ssl_certificate_key a.key; ssl_client_certificate ca.pem;
	server { server_name optional.test; ssl_verify_client optional; }
	server { server_name none.test; ssl_verify_client off; }
	server { server_name listed.test; ssl_verify_client on; ssl_crl revoked.pem; }
	server { server_name unlisted.test; ssl_verify_client on; ssl_crl gone.pem; }
	server { server_name good.test; ssl_verify_client on; }
}`)
	pairs, notes := f.find()
	f.want("pairs", pairs, "a.crt a.key none.test", "a.crt a.key CA=ca.pem CRL=revoked.pem listed.test!", "a.crt a.key CA=ca.pem good.test!")
	f.want("notes", notes,
		"a.crt: optional.test is not bound: ssl_verify_client optional: Lacre verifies every client of a domain or none; bind it yourself",
		"FAILED gone.pem: named in nginx.conf:2: no such file")
}

// What one server keeps from being bound is not bound with the pair of another either.
func TestVerificationThatIsNotOursElsewhere(t *testing.T) {
	f := newTree(t)
	f.pair("a.crt", "a.key", "a.test", "b.test", "c.test", "e.test")
	f.pair("b.crt", "b.key", "b.test", "*.d.test")
	f.combined("h.pem", "a.test", "c.test", "e.test")
	f.write("ca.pem", f.ca.PEM())
	f.write("nginx.conf", `http {
	ssl_client_certificate ca.pem;
	server { server_name B.test; ssl_certificate b.crt; ssl_certificate_key b.key; }
	server { server_name *.d.test; ssl_certificate b.crt; ssl_certificate_key b.key; }
	server { server_name a.test b.test; ssl_certificate a.crt; ssl_certificate_key a.key; ssl_verify_client optional; }
	server { server_name c.test; ssl_certificate $x.crt; ssl_certificate_key a.key; ssl_verify_client optional_no_ca; }
	server { server_name x.d.test; ssl_certificate gone.crt; ssl_certificate_key a.key; ssl_verify_client optional; }
	server { server_name e.test; ssl_certificate a.crt; ssl_certificate_key a.key; ssl_verify_client on; ssl_crl gone.pem; }
	server { server_name f.test; ssl_certificate a.crt; ssl_certificate_key a.key; }
}`)
	f.write("haproxy.cfg", "frontend f\n  bind :443 ssl crt ROOT/h.pem")
	pairs, notes := f.find()
	f.want("pairs", pairs, "b.crt b.key", "a.crt a.key f.test", "h.pem h.pem")
	const optional, own = "ssl_verify_client optional", ": Lacre verifies every client of a domain or none; bind it yourself"
	f.want("notes", notes,
		"a.crt: a.test is not bound: "+optional+own,
		"a.crt: b.test is not bound: "+optional+own,
		"nginx.conf:6: $x.crt has a variable in it; import the files it stands for by themselves",
		"FAILED gone.crt: named in nginx.conf:7: no such file or directory",
		"FAILED gone.pem: named in nginx.conf:8: no such file",
		"b.crt: b.test is not bound: "+optional+own,
		"b.crt: *.d.test is not bound: it stands for x.d.test too, with "+optional+own,
		"h.pem: a.test is not bound: "+optional+own,
		"h.pem: c.test is not bound: ssl_verify_client optional_no_ca"+own,
		"h.pem: e.test is not bound: the revocation lists of its clients are not there")
}

func TestNginxFaults(t *testing.T) {
	f := newTree(t)
	f.pair("a.crt", "a.key", "a.test")
	f.write("nginx.conf", `http {
	include conf.d/*.conf;
	include missing.conf;
	include circle.conf;
	server { ssl_certificate gone.crt; ssl_certificate_key a.key; }
	server { ssl_certificate a.crt; }
	server { ssl_certificate $ssl_server_name.crt; ssl_certificate_key $ssl_server_name.key; }
	server { ssl_certificate a.crt; ssl_certificate_key engine:pkcs11:a; }
	server { ssl_certificate a.crt; ssl_certificate_key a.crt; ssl_verify_client on; ssl_client_certificate no.pem; }
	server { server_name a.test; ssl_certificate a.crt; ssl_certificate_key a.key; }
}`)
	f.write("circle.conf", "include circle.conf;")
	f.write("conf.d/1.conf", "server { server_name x")
	f.write("conf.d/2.conf", "\nserver { server_name 'x; }")
	f.write("conf.d/3.conf", "}")
	f.write("conf.d/4.conf", "server { listen 1 }")
	f.write("conf.d/5.conf", "{ }")
	pairs, notes := f.find()
	f.want("pairs", pairs, "a.crt a.key a.test")
	const bad = ": cannot be read as an nginx configuration: line "
	f.want("notes", notes,
		"FAILED conf.d/1.conf"+bad+"1: the file ends in the middle of a statement or block",
		"FAILED conf.d/2.conf"+bad+"2: a quote is not closed",
		"FAILED conf.d/3.conf"+bad+"1: a brace closes nothing",
		"FAILED conf.d/4.conf"+bad+"1: a semicolon is missing",
		"FAILED conf.d/5.conf"+bad+"1: a statement has no name",
		"FAILED missing.conf: no such file or directory",
		"FAILED circle.conf: is included in a circle",
		"FAILED gone.crt: named in nginx.conf:5: no such file or directory",
		"FAILED nginx.conf:6: ssl_certificate without its ssl_certificate_key",
		"nginx.conf:7: $ssl_server_name.crt has a variable in it; import the files it stands for by themselves",
		"nginx.conf:7: $ssl_server_name.key has a variable in it; import the files it stands for by themselves",
		"nginx.conf:8: engine: is not a file",
		"FAILED no.pem: named in nginx.conf:9: no such file or directory")
}

// A site's file that is given by itself starts from the directory with nginx.conf.
func TestNginxSiteByItself(t *testing.T) {
	f := newTree(t)
	f.pair("ssl/a.crt", "ssl/a.key", "a.test")
	f.write("nginx.conf", "http { }")
	f.write("sites-enabled/a", "server { ssl_certificate ssl/a.crt; ssl_certificate_key ssl/a.key; }")
	pairs, notes := f.find("sites-enabled/a")
	f.want("pairs", pairs, "ssl/a.crt ssl/a.key a.test")
	f.want("notes", notes)
	pairs, _ = f.find("sites-enabled")
	f.want("pairs of the directory", pairs, "ssl/a.crt ssl/a.key a.test")
}

func FuzzNginx(f *testing.F) {
	for _, text := range []string{"a b;", "a { b 'c' \"d\\\"\"; # e\n }", "x_by_lua_block { {} }", "a ${b}c;", "\\", "a\\"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree := &tree{T: t, root: t.TempDir()}
		tree.write("nginx.conf", text)
		tree.find() // must end, and must not panic
	})
}

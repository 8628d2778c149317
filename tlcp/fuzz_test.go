package tlcp

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// captured returns the vectors, to begin from.
func captured(f *testing.F) (list []*vector) {
	f.Helper()
	files, err := filepath.Glob("testdata/vectors/ec*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("got %d vectors, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		v := new(vector)
		if err := json.Unmarshal(text, v); err != nil {
			f.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

// addBodies begins from the bodies of captured messages of a type.
func addBodies(f *testing.F, typ byte) {
	f.Helper()
	f.Add([]byte{})
	for _, v := range captured(f) {
		for _, r := range v.Records {
			if body := r.Hex[recordHeaderLen:]; recordType(r.Hex[0]) == recordHandshake && body[0] == typ {
				f.Add([]byte(body[4:]))
			}
		}
	}
}

// decides checks that what is refused is refused with an alert.
func decides(t *testing.T, err error) bool {
	t.Helper()
	if _, ok := errors.AsType[*AlertError](err); err != nil && !ok {
		t.Errorf("got %v, want an alert", err)
	}
	return err == nil
}

func FuzzClientHello(f *testing.F) {
	addBodies(f, typeClientHello)
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := parseClientHello(body)
		if !decides(t, err) {
			return
		}
		again, err := parseClientHello(h.marshal()[4:])
		if err != nil || !bytes.Equal(again.marshal(), h.marshal()) {
			t.Errorf("got %x, %v, want %x again", again.marshal(), err, h.marshal())
		}
	})
}

func FuzzServerHello(f *testing.F) {
	addBodies(f, typeServerHello)
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := parseServerHello(body)
		if !decides(t, err) {
			return
		}
		if again, err := parseServerHello(h.marshal()[4:]); err != nil || !bytes.Equal(again.marshal(), h.marshal()) {
			t.Errorf("got %v, want %x again", err, h.marshal())
		}
	})
}

func FuzzCertificate(f *testing.F) {
	addBodies(f, typeCertificate)
	f.Fuzz(func(t *testing.T, body []byte) {
		ders, err := parseCertificates(body)
		if !decides(t, err) {
			return
		}
		equal(t, "certificates", marshalCertificates(ders)[4:], body)
		certs, err := parsePeer(ders)
		if !decides(t, err) {
			return
		}
		for _, ecdhe := range []bool{true, false} {
			decides(t, (&Conn{config: &Config{ClientAuth: RequireAndVerifyClientCert}}).verifyClient(certs, ecdhe))
		}
		decides(t, (&Conn{config: &Config{InsecureSkipVerify: true}}).verifyServer(certs))
	})
}

func FuzzServerKeyExchange(f *testing.F) {
	addBodies(f, typeServerKeyExchange)
	cert := newAuthority(f, "root", nil).pair(f, testName).sign
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, suite := range []uint16{ECC_SM4_GCM_SM3, ECDHE_SM4_GCM_SM3} {
			h := &clientHandshake{handshake: handshake{c: &Conn{suite: suite}}}
			if decides(t, h.checkKeyExchange(body, cert, cert.Raw)) {
				t.Errorf("got a signature that verifies from %x", body)
			}
		}
	})
}

func FuzzCertificateRequest(f *testing.F) {
	addBodies(f, typeCertificateRequest)
	f.Fuzz(func(t *testing.T, body []byte) {
		names, err := parseCertificateRequest(body)
		if !decides(t, err) {
			return
		}
		again, err := parseCertificateRequest(marshalCertificateRequest(names)[4:])
		if err != nil || len(again) != len(names) {
			t.Errorf("got %d names, %v, want %d", len(again), err, len(names))
		}
	})
}

func FuzzClientKeyExchange(f *testing.F) {
	addBodies(f, typeClientKeyExchange)
	ca := newAuthority(f, "root", nil)
	pair, client := ca.pair(f, testName), ca.pair(f, "client")
	ephemeral, err := client.encKey.ECDH()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if ciphertext, err := parseCiphertext(body); decides(t, err) {
			if _, err := pair.decryptPreMaster(rand.Reader, ciphertext); err != nil {
				t.Errorf("got %v, want a secret whatever the ciphertext", err)
			}
		}
		if point, err := parseClientParams(body); decides(t, err) {
			_, err := agree(pair, ephemeral, client.enc, point, false)
			decides(t, err)
		}
	})
}

func FuzzCertificateVerify(f *testing.F) {
	addBodies(f, typeCertificateVerify)
	cert := newAuthority(f, "root", nil).pair(f, testName).sign
	f.Fuzz(func(t *testing.T, body []byte) {
		if signature, err := parseSignature(body); decides(t, err) && verifyParts(cert, signature, []byte("hash")) {
			t.Errorf("got a signature that verifies from %x", body)
		}
	})
}

func FuzzNewSessionTicket(f *testing.F) {
	addBodies(f, typeNewSessionTicket)
	f.Fuzz(func(t *testing.T, body []byte) {
		if ticket, err := parseTicket(body); decides(t, err) {
			again, err := parseTicket(marshalTicket(1, ticket)[4:])
			if err != nil || !bytes.Equal(again, ticket) {
				t.Errorf("got %x, %v, want %x", again, err, ticket)
			}
		}
	})
}

func FuzzSessionState(f *testing.F) {
	seed, _ := (&SessionState{ServerName: testName, Extra: [][]byte{{1}}}).Bytes()
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSessionState(b); err == nil {
			again, err := s.Bytes()
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("got %x, %v, want %x", again, err, b)
			}
		}
	})
}

// FuzzRecord opens anything: nothing opens that was not sealed.
func FuzzRecord(f *testing.F) {
	for _, v := range captured(f) {
		for _, p := range v.Plain {
			f.Add(uint64(0), byte(p.Type), []byte(v.Records[p.Record].Hex[recordHeaderLen:]))
		}
	}
	f.Fuzz(func(t *testing.T, seq uint64, typ byte, fragment []byte) {
		for _, suite := range []uint16{ECC_SM4_GCM_SM3, ECC_SM4_CBC_SM3} {
			client, _ := directions(bytes.Repeat([]byte{3}, 128), suite)
			if plain, ok := client.open(seq, recordType(typ), bytes.Clone(fragment)); ok {
				t.Errorf("%s: got %x from %x, want nothing", CipherSuiteName(suite), plain, fragment)
			}
		}
	})
}

// FuzzServer and FuzzClient give a whole side anything to read: it ends with an error.
func FuzzServer(f *testing.F) {
	ca := newAuthority(f, "root", nil)
	pair := ca.pair(f, testName)
	for _, v := range captured(f) {
		f.Add(v.playback("c2s").in.Bytes())
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		for _, auth := range []ClientAuth{NoClientCert, VerifyClientCertIfGiven} {
			p := new(playback)
			p.in.Write(stream)
			c := Server(p, sealed(&Config{KeyPair: pair, ClientAuth: auth, ClientCAs: ca.pool, SessionCache: NewSessionCache(1)}))
			if _, err := io.ReadAll(c); err == nil {
				t.Error("got no error from a handshake that was made up")
			}
		}
	})
}

func FuzzClient(f *testing.F) {
	pair := newAuthority(f, "root", nil).pair(f, "client")
	for _, v := range captured(f) {
		f.Add(v.playback("s2c").in.Bytes())
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		p := new(playback)
		p.in.Write(stream)
		c := Client(p, &Config{InsecureSkipVerify: true, ServerName: testName, KeyPair: pair, NextProtos: []string{"h2"}})
		if _, err := io.ReadAll(c); err == nil {
			t.Error("got no error from a handshake that was made up")
		}
	})
}

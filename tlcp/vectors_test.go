package tlcp

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/emmansun/gmsm/sm3"
)

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
}

// The constants of the reference's section 25.
func TestPRF(t *testing.T) {
	t.Parallel()
	sequence := func(n int) (b []byte) {
		for i := range n {
			b = append(b, byte(i))
		}
		return b
	}
	got := make([]byte, 48)
	prf(got, sequence(48), "test label", sequence(32))
	if want := "77a1f6423efb6863d48b1064bbee332c109b18ebc523c475a538570eaa23ef4fd02878c23b37adefa4ce90a70f0eec22"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
	sum := sm3.Sum([]byte("abc"))
	if want := "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"; hex.EncodeToString(sum[:]) != want {
		t.Errorf("got %x, want %s", sum, want)
	}
}

// Every hello is parsed; what we make of it is the same again, byte for byte.
func TestVectorMessages(t *testing.T) {
	t.Parallel()
	eachVector(t, func(t *testing.T, v *vector) {
		list := v.messages(t)
		hello := find(t, list, "c2s", typeClientHello)
		client, err := parseClientHello(hello.raw[4:])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "ClientHello", client.marshal(), hello.raw)
		equal(t, "client random", client.random[:], v.ClientRandom)
		if client.serverName != testName {
			t.Errorf("got the name %q, want %q", client.serverName, testName)
		}
		answer := find(t, list, "s2c", typeServerHello)
		server, err := parseServerHello(answer.raw[4:])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "ServerHello", server.marshal(), answer.raw)
		equal(t, "server random", server.random[:], v.ServerRandom)
		if server.suite != v.suite(t) {
			t.Errorf("got suite %s, want %s", CipherSuiteName(server.suite), v.Suite)
		}
		if !v.Resumed {
			equal(t, "Certificate", v.pair(t, &v.Server).message, find(t, list, "s2c", typeCertificate).raw)
			equal(t, "ServerHelloDone", message(typeServerHelloDone, nil), find(t, list, "s2c", typeServerHelloDone).raw)
		}
		if server.tickets {
			m := find(t, list, "s2c", typeNewSessionTicket).raw
			ticket, err := parseTicket(m[4:])
			if err != nil || len(ticket) == 0 {
				t.Errorf("got ticket %x, %v, want one", ticket, err)
			}
		}
		if v.Authenticated {
			names, err := parseCertificateRequest(find(t, list, "s2c", typeCertificateRequest).raw[4:])
			if err != nil || len(names) != 1 {
				t.Errorf("got %d authorities, %v, want 1", len(names), err)
			}
			equal(t, "CertificateRequest", marshalCertificateRequest(names), find(t, list, "s2c", typeCertificateRequest).raw)
			equal(t, "client's Certificate", v.pair(t, v.Client).message, find(t, list, "c2s", typeCertificate).raw)
		}
	})
}

// Every secret, hash and signature is recomputed from the certificates' keys alone, and
// with ECDHE from both ends.
func TestVectorSecrets(t *testing.T) {
	t.Parallel()
	eachVector(t, func(t *testing.T, v *vector) {
		list := v.messages(t)
		client, server, master := [32]byte(v.ClientRandom), [32]byte(v.ServerRandom), [masterLen]byte(v.Master)
		if !v.Resumed {
			secret := v.recomputePreMaster(t, list)
			equal(t, "pre-master secret", secret, v.PreMaster)
			master = masterSecret(secret, &client, &server)
			v.checkSignatures(t, list)
		}
		equal(t, "master secret", master[:], v.Master)
		equal(t, "key block", keyBlock(&master, v.suite(t), &client, &server), v.KeyBlock)
		for _, side := range []struct {
			dir, label   string
			hash, verify []byte
		}{{"c2s", labelClient, v.ClientHash, v.ClientVerify}, {"s2c", labelServer, v.ServerHash, v.ServerVerify}} {
			m := find(t, list, side.dir, typeFinished)
			equal(t, side.label+" hash", m.hash, side.hash)
			verify := verifyData(&master, side.label, m.hash)
			equal(t, side.label, verify[:], side.verify)
			equal(t, side.label+" message", message(typeFinished, verify[:]), m.raw)
		}
	})
}

func (v *vector) recomputePreMaster(t *testing.T, list []vectorMessage) []byte {
	t.Helper()
	pair, body := v.pair(t, &v.Server), find(t, list, "c2s", typeClientKeyExchange).raw[4:]
	if !isECDHE(v.suite(t)) {
		ciphertext, err := parseCiphertext(body)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := pair.decryptPreMaster(rand.Reader, ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		return secret[:]
	}
	clientPoint, err := parseClientParams(body)
	if err != nil {
		t.Fatal(err)
	}
	params, _, err := parseServerParams(find(t, list, "s2c", typeServerKeyExchange).raw[4:])
	if err != nil {
		t.Fatal(err)
	}
	clientPair := v.pair(t, v.Client)
	ours, err := agree(pair, ephemeralKey(t, v.ServerEphemeral), clientPair.enc, clientPoint, false)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := agree(clientPair, ephemeralKey(t, v.ClientEphemeral), pair.enc, params[4:], true)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the client's pre-master secret", theirs, ours)
	return ours
}

func (v *vector) checkSignatures(t *testing.T, list []vectorMessage) {
	t.Helper()
	h := &clientHandshake{handshake: handshake{c: &Conn{suite: v.suite(t)}}}
	h.client, h.server = [32]byte(v.ClientRandom), [32]byte(v.ServerRandom)
	pair, body := v.pair(t, &v.Server), find(t, list, "s2c", typeServerKeyExchange).raw[4:]
	if err := h.checkKeyExchange(body, pair.sign, pair.enc.Raw); err != nil {
		t.Errorf("ServerKeyExchange: %v", err)
	}
	if err := h.checkKeyExchange(body, pair.enc, pair.enc.Raw); err == nil {
		t.Error("got a ServerKeyExchange that the encryption key signed, want it refused")
	}
	if !v.Authenticated {
		return
	}
	verify := find(t, list, "c2s", typeCertificateVerify)
	signature, err := parseSignature(verify.raw[4:])
	if err != nil {
		t.Fatal(err)
	}
	cert := v.pair(t, v.Client).sign
	if !verifyParts(cert, signature, verify.hash) {
		t.Error("got a CertificateVerify that does not verify over the hash of the transcript")
	}
	var raw []byte
	for _, m := range list {
		if m.raw[0] == typeCertificateVerify {
			break
		}
		raw = append(raw, m.raw...)
	}
	if verifyParts(cert, signature, raw) {
		t.Error("got a CertificateVerify that verifies over the transcript itself, want the hash only")
	}
}

// Every protected record opens to its plaintext. What we seal in its place, given the
// same nonce, is the same record; CBC's IV is random, so there it opens to the same.
func TestVectorRecords(t *testing.T) {
	t.Parallel()
	eachVector(t, func(t *testing.T, v *vector) {
		client, server := directions(v.KeyBlock, v.suite(t))
		clientAgain, serverAgain := directions(v.KeyBlock, v.suite(t))
		for _, p := range v.Plain {
			opener, sealer := client, clientAgain
			if p.Dir == "s2c" {
				opener, sealer = server, serverAgain
			}
			fragment := bytes.Clone(v.Records[p.Record].Hex[recordHeaderLen:])
			sealed := reseal(t, sealer, p.Seq, recordType(p.Type), p.Hex, fragment)
			got, ok := opener.open(p.Seq, recordType(p.Type), fragment)
			if !ok {
				t.Errorf("record %d does not open", p.Record)
			}
			equal(t, "plaintext", got, p.Hex)
			if got, ok := opener.open(p.Seq, recordType(p.Type), sealed); !ok || !bytes.Equal(got, p.Hex) {
				t.Errorf("record %d sealed by us: got %x, %v, want %x", p.Record, got, ok, p.Hex)
			}
		}
	})
}

// reseal seals what fragment holds and compares where it can.
func reseal(t *testing.T, p protection, seq uint64, typ recordType, plain, fragment []byte) []byte {
	t.Helper()
	if g, ok := p.(*gcm); ok {
		copy(g.nonce[gcmIVLen:], fragment)
		authenticated(g.more[:], seq, typ, len(plain))
		sealed := g.aead.Seal(bytes.Clone(fragment[:gcmNonceLen]), g.nonce[:], plain, g.more[:])
		equal(t, "GCM record", sealed, fragment)
		return sealed
	}
	sealed, err := p.seal(nil, bytes.NewReader(fragment[:cbcIVLen]), seq, typ, plain)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "CBC record", sealed, fragment)
	return sealed
}

// The first flights of the clients we know: each is taken for what it is, and those of
// TLCP get an answer.
func TestClientHellos(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors/clienthello-samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Samples []struct {
			Name string
			Hex  hexBytes
		}
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Samples) != 6 {
		t.Fatalf("got %d samples, %v, want 6", len(file.Samples), err)
	}
	ca := newAuthority(t, "root", nil)
	pair := ca.pair(t, testName)
	for _, sample := range file.Samples {
		t.Run(sample.Name, func(t *testing.T) {
			isTLS := sample.Name == "tongsuo-enable-only"
			if got := IsRecord(sample.Hex); got == isTLS {
				t.Errorf("got TLCP %v, want %v", got, !isTLS)
			}
			p := newPeer(t, &Config{KeyPair: pair, ClientAuth: VerifyClientCertIfGiven, NextProtos: []string{"http/1.1"}})
			p.send(sample.Hex)
			if isTLS {
				p.wantAlert(AlertProtocolVersion)
				return
			}
			hello, err := parseServerHello(p.message(typeServerHello))
			if err != nil {
				t.Fatal(err)
			}
			want := ECC_SM4_GCM_SM3
			if sample.Name == "browser-like-360-minimal" {
				want = ECC_SM4_CBC_SM3
			}
			if hello.suite != want || (hello.proto != "") != (sample.Name == "tongsuo-alpn" || sample.Name == "gotlcp") {
				t.Errorf("got %s and protocol %q, want %s", CipherSuiteName(hello.suite), hello.proto, CipherSuiteName(want))
			}
			certs, err := parseCertificates(p.message(typeCertificate))
			if err != nil || len(certs) != 2 {
				t.Errorf("got %d certificates, %v, want 2", len(certs), err)
			}
		})
	}
}

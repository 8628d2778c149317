package tlcp

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// hexBytes is a hex string in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type vectorSide struct {
	SignCert string `json:"sign_cert_pem"`
	SignKey  string `json:"sign_key_pkcs8_pem"`
	EncCert  string `json:"enc_cert_pem"`
	EncKey   string `json:"enc_key_pkcs8_pem"`
}

// vector is a captured handshake.
type vector struct {
	Suite         string      `json:"cipher_suite"`
	Resumed       bool        `json:"resumed"`
	Authenticated bool        `json:"client_authenticated"`
	CA            string      `json:"ca_cert_pem"`
	Server        vectorSide  `json:"server"`
	Client        *vectorSide `json:"client"`

	ClientRandom    hexBytes `json:"client_random"`
	ServerRandom    hexBytes `json:"server_random"`
	ClientEphemeral hexBytes `json:"client_ephemeral_private"`
	ServerEphemeral hexBytes `json:"server_ephemeral_private"`
	PreMaster       hexBytes `json:"pre_master_secret"`
	Master          hexBytes `json:"master_secret"`
	KeyBlock        hexBytes `json:"key_block"`
	ClientHash      hexBytes `json:"handshake_hash_before_client_finished"`
	ServerHash      hexBytes `json:"handshake_hash_before_server_finished"`
	ClientVerify    hexBytes `json:"client_verify_data"`
	ServerVerify    hexBytes `json:"server_verify_data"`

	Records []struct {
		Dir string   `json:"dir"`
		Hex hexBytes `json:"hex"`
	} `json:"records"`
	Plain []struct {
		Dir    string   `json:"dir"`
		Record int      `json:"record_index"`
		Type   byte     `json:"content_type"`
		Seq    uint64   `json:"seq"`
		Hex    hexBytes `json:"plaintext_hex"`
	} `json:"protected_records_plaintext"`
}

// vectorTime is within the validity of the vectors' certificates
func vectorTime() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

func eachVector(t *testing.T, f func(t *testing.T, v *vector)) {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/ec*.json")
	if err != nil || len(files) != 9 {
		t.Fatalf("got %d vectors, %v, want 9", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			v := new(vector)
			if err := json.Unmarshal(text, v); err != nil {
				t.Fatal(err)
			}
			f(t, v)
		})
	}
}

func (v *vector) suite(t *testing.T) uint16 {
	t.Helper()
	for _, suite := range defaultSuites {
		if CipherSuiteName(suite) == v.Suite {
			return suite
		}
	}
	t.Fatalf("got the unknown suite %q", v.Suite)
	return 0
}

func derOf(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("got no PEM block")
	}
	return block.Bytes
}

func (v *vector) pool(t *testing.T) *smx509.CertPool {
	t.Helper()
	pool := smx509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(v.CA)) {
		t.Fatal("got no CA")
	}
	return pool
}

func (v *vector) pair(t *testing.T, side *vectorSide) *KeyPair {
	t.Helper()
	var keys [2]*sm2.PrivateKey
	for i, text := range []string{side.SignKey, side.EncKey} {
		key, err := smx509.ParsePKCS8PrivateKey(derOf(t, text))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key.(*sm2.PrivateKey)
	}
	ca := derOf(t, v.CA)
	return pairOf(t, leaf{[][]byte{derOf(t, side.SignCert), ca}, keys[0]}, leaf{[][]byte{derOf(t, side.EncCert), ca}, keys[1]})
}

// vectorMessage is a handshake message as it was on the wire.
type vectorMessage struct {
	dir  string
	raw  []byte
	hash []byte // of the transcript before it
}

// messages returns the handshake messages, those of protected records from their
// plaintext; Tongsuo puts each into a record of its own.
func (v *vector) messages(t *testing.T) (list []vectorMessage) {
	t.Helper()
	plain := make(map[int][]byte)
	for _, p := range v.Plain {
		plain[p.Record] = p.Hex
	}
	transcript := newTranscript()
	for i, r := range v.Records {
		if recordType(r.Hex[0]) != recordHandshake {
			continue
		}
		raw := []byte(r.Hex[recordHeaderLen:])
		if protected, ok := plain[i]; ok {
			raw = protected
		}
		list = append(list, vectorMessage{r.Dir, raw, transcript.sum()})
		transcript.add(raw)
	}
	return list
}

func find(t *testing.T, list []vectorMessage, dir string, typ byte) vectorMessage {
	t.Helper()
	for _, m := range list {
		if m.dir == dir && m.raw[0] == typ {
			return m
		}
	}
	t.Fatalf("got no message %d from %s", typ, dir)
	return vectorMessage{}
}

func ephemeralKey(t *testing.T, b []byte) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

package edge

// From outside, a key that stays open too long looks like any other.

import (
	"context"
	"crypto/x509"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
)

// plainSealer seals nothing: what is opened is what was sealed.
type plainSealer struct{ lacre.Sealer }

func (plainSealer) Open(_ context.Context, _ string, sealed, _ []byte) ([]byte, error) {
	return append([]byte{}, sealed...), nil
}

// TestDroppedKeyStaysClosed: a handshake that chose a version just before it was
// superseded is given its key, and nothing keeps it open afterwards.
func TestDroppedKeyStaysClosed(t *testing.T) {
	leaf := testcert.NewCA(t, "CA").Leaf(t, []string{"a.example.com"})
	der, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	k := &keys{max: 2, sealer: plainSealer{}, now: time.Now}
	v := newVersion(&served{}, &lacre.Version{Number: 1, Chain: [][]byte{leaf.Cert.Raw}, SealedKey: der}, &bundles{})
	for _, state := range []string{"before it was opened", "while it was open"} {
		k.drop(v)
		if o, err := k.open(v); err != nil || o.certificate.PrivateKey == nil {
			t.Errorf("dropped %s: got %v, want its key for the last handshake", state, err)
		}
		if len(k.ring) != 0 || v.opened.Load() != nil {
			t.Errorf("dropped %s: got %d keys held, want none", state, len(k.ring))
		}
		v.dropped = false
		if _, err := k.open(v); err != nil || len(k.ring) != 1 {
			t.Errorf("in use: got %v, %d keys held, want 1", err, len(k.ring))
		}
	}
}

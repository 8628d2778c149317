package lacre_test

import (
	"crypto/ecdsa"
	"strings"
	"testing"

	"lacre"
	"lacre/internal/testcert"
)

// privateHalf is what must never be stored or told of an ECC key.
func privateHalf(leaf *testcert.Leaf) string {
	raw, err := leaf.Key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestOpenKey(t *testing.T) {
	w := newWorld(t)
	one := w.create(w.upload("one_cert", "www.a.test"))
	one = w.modify(one.ID, w.upload("one_cert", "www.a.test"))
	two := w.create(w.upload("two_cert", "www.a.test"))
	first, second, other := w.version(one, 1), w.version(one, 2), w.version(two, 1)
	for _, v := range []*lacre.Version{first, second, other} {
		if _, err := lacre.OpenKey(t.Context(), sharedSealer, v); err != nil {
			t.Errorf("certificate %s version %d: got error %v, want its key", v.CertificateID, v.Number, err)
		}
	}
	foreign := newWorld(t)
	stranger := foreign.version(foreign.create(foreign.upload("web_cert", "www.a.test")), 1)
	for name, edit := range map[string]func(v *lacre.Version){
		"the key of another version":     func(v *lacre.Version) { v.SealedKey = second.SealedKey },
		"the key of another certificate": func(v *lacre.Version) { v.SealedKey = other.SealedKey },
		"the key of another project":     func(v *lacre.Version) { v.SealedKey = stranger.SealedKey },
		"another version number":         func(v *lacre.Version) { v.Number = 2 },
		"another certificate's id":       func(v *lacre.Version) { v.CertificateID = two.ID },
		"another project":                func(v *lacre.Version) { v.ProjectID = foreign.project },
		"the leaf of another version":    func(v *lacre.Version) { v.Chain = second.Chain },
		"no leaf":                        func(v *lacre.Version) { v.Chain = nil },
		"a damaged leaf":                 func(v *lacre.Version) { v.Chain = [][]byte{v.Chain[0][1:]} },
		"a damaged key":                  func(v *lacre.Version) { v.SealedKey = append([]byte{0}, v.SealedKey...) },
		"no key":                         func(v *lacre.Version) { v.SealedKey = nil },
		"ids that run into each other": func(v *lacre.Version) {
			v.ProjectID, v.CertificateID = v.ProjectID+v.CertificateID[:1], v.CertificateID[1:]
		},
	} {
		v := *first
		edit(&v)
		key, err := lacre.OpenKey(t.Context(), sharedSealer, &v)
		if err == nil || key != nil {
			t.Errorf("%s: got a key, error %v, want an error and no key", name, err)
		}
	}
}

// What is sealed but no key is told apart without being shown.
func TestOpenKeyOfSomethingElse(t *testing.T) {
	w := newWorld(t)
	v := w.version(w.create(w.upload("web_cert", "www.a.test")), 1)
	_, err := lacre.OpenKey(t.Context(), plainSealer("clear text"), v)
	if err == nil || strings.Contains(err.Error(), "clear text") {
		t.Errorf("got error %v, want one that does not show the plaintext", err)
	}
}

package keypair_test

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"lacre/internal/testcert"
	"lacre/keypair"
)

func TestChainIsPutInOrder(t *testing.T) {
	root := testcert.NewCA(t, "root")
	leaf := root.Intermediate(t, "policy").Intermediate(t, "issuing").Leaf(t, hosts)
	own, issuing, policy := leaf.Chain[0], leaf.Chain[1], leaf.Chain[2]
	for name, c := range map[string]struct {
		sent     []*x509.Certificate
		warnings int
	}{
		"in order":            {[]*x509.Certificate{own, issuing, policy}, 0},
		"reversed":            {[]*x509.Certificate{policy, issuing, own}, 1},
		"leaf first, swapped": {[]*x509.Certificate{own, policy, issuing}, 1},
		"leaf last":           {[]*x509.Certificate{issuing, policy, own}, 1},
		"with the root":       {[]*x509.Certificate{own, issuing, policy, root.Cert}, 1},
		"root first":          {[]*x509.Certificate{root.Cert, own, issuing, policy}, 2},
		"duplicate":           {[]*x509.Certificate{own, issuing, issuing, policy}, 1},
		"everything at once":  {[]*x509.Certificate{root.Cert, policy, own, policy, issuing}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			pair := parse(t, pemOf(c.sent...), leaf.KeyPEM())
			checkPair(t, pair, leaf)
			if len(pair.Warnings) != c.warnings {
				t.Errorf("got warnings %q, want %d", pair.Warnings, c.warnings)
			}
		})
	}
}

func TestShortChains(t *testing.T) {
	leaf := testcert.NewCA(t, "root").Intermediate(t, "issuing").Leaf(t, hosts)
	if got := parse(t, leaf.CertPEM(), leaf.KeyPEM()); len(got.Chain) != 1 {
		t.Errorf("got a chain of %d for a leaf alone, want 1", len(got.Chain))
	}
	self := testcert.SelfSigned(t, hosts)
	checkPair(t, parse(t, self.CertPEM(), self.KeyPEM()), self)
}

func TestBrokenChains(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	root := testcert.NewCA(t, "root")
	good := root.Intermediate(t, "issuing")
	leaf := good.Leaf(t, hosts)
	under := func(opts ...testcert.Option) *testcert.Leaf {
		return root.Intermediate(t, "issuing", opts...).Leaf(t, hosts)
	}
	below := func(pathLen int) *testcert.Leaf {
		return root.Intermediate(t, "policy", testcert.With(func(c *x509.Certificate) {
			c.MaxPathLen, c.MaxPathLenZero = pathLen, pathLen == 0
		})).Intermediate(t, "issuing").Leaf(t, hosts)
	}
	for name, c := range map[string]struct {
		leaf *testcert.Leaf
		more []*x509.Certificate
		want keypair.Reason
	}{
		"sound":                     {leaf, nil, ""},
		"stranger":                  {leaf, []*x509.Certificate{testcert.NewCA(t, "stranger").Cert}, keypair.BrokenChain},
		"another leaf":              {leaf, []*x509.Certificate{good.Leaf(t, hosts).Cert}, keypair.BrokenChain},
		"renewed leaf, same key":    {leaf, []*x509.Certificate{good.Leaf(t, hosts, testcert.WithKey(leaf.Key)).Cert}, keypair.BrokenChain},
		"same name, other key":      {&testcert.Leaf{Key: leaf.Key, Chain: []*x509.Certificate{leaf.Cert}}, []*x509.Certificate{root.Intermediate(t, "issuing").Cert}, keypair.BrokenChain},
		"gap":                       {&testcert.Leaf{Key: leaf.Key, Chain: []*x509.Certificate{leaf.Cert}}, []*x509.Certificate{root.Cert}, keypair.BrokenChain},
		"issuer is no CA":           {under(testcert.NotCA()), nil, keypair.BrokenChain},
		"issuer may not sign":       {under(testcert.WithKeyUsage(x509.KeyUsageDigitalSignature)), nil, keypair.BrokenChain},
		"issuer without key usage":  {under(testcert.WithKeyUsage(0)), nil, ""},
		"issuer for clients only":   {under(testcert.WithExtKeyUsage(x509.ExtKeyUsageClientAuth)), nil, keypair.BrokenChain},
		"issuer expired":            {under(testcert.WithValidity(past.Add(-time.Hour), past)), nil, keypair.BrokenChain},
		"path length used up":       {below(0), nil, keypair.BrokenChain},
		"path length just enough":   {below(1), nil, ""},
		"issuer signed with SHA-1":  {under(testcert.WithSignature(x509.ECDSAWithSHA1)), nil, keypair.Invalid},
		"issuer with RSA 1024":      {under(testcert.WithRSA(1024)), nil, keypair.Invalid},
		"ten certificates":          {deep(t, 9), nil, ""},
		"eleven certificates":       {deep(t, 10), nil, keypair.BrokenChain},
		"forged self-signature":     {forged(t), nil, keypair.BrokenChain},
		"self-signed and something": {testcert.SelfSigned(t, hosts), []*x509.Certificate{good.Cert}, keypair.BrokenChain},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keypair.Parse(pemOf(append(slices.Clone(c.leaf.Chain), c.more...)...), c.leaf.KeyPEM(), time.Now())
			if got := reason(t, err, "cert_content"); got != c.want {
				t.Errorf("got reason %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// deep is a leaf under n intermediates.
func deep(t *testing.T, n int) *testcert.Leaf {
	ca := testcert.NewCA(t, "root")
	for i := range n {
		ca = ca.Intermediate(t, string(rune('a'+i)))
	}
	return ca.Leaf(t, hosts)
}

// forged is a leaf that names itself as its issuer but was signed by another key.
func forged(t *testing.T) *testcert.Leaf {
	leaf := testcert.NewCA(t, "www.a.test", testcert.With(func(c *x509.Certificate) {
		c.Subject.Organization, c.SubjectKeyId = nil, nil
	})).Leaf(t, hosts, testcert.With(func(c *x509.Certificate) { c.SubjectKeyId = nil }))
	return leaf
}

// A root that is cross-signed by an older one may be sent with both its certificates:
// the way up that has to be sent is the one through the cross-signature.
func TestCrossSignedRoot(t *testing.T) {
	oldRoot, newRoot := testcert.NewCA(t, "old root"), testcert.NewCA(t, "new root")
	cross := oldRoot.Intermediate(t, "new root", testcert.WithKey(newRoot.Key))
	leaf := newRoot.Intermediate(t, "issuing").Leaf(t, hosts)
	want := &testcert.Leaf{Chain: append(slices.Clone(leaf.Chain), cross.Cert)}
	for name, sent := range map[string][]*x509.Certificate{
		"root first":  {leaf.Chain[0], leaf.Chain[1], newRoot.Cert, cross.Cert},
		"cross first": {leaf.Chain[0], leaf.Chain[1], cross.Cert, newRoot.Cert},
	} {
		t.Run(name, func(t *testing.T) {
			pair := parse(t, pemOf(sent...), leaf.KeyPEM())
			checkPair(t, pair, want)
			if len(pair.Warnings) != 1 {
				t.Errorf("got warnings %q, want one", pair.Warnings)
			}
		})
	}
}

// A CA that changed its key may sign its new key with the old one under one name; only
// the key identifiers tell who signed whom.
func TestKeyRollover(t *testing.T) {
	before := testcert.NewCA(t, "root").Intermediate(t, "issuing")
	leaf := before.Intermediate(t, "issuing", testcert.With(func(c *x509.Certificate) {
		c.AuthorityKeyId = before.Cert.SubjectKeyId
	})).Leaf(t, hosts)
	own, after := leaf.Chain[0], leaf.Chain[1]
	for name, sent := range map[string][]*x509.Certificate{
		"new key first": {own, after, before.Cert},
		"old key first": {own, before.Cert, after},
	} {
		t.Run(name, func(t *testing.T) { checkPair(t, parse(t, pemOf(sent...), leaf.KeyPEM()), leaf) })
	}
}

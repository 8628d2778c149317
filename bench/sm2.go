package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"lacre/tlcp"
)

// sm2Part is the table of these figures.
const sm2Part = "SM2 and TLCP beside TLS 1.3"

// namedEdge is an edge under another name in the report.
type namedEdge struct {
	*lacreEdge
	as string
}

func (e namedEdge) name() string { return e.as }

// sm2 measures two lacres in turns, one with an SM2 certificate on its domain beside the
// ECC one and one without: TLS 1.3 handshakes of both, whose ratio is what TLCP costs
// TLS, and TLCP handshakes of the first.
func (b *bench) sm2(ctx context.Context) error {
	ca, err := newAuthority(ecc)
	if err != nil {
		return err
	}
	pairs, err := ca.pairs(1)
	if err != nil {
		return err
	}
	m := &measuring{bench: b, ca: ca, pairs: pairs, part: sm2Part}
	defer m.stop()
	for _, name := range []string{"lacre", "lacre without SM2"} {
		e, err := newLacreEdge(ctx, b.binary, b.report.Versions["lacre"], filepath.Join(b.dir, "sm2", name), pairs, "127.0.0.1:9")
		if err != nil {
			return err
		}
		m.edges = append(m.edges, namedEdge{e, name})
		if err := e.lacreNode.start(); err != nil {
			return err
		}
		if err := e.login(); err != nil {
			return err
		}
	}
	if err := m.edges[0].(namedEdge).bindSM2(hostName(0)); err != nil {
		return err
	}
	if err := m.besideSM2(ctx); err != nil {
		return err
	}
	for m.turn = range m.rounds {
		if err := m.driven(ctx, m.edges[0], "full TLCP handshakes, ECC_SM4_GCM_SM3", "tlcp", load{conns: handshakeConns, seconds: handshakeSeconds}); err != nil {
			return err
		}
	}
	return b.bulk()
}

// besideSM2 has both edges make TLS handshakes, in short turns of which each goes first as
// often as the other. What a disturbance adds to one turn or takes from it shows in one
// ratio, of which the median is reported. The TLCP handshakes come later: what a load
// leaves to be cleaned up would be charged to the next.
func (m *measuring) besideSM2(ctx context.Context) error {
	const spent = "full handshakes: server CPU of one"
	for m.turn = range 8 * m.rounds {
		cost := map[string]float64{}
		for i := range m.edges {
			e := m.edges[(i+m.turn)%len(m.edges)]
			if err := m.driven(ctx, e, "full handshakes", "handshakes", load{conns: handshakeConns, seconds: 1}); err != nil {
				return err
			}
			cost[e.name()] = m.last(spent, e.name())
		}
		if m.turn > 0 { // the first warms up
			m.report.gather(m.part, "TLS 1.3 with SM2: CPU of a handshake without it by that with it (goal 0.98)", "lacre", "",
				cost["lacre without SM2"]/cost["lacre"])
		}
	}
	return nil
}

// last is the value that a figure got last.
func (m *measuring) last(what, who string) float64 {
	for _, f := range m.report.Figures {
		if f.Part == m.part && f.What == what && f.Who == who {
			return f.values[len(f.values)-1]
		}
	}
	return 0
}

// bindSM2 uploads an SM2 certificate for a host and binds it to the host's domain.
func (e namedEdge) bindSM2(host string) error {
	enc, sign, err := newSM2Pairs(host)
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"id"`
	}
	form := map[string]any{"name": "bench_sm2", "algorithm_type": "SM2", "cert_content": enc.cert, "private_key": enc.key,
		"cert_content_sign": sign.cert, "private_key_sign": sign.key}
	if _, err := e.do(http.MethodPost, e.root()+"/certificates", form, &made); err != nil {
		return err
	}
	_, err = e.do(http.MethodPost, e.root()+"/certificates/"+made.ID+"/domains/attach",
		map[string]any{"domains": []any{map[string]any{"domain": host}}}, nil)
	return err
}

// sm2Pair is one of the two pairs.
type sm2Pair struct {
	pair
	private *sm2.PrivateKey
}

// newSM2Pairs makes a root and both pairs of a host.
func newSM2Pairs(host string) (enc, sign *sm2Pair, err error) {
	rootKey, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench SM2 root"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 90)}
	issue := func(serial int64, usage x509.KeyUsage) (*sm2Pair, error) {
		key, err := sm2.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
			KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: root.NotBefore, NotAfter: root.NotAfter}
		der, err := smx509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey)
		if err != nil {
			return nil, err
		}
		keyDER, err := smx509.MarshalPKCS8PrivateKey(key)
		text := func(kind string, der []byte) string {
			return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		}
		return &sm2Pair{pair{cert: text("CERTIFICATE", der), key: text("PRIVATE KEY", keyDER), leaf: der}, key}, err
	}
	enc, err1 := issue(2, x509.KeyUsageKeyEncipherment|x509.KeyUsageDataEncipherment|x509.KeyUsageKeyAgreement)
	sign, err2 := issue(3, x509.KeyUsageDigitalSignature)
	return enc, sign, errors.Join(err1, err2)
}

// tlcpHandshakes makes full TLCP handshakes, one after the other, each on a new connection.
func (l load) tlcpHandshakes(ctx context.Context, t *tally) error {
	config := &tlcp.Config{ServerName: hostName(0), InsecureSkipVerify: true, CipherSuites: []uint16{tlcp.ECC_SM4_GCM_SM3}}
	for ctx.Err() == nil {
		start := time.Now()
		t.did(start, l.tlcpHandshake(config))
	}
	return nil
}

func (l load) tlcpHandshake(config *tlcp.Config) error {
	conn, err := net.DialTimeout("tcp", l.addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return tlcp.Client(conn, config).Handshake()
}

// bulk measures SM4-GCM records through one connection, both ends in this process.
func (b *bench) bulk() error {
	enc, sign, err := newSM2Pairs(hostName(0))
	if err != nil {
		return err
	}
	keys, err := tlcp.NewKeyPair([][]byte{sign.leaf}, sign.private, [][]byte{enc.leaf}, enc.private)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	const size = 256 << 20
	go func() {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		conn := tlcp.Server(raw, &tlcp.Config{KeyPair: keys})
		defer conn.Close()
		block := make([]byte, 1<<20)
		for range size / len(block) {
			if _, err := conn.Write(block); err != nil {
				return // the reader says what it missed
			}
		}
	}()
	raw, err := net.DialTimeout("tcp", l.Addr().String(), patience)
	if err != nil {
		return err
	}
	conn := tlcp.Client(raw, &tlcp.Config{ServerName: hostName(0), InsecureSkipVerify: true, CipherSuites: []uint16{tlcp.ECC_SM4_GCM_SM3}})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		return err
	}
	start := time.Now()
	n, err := io.Copy(io.Discard, conn)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	b.report.add(sm2Part, "SM4-GCM through one connection, both ends on this machine", "lacre", "MB/s", "", float64(n)/1e6/time.Since(start).Seconds())
	return err
}

package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// The load of the edges.
const (
	handshakeConns   = 16
	handshakeSeconds = 3
	requestConns     = 32
	requestSeconds   = 2
)

// edges measures lacre's edge beside its peers, each pinned to one core with the load
// generator on the other: the same certificates, the same client, in turns. ECC gets
// everything, RSA the handshakes.
func (b *bench) edges(ctx context.Context) error {
	upstream, stop, err := b.startUpstream()
	if err != nil {
		return err
	}
	defer stop()
	for _, n := range b.certs {
		if err := b.edgesOf(ctx, ecc, n, upstream); err != nil {
			return fmt.Errorf("edges with %d certificates: %w", n, err)
		}
	}
	if err := b.edgesOf(ctx, rs2, b.certs[0], upstream); err != nil {
		return fmt.Errorf("edges with %s: %w", rs2, err)
	}
	return nil
}

// startUpstream starts the tiny server that all edges proxy to, on the generator's core.
func (b *bench) startUpstream() (address string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	p, err := start(b.dir, "upstream", loadCore, self, "upstream", address)
	if err != nil {
		return "", nil, err
	}
	err = p.until(func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return address, p.stop, err
}

func (b *bench) edgesOf(ctx context.Context, kind string, n int, upstream string) error {
	ca, err := newAuthority(kind)
	if err != nil {
		return err
	}
	pairs, err := ca.pairs(n)
	if err != nil {
		return err
	}
	all, err := b.newEdges(ctx, kind, pairs, upstream)
	if err != nil {
		return err
	}
	m := &measuring{bench: b, ca: ca, pairs: pairs, part: fmt.Sprintf("Edges side by side, %s, %d certificates", kind, len(pairs)), edges: all}
	defer m.stop()
	if err := m.startAll(ctx, kind == ecc); err != nil {
		return err
	}
	if err := m.inTurns(ctx, (*measuring).handshakes); err != nil || kind != ecc {
		return err
	}
	for _, more := range []func(*measuring, context.Context, edge) error{(*measuring).handshakes12, (*measuring).resumed13, (*measuring).resumed12} {
		if err := m.inTurns(ctx, more); err != nil {
			return err
		}
	}
	for _, e := range all {
		if err := m.memory(e, "after the handshakes"); err != nil {
			return err
		}
	}
	if err := m.inTurns(ctx, (*measuring).requests); err != nil {
		return err
	}
	for _, e := range all {
		if err := m.idle(e); err != nil {
			return fmt.Errorf("%s: %w", e.name(), err)
		}
	}
	return m.inTurns(ctx, (*measuring).rotations)
}

// newEdges prepares every edge that is installed. What is not is said in the report.
func (b *bench) newEdges(ctx context.Context, kind string, pairs []pair, upstream string) ([]edge, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("edges-%s-%d", strings.ReplaceAll(kind, " ", "-"), len(pairs))) // configurations want no spaces
	ours, err := newLacreEdge(ctx, b.binary, b.report.Versions["lacre"], dir, pairs, upstream)
	if err != nil {
		return nil, err
	}
	all := []edge{ours}
	if kind == rs2 {
		if all, err = b.withOpenSSL(ctx, all, filepath.Join(dir, "openssl"), pairs, upstream); err != nil {
			return nil, err
		}
	}
	for _, peer := range []struct {
		binary string
		make   func(dir, binary string, pairs []pair, upstream string) (edge, error)
	}{{"nginx", newNginx}, {"haproxy", newHAProxy}, {b.caddy, newCaddy}} {
		path, err := exec.LookPath(peer.binary)
		if err != nil {
			b.report.missing("%s (%s): it is not installed here", filepath.Base(peer.binary), kind)
			continue
		}
		e, err := peer.make(dir, path, pairs, upstream)
		if err != nil {
			return nil, fmt.Errorf("preparing %s: %w", path, err)
		}
		b.report.Versions[e.name()] = e.version()
		all = append(all, e)
	}
	return all, nil
}

// withOpenSSL adds the build of lacre that has OpenSSL sign with RSA, if it was made (make
// openssl).
func (b *bench) withOpenSSL(ctx context.Context, all []edge, dir string, pairs []pair, upstream string) ([]edge, error) {
	binary, name := b.binary+"-openssl", "lacre with OpenSSL"
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		b.report.missing("%s: it was not built (make openssl)", name)
		return all, nil
	}
	b.report.Versions[name] = "lacre built with " + info.GoVersion + revisionOf(info) + ", tag openssl"
	e, err := newLacreEdge(ctx, binary, b.report.Versions[name], dir, pairs, upstream)
	return append(all, namedEdge{e, name}), err
}

// measuring is one comparison of edges.
type measuring struct {
	*bench
	ca    *authority
	pairs []pair
	part  string
	edges []edge
	turn  int
}

func (m *measuring) stop() {
	for _, e := range m.edges {
		if e.proc() != nil {
			e.proc().stop()
		}
	}
}

// looked is how many hosts of each edge a client that verifies looks at, one by one, before
// anything else is measured.
const looked = 2000

// startAll starts every edge, several times if the start is to be measured and does not
// take minutes, and looks at its certificates.
func (m *measuring) startAll(ctx context.Context, measured bool) error {
	rounds := 1
	if measured && len(m.pairs) < 5000 {
		rounds = m.rounds + 2
	}
	for round := range rounds {
		for _, e := range m.edges {
			if round > 0 {
				e.proc().stop()
			}
			ms, err := firstServed(e, hostName(len(m.pairs)-1))
			if err != nil {
				return err
			}
			m.talkf("%s: first handshake after %.0f ms", e.name(), ms)
			if measured {
				m.collect("process start to first handshake", e, "ms", ms)
			}
		}
	}
	for _, e := range m.edges {
		if err := m.look(ctx, e, measured); err != nil {
			return fmt.Errorf("%s, first look: %w", e.name(), err)
		}
	}
	return nil
}

// look waits until an edge has loaded everything, makes a handshake for each host, which
// opens the keys of those that open them on first use, and then looks at certificates.
func (m *measuring) look(ctx context.Context, e edge, measured bool) error {
	if ours, ok := e.(interface{ settle() error }); ok { // a lacre
		if err := ours.settle(); err != nil {
			return err
		}
	}
	if measured {
		if err := m.memory(e, "idle after the start"); err != nil {
			return err
		}
	}
	every := load{conns: handshakeConns, seconds: max(patience.Seconds(), float64(len(m.pairs))/100)}
	if err := m.driven(ctx, e, "full handshakes, the first of each host", "first", every); err != nil {
		return err
	}
	step := max(1, len(m.pairs)/looked)
	for i := 0; i < len(m.pairs); i += step {
		if err := served(e.address(), m.ca, i, m.pairs[i]); err != nil {
			return err
		}
	}
	return nil
}

// inTurns gives every edge its turn in each round, so that what else the machine does
// meets all alike.
func (m *measuring) inTurns(ctx context.Context, measure func(*measuring, context.Context, edge) error) error {
	for m.turn = range m.rounds {
		for _, e := range m.edges {
			if err := measure(m, ctx, e); err != nil {
				return fmt.Errorf("%s: %w", e.name(), err)
			}
		}
	}
	return nil
}

func (m *measuring) handshakes(ctx context.Context, e edge) error {
	return m.driven(ctx, e, "full handshakes", "handshakes", load{conns: handshakeConns, seconds: handshakeSeconds})
}

func (m *measuring) requests(ctx context.Context, e edge) error {
	return m.driven(ctx, e, "proxied keep-alive requests", "requests", load{conns: requestConns, seconds: requestSeconds})
}

func (m *measuring) handshakes12(ctx context.Context, e edge) error {
	return m.driven(ctx, e, "full TLS 1.2 handshakes", "handshakes12", load{conns: handshakeConns, seconds: handshakeSeconds})
}

func (m *measuring) resumed13(ctx context.Context, e edge) error {
	return m.driven(ctx, e, "resumed TLS 1.3 handshakes", "resumed13", load{conns: handshakeConns, seconds: handshakeSeconds})
}

func (m *measuring) resumed12(ctx context.Context, e edge) error {
	return m.driven(ctx, e, "resumed TLS 1.2 handshakes", "resumed12", load{conns: handshakeConns, seconds: handshakeSeconds})
}

// driven puts an edge under load and collects rate, latency and the edge's CPU time.
func (m *measuring) driven(ctx context.Context, e edge, what, kind string, l load) error {
	_, err := m.outcome(ctx, e, what, kind, l)
	return err
}

// outcome is driven, with what the generator said.
func (m *measuring) outcome(ctx context.Context, e edge, what, kind string, l load) (o outcome, err error) {
	l.addr, l.hosts = e.address(), len(m.pairs)
	before, err := cpuOf(e.proc().pid())
	if err != nil {
		return o, err
	}
	if err := e.proc().profile(); err != nil {
		return o, err
	}
	o, err = drive(ctx, kind, l)
	if err = errors.Join(err, e.proc().profile()); err != nil {
		return o, err
	}
	after, err := cpuOf(e.proc().pid())
	if err != nil {
		return o, err
	}
	used := after - before
	m.talkf("%s: %.0f %s/s", e.name(), float64(o.Done)/o.Seconds, kind)
	m.collect(what+" a second", e, "1/s", float64(o.Done)/o.Seconds)
	m.collect(what+": server CPU of one", e, "µs", micros(used)/float64(o.Done))
	m.collect(what+": share of its core the server used", e, "%", 100*used.Seconds()/o.Seconds)
	m.collect(what+", "+strconv.Itoa(l.conns)+" clients: time of one", e, "ms", o.Latencies...)
	return o, nil
}

func (m *measuring) collect(what string, e edge, unit string, values ...float64) {
	m.report.gather(m.part, what, e.name(), unit, values...)
}

func (m *measuring) memory(e edge, when string) error {
	now, err := memoryOf(e.proc().pid())
	m.collect("resident anonymous memory "+when, e, "MiB", mebi(now.anonymous))
	m.collect("resident pages of mapped files "+when, e, "MiB", mebi(now.file))
	return err
}

// rotations replaces a few certificates, one after the other.
func (m *measuring) rotations(ctx context.Context, e edge) error {
	for n := range 3 {
		i := (3*m.turn + n) % len(m.pairs)
		p, err := m.ca.pair(hostName(i))
		if err != nil {
			return err
		}
		peak := watchPeak(e.proc().pid())
		ms, err := rotated(ctx, e, i, p)
		anonymous := peak()
		if err != nil {
			return err
		}
		m.collect("rotation of one certificate until it is served", e, "ms", ms)
		m.collect("rotation: most resident anonymous memory meanwhile", e, "MiB", mebi(anonymous))
	}
	return nil
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"time"
)

// resumedHosts is how many hosts each connection of a load of resumed handshakes has
// sessions of. Getting them takes full handshakes, which must not weigh in what is measured.
const resumedHosts = 4

var errNotResumed = errors.New("the session was not resumed")

// resumed13 makes resumed TLS 1.3 handshakes (psk_dhe_ke: RFC 8446, section 2.2), each on a
// new connection and for a random one of a few hosts.
func (l load) resumed13(ctx context.Context, t *tally) error {
	return l.resumed(ctx, t, tls.VersionTLS13)
}

// resumed12 is resumed13 with TLS 1.2 (session tickets: RFC 5077).
func (l load) resumed12(ctx context.Context, t *tally) error {
	return l.resumed(ctx, t, tls.VersionTLS12)
}

func (l load) resumed(ctx context.Context, t *tally, version uint16) error {
	clients := make([]*tls.Config, resumedHosts)
	for i := range clients {
		clients[i] = &tls.Config{ServerName: hostName(mathrand.IntN(l.hosts)), InsecureSkipVerify: true,
			MinVersion: version, MaxVersion: version, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
			ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		conn, err := l.once(clients[i]) // a client has its ticket once it has read an answer
		if err != nil {
			return fmt.Errorf("getting a session: %w", err)
		}
		conn.Close()
	}
	for ctx.Err() == nil {
		start := time.Now()
		t.did(start, l.resume(clients[mathrand.IntN(resumedHosts)]))
	}
	return nil
}

func (l load) resume(client *tls.Config) error {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", l.addr, client)
	if err != nil {
		return err
	}
	defer conn.Close()
	if !conn.ConnectionState().DidResume {
		return errNotResumed
	}
	return nil
}

package tlcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// A read that timed out in the middle of a record goes on where it was.
func TestReadDeadline(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	client, server := mustShake(t, &Config{RootCAs: k.ca.pool, ServerName: testName}, &Config{KeyPair: k.server})
	record, err := server.out.appendRecord(nil, nil, recordApplicationData, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	for i := range record {
		_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := client.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v after %d bytes, want %v", err, i, os.ErrDeadlineExceeded)
		}
		if _, err := server.conn.Write(record[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := client.Read(got); err != nil || string(got[:n]) != "hello" {
		t.Errorf("got %q, %v, want hello", got[:n], err)
	}
}

// A write that timed out may have sent half a record: nothing more goes out.
func TestWriteDeadline(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	client, _ := mustShake(t, &Config{RootCAs: k.ca.pool, ServerName: testName}, &Config{KeyPair: k.server})
	_ = client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	var err error
	for err == nil {
		_, err = client.Write(make([]byte, 1<<20)) // nobody reads
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	_ = client.SetWriteDeadline(time.Time{})
	if n, err := client.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d, %v, want the error again", n, err)
	}
}

// Close ends a Write that nobody reads, and a second Close says so.
func TestCloseDuringWrite(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	client, _ := mustShake(t, &Config{RootCAs: k.ca.pool, ServerName: testName}, &Config{KeyPair: k.server})
	_ = client.SetDeadline(time.Time{})
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = client.Write(make([]byte, 1<<20))
		}
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond)
	if err := client.Close(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want %v", err, net.ErrClosed)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("got a Write that goes on after Close")
	}
	if err := client.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

func TestHandshakeContext(t *testing.T) {
	t.Parallel()
	c, _ := tcpPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	client := Client(c, &Config{ServerName: testName})
	if err := client.HandshakeContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := client.Write([]byte("x")); err == nil {
		t.Error("got a Write after a failed handshake, want its error")
	}
	if client.ConnectionState().HandshakeComplete {
		t.Error("got a complete handshake")
	}
}

// Readers, writers, who looks at the state and who handshakes may do so all at once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	c, s := tcpPair(t)
	client := Client(c, &Config{RootCAs: k.ca.pool, ServerName: testName, NextProtos: []string{"h2"}})
	server := Server(s, &Config{KeyPair: k.server, NextProtos: []string{"h2"}})
	var wait sync.WaitGroup
	for _, conn := range []*Conn{client, server} {
		for range 3 {
			wait.Go(func() {
				if _, err := conn.Write(bytes.Repeat([]byte("x"), 50_000)); err != nil {
					t.Error(err)
				}
				if err := conn.Handshake(); err != nil || conn.ConnectionState().NegotiatedProtocol != "h2" {
					t.Errorf("got %v", err)
				}
			})
			wait.Go(func() {
				if _, err := io.ReadFull(conn, make([]byte, 50_000)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
}

// A fatal alert ends the session too, when it went by ID.
func TestFatalAlertForgets(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	sc := &Config{KeyPair: k.server, SessionCache: NewSessionCache(1)}
	cc := &Config{RootCAs: k.ca.pool, ServerName: testName, ClientSessionCache: NewClientSessionCache(1)}
	client, server := mustShake(t, cc, sc)
	session, _ := cc.ClientSessionCache.Get(testName)
	if _, ok := sc.SessionCache.Get(string(session.id)); !ok {
		t.Fatal("got no session under its ID")
	}
	if _, err := client.conn.Write(append(header(23, Version, 32), make([]byte, 32)...)); err != nil {
		t.Fatal(err)
	}
	_, err := server.Read(make([]byte, 1))
	wantAlert(t, "server", err, AlertBadRecordMAC, false)
	_, err = client.Read(make([]byte, 1))
	wantAlert(t, "client", err, AlertBadRecordMAC, true)
	if _, ok := sc.SessionCache.Get(string(session.id)); ok {
		t.Error("server: got the session still, want it forgotten")
	}
	if _, ok := cc.ClientSessionCache.Get(testName); ok {
		t.Error("client: got the session still, want it forgotten")
	}
}

func TestKeyLog(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	var ours, theirs bytes.Buffer
	mustShake(t, &Config{RootCAs: k.ca.pool, ServerName: testName, KeyLogWriter: &theirs}, &Config{KeyPair: k.server, KeyLogWriter: &ours})
	var random, master []byte
	if n, err := fmt.Sscanf(ours.String(), "CLIENT_RANDOM %x %x\n", &random, &master); n != 2 || err != nil || len(random) != 32 || len(master) != masterLen {
		t.Errorf("got %q, want a random and a master secret", ours.String())
	}
	equal(t, "key log", ours.Bytes(), theirs.Bytes())
}

// A client of no name and no excuse is a mistake; one that skips verification is not.
func TestClientNeedsName(t *testing.T) {
	t.Parallel()
	c, _ := tcpPair(t)
	if err := Client(c, &Config{}).Handshake(); err == nil {
		t.Error("got no error from a client without a name")
	}
	if err := Client(c, &Config{ServerName: testName, CipherSuites: []uint16{ECDHE_SM4_GCM_SM3}}).Handshake(); err == nil {
		t.Error("got no error from a client of ECDHE without a key pair")
	}
	k := newTestPKI(t)
	client, _ := mustShake(t, &Config{InsecureSkipVerify: true}, &Config{KeyPair: k.server})
	if chains := client.ConnectionState().VerifiedChains; chains != nil {
		t.Errorf("got %d verified chains, want none", len(chains))
	}
	// An IP address is verified, and not sent as a name.
	_, server := mustShake(t, &Config{RootCAs: k.ca.pool, ServerName: "127.0.0.1"}, &Config{KeyPair: k.server})
	if name := server.ConnectionState().ServerName; name != "" {
		t.Errorf("got the name %q, want none", name)
	}
}

// A peer that goes away in the handshake is no orderly end to who reads.
func TestEndInHandshake(t *testing.T) {
	t.Parallel()
	k := newTestPKI(t)
	for name, last := range map[string][]byte{"FIN": nil, "close_notify": append(header(21, Version, 2), 1, 0)} {
		c, s := tcpPair(t)
		if _, err := c.Write(last); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		server := Server(s, &Config{KeyPair: k.server})
		if err := server.Handshake(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: handshake: got %v, want %v", name, err, io.EOF)
		}
		if _, err := io.ReadAll(server); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: read: got %v, want %v", name, err, io.ErrUnexpectedEOF)
		}
	}
}

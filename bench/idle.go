package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// idleConns is how many connections are kept open at once. 20,000 descriptors are a usual
// limit.
const idleConns = 10_000

// idle measures what a connection costs that has made a request and is kept for another.
func (m *measuring) idle(e edge) error {
	before, err := memoryOf(e.proc().pid())
	if err != nil {
		return err
	}
	kept := make([]net.Conn, idleConns)
	defer func() {
		for _, c := range kept {
			if c != nil {
				c.Close()
			}
		}
	}()
	l := load{addr: e.address(), hosts: len(m.pairs)}
	err = sideBySide(idleConns, func(i int) error {
		var err error
		kept[i], err = l.once(&tls.Config{ServerName: hostName(i % l.hosts), InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
		return err
	})
	if err != nil {
		return fmt.Errorf("opening %d connections: %w", idleConns, err)
	}
	m.talkf("%s: %d connections kept", e.name(), idleConns)
	time.Sleep(settling)
	after, err := memoryOf(e.proc().pid())
	m.collect(fmt.Sprintf("%d idle keep-alive connections: anonymous memory for each", idleConns), e, "KiB",
		float64(after.anonymous-before.anonymous)/1024/idleConns)
	return err
}

// once makes one request on a new connection, which is returned.
func (l load) once(client *tls.Config) (net.Conn, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", l.addr, client)
	if err != nil {
		return nil, err
	}
	status, _, err := newKeepAlive(conn).do([]byte("GET / HTTP/1.1\r\nHost: " + client.ServerName + "\r\n\r\n"))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("HTTP %d", status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

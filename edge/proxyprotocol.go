package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// The PROXY protocol, version 2 (haproxy.org, doc/proxy-protocol.txt, section 2.2): a
// signature, version and command, family and transport, the length of what follows, and
// in it both addresses and any number of TLVs, which mean nothing here.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyHeadSize  = len(proxySignature) + 4
	proxyLocal     = 0x20 // the proxy speaks for itself, as in a health check
	proxyProxy     = 0x21
	proxyTCP4      = 0x11
	proxyTCP6      = 0x21
)

var (
	errProxyAbsent  = errors.New("no PROXY protocol header")
	errProxyVersion = errors.New("PROXY protocol version 1, want version 2 (HAProxy: send-proxy-v2)")
)

// introduce learns from a listed proxy for whom it speaks. It closes c and is false when
// that cannot be learned: the wrong address would be worse than none.
func (e *Edge) introduce(c *conn) bool {
	if !e.mustIntroduce(addrPort(c.Conn.RemoteAddr()).Addr()) {
		return true
	}
	client, server, err := readProxyHeader(c.Conn)
	if err == nil {
		c.client, c.server = client, server
		return true
	}
	if err != io.EOF { // one that only tries the port says nothing
		e.metrics.badIntroductions.Inc()
		e.sampled.warn(e.log, "a listed proxy did not say for whom it connects", "err", err, "proxy", c.Conn.RemoteAddr())
	}
	_ = c.Close() // the peer sees the close, which is all there is to tell it
	return false
}

// mustIntroduce tells whether peer is listed. A prefix has no zone, and would contain no
// link-local address that has one.
func (e *Edge) mustIntroduce(peer netip.Addr) bool {
	peer = peer.WithZone("")
	return slices.ContainsFunc(e.cfg.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// readProxyHeader reads exactly one header from r. The addresses are not valid when the
// header names none that could be a client's: then those of the connection count. The
// error is io.EOF when r ends before the first byte.
func readProxyHeader(r io.Reader) (client, server netip.AddrPort, err error) {
	var head [proxyHeadSize]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n > 0 && !bytes.HasPrefix([]byte(proxySignature), head[:n]) {
			return client, server, misintroduced(head[:n])
		}
		return client, server, err
	}
	if !bytes.HasPrefix(head[:], []byte(proxySignature)) {
		return client, server, misintroduced(head[:])
	}
	command, family := head[12], head[13]
	if command != proxyLocal && command != proxyProxy {
		return client, server, fmt.Errorf("PROXY protocol version and command %#02x, want version 2, LOCAL or PROXY", command)
	}
	rest := io.LimitedReader{R: r, N: int64(binary.BigEndian.Uint16(head[14:]))}
	if command == proxyProxy {
		if client, server, err = readProxyAddresses(&rest, family); err != nil {
			return client, server, err
		}
	}
	if _, err = io.Copy(io.Discard, &rest); err == nil && rest.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return client, server, err
}

// readProxyAddresses reads the addresses of TCP over IPv4 or IPv6. Any other family has
// none that are of use (a socket of the proxy's own machine).
func readProxyAddresses(r io.Reader, family byte) (client, server netip.AddrPort, err error) {
	size := 0
	switch family {
	case proxyTCP4:
		size = 4
	case proxyTCP6:
		size = 16
	default:
		return client, server, nil
	}
	b := make([]byte, 2*size+4)
	if _, err := io.ReadFull(r, b); err != nil {
		return client, server, fmt.Errorf("PROXY protocol header too short for family %#02x: %w", family, io.ErrUnexpectedEOF)
	}
	from, _ := netip.AddrFromSlice(b[:size]) // 4 or 16 bytes are an address
	to, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	return netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(ports[2:])), nil
}

// misintroduced says what came instead of a header.
func misintroduced(head []byte) error {
	if bytes.HasPrefix(head, []byte("PROXY ")) {
		return errProxyVersion
	}
	return errProxyAbsent
}

// proxyHeader is the header that names client and server to an upstream. Addresses that are
// not both known are left out: the upstream then sees those of the connection.
func proxyHeader(client, server netip.AddrPort) []byte {
	b := append([]byte(proxySignature), proxyProxy)
	switch {
	case !client.IsValid() || !server.IsValid():
		return append(b, 0, 0, 0)
	case client.Addr().Is4() && server.Addr().Is4():
		b = append(b, proxyTCP4, 0, 4+4+2+2)
		b = append(append(b, client.Addr().AsSlice()...), server.Addr().AsSlice()...)
	default: // As16 maps one of IPv4
		from, to := client.Addr().As16(), server.Addr().As16()
		b = append(append(append(b, proxyTCP6, 0, 16+16+2+2), from[:]...), to[:]...)
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, client.Port()), server.Port())
}

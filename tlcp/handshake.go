package tlcp

import (
	"crypto/subtle"
	"fmt"
	"sync"
)

// handshake is what both sides of a handshake keep until it ends.
type handshake struct {
	c          *Conn
	transcript transcript
	client     [32]byte // randoms
	server     [32]byte
	master     [masterLen]byte

	inward, outward protection // from the next ChangeCipherSpec on
}

// Bounds of messages. What is longer is refused when its length is read.
const (
	maxKeyExchange = 2 << 10
	maxSignature   = 1 << 10
	maxTicket      = 6 + 1<<16
)

// read returns the next message: its type, and its body after adding the whole to the
// transcript if add is set.
func (h *handshake) read(limit int, add bool) (typ byte, body []byte, err error) {
	c := h.c
	for {
		if len(c.hand) >= 4 {
			n := 4 + int(c.hand[1])<<16 + int(c.hand[2])<<8 + int(c.hand[3])
			if n > 4+limit {
				return 0, nil, refuse(AlertDecodeError, "handshake message %d has %d bytes, want at most %d", c.hand[0], n-4, limit)
			}
			if len(c.hand) >= n {
				whole := c.hand[:n:n]
				c.hand = c.hand[n:]
				if add {
					h.transcript.add(whole)
				}
				return whole[0], whole[4:], nil
			}
		}
		record, data, err := c.next()
		switch {
		case err != nil:
			return 0, nil, err
		case record != recordHandshake || len(data) == 0:
			return 0, nil, refuse(AlertUnexpectedMessage, "a record of type %d and %d bytes comes in the handshake", record, len(data))
		}
		if c.hand == nil {
			c.hand = make([]byte, 0, max(2<<10, len(data)))
		}
		c.hand = append(c.hand, data...)
	}
}

// expect reads a message that must have the given type.
func (h *handshake) expect(want byte, limit int) ([]byte, error) {
	typ, body, err := h.read(limit, true)
	if err == nil && typ != want {
		return nil, unexpected(typ, want)
	}
	return body, err
}

func unexpected(got, want byte) error {
	return refuse(AlertUnexpectedMessage, "handshake message %d came, want %d", got, want)
}

// nothingPending makes sure that the peer sent nothing ahead of its turn.
func (h *handshake) nothingPending() error {
	if len(h.c.hand) > 0 {
		return refuse(AlertUnexpectedMessage, "handshake bytes come where none may")
	}
	return nil
}

// write adds a message to the transcript and to the flight.
func (h *handshake) write(m []byte) (err error) {
	h.transcript.add(m)
	c := h.c
	c.flight, err = c.out.appendRecords(c.flight, c.config.rand(), recordHandshake, m)
	return err
}

// flush sends the flight with one write.
func (h *handshake) flush() error {
	c := h.c
	c.outMutex.Lock()
	defer c.outMutex.Unlock()
	_, err := c.conn.Write(c.flight)
	c.flight, c.out.err = c.flight[:0], err
	return err
}

// deriveKeys makes the protection of both directions from the master secret.
func (h *handshake) deriveKeys() error {
	block := keyBlock(&h.master, h.c.suite, &h.client, &h.server)
	client, server := directions(block, h.c.suite)
	h.inward, h.outward = client, server
	if h.c.isClient {
		h.inward, h.outward = server, client
	}
	clear(block)
	return h.logKey()
}

var keyLog sync.Mutex

func (h *handshake) logKey() error {
	if h.c.config.KeyLogWriter == nil {
		return nil
	}
	keyLog.Lock()
	defer keyLog.Unlock()
	_, err := fmt.Fprintf(h.c.config.KeyLogWriter, "CLIENT_RANDOM %x %x\n", h.client, h.master)
	return err
}

func finishedLabel(client bool) string {
	if client {
		return labelClient
	}
	return labelServer
}

// writeFinished adds ChangeCipherSpec and Finished to the flight.
func (h *handshake) writeFinished() (err error) {
	c := h.c
	c.flight, err = c.out.appendRecord(c.flight, c.config.rand(), recordChangeCipherSpec, []byte{1})
	if err != nil {
		return err
	}
	c.out.switchTo(h.outward)
	verify := verifyData(&h.master, finishedLabel(c.isClient), h.transcript.sum())
	return h.write(message(typeFinished, verify[:]))
}

// readFinished takes the peer's ChangeCipherSpec and Finished.
func (h *handshake) readFinished() error {
	if err := h.nothingPending(); err != nil {
		return err
	}
	c := h.c
	record, data, err := c.next()
	switch {
	case err != nil:
		return err
	case record != recordChangeCipherSpec || len(data) != 1 || data[0] != 1:
		return refuse(AlertUnexpectedMessage, "a record of type %d comes, want ChangeCipherSpec", record)
	}
	c.in.switchTo(h.inward)
	want := verifyData(&h.master, finishedLabel(!c.isClient), h.transcript.sum())
	body, err := h.expect(typeFinished, verifyLen)
	switch {
	case err != nil:
		return err
	case len(body) != verifyLen:
		return refuse(AlertDecodeError, "Finished has %d bytes, want %d", len(body), verifyLen)
	case subtle.ConstantTimeCompare(body, want[:]) != 1:
		return refuse(AlertDecryptError, "the peer's Finished is wrong")
	}
	return h.nothingPending()
}

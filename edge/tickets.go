package edge

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	// ticketAge is how long a ticket can be used, and the length of the period after
	// which other keys seal. One key is good for 2^32 tickets (NIST SP 800-38D, 8.3):
	// 49,000 a second of one certificate and policy over all nodes.
	ticketAge = 24 * time.Hour
	// ticketSkew is how far the clocks of two nodes may be apart.
	ticketSkew = 5 * time.Minute

	ticketFormat = 1
	ticketHeader = 1 + 4     // format, period
	ticketTimes  = 8 + 8     // born, until: Unix seconds, sealed
	maxState     = 12 * 1024 // a hello has 64 KiB at most, and old peers take less
	maxTicket    = maxState + 256
)

// life is how long a session may last: it was born when its peers proved who they are,
// and ends with its age or at until, whichever is first.
type life struct{ born, until time.Time }

// ticketKeys seals the sessions of one policy of one certificate version. It knows
// bytes only, so that any protocol can keep its sessions in tickets:
//
//	format (1) | period (4) | nonce (12) | AES-256-GCM of born (8) | until (8) | state | tag (16)
//
// Each period has a key of its own: HKDF-SHA256 of the cluster's secret and the label,
// which every node with that secret derives alike. What a label does not say is in the
// binding, the associated data of the seal. A ticket opens under the very label and
// binding it was sealed under, and nowhere else.
type ticketKeys struct {
	secret []byte
	label  []byte
	now    func() time.Time
	keys   [2]atomic.Pointer[ticketKey] // of odd and even periods: the current and the last
}

type ticketKey struct {
	period uint32
	aead   cipher.AEAD
}

// newTicketKeys derives nothing yet. Every part of the label is length-prefixed, and
// the purpose, which comes first, keeps protocols apart.
func newTicketKeys(secret []byte, now func() time.Time, purpose string, parts ...[]byte) *ticketKeys {
	label := []byte("lacre/ticket/v1")
	for _, part := range append([][]byte{[]byte(purpose)}, parts...) {
		label = binary.BigEndian.AppendUint32(label, uint32(len(part)))
		label = append(label, part...)
	}
	return &ticketKeys{secret: secret, label: label, now: now}
}

// seal makes a ticket of a session.
func (k *ticketKeys) seal(binding, state []byte, l life) ([]byte, error) {
	period := periodOf(k.now())
	aead, err := k.aead(period)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, ticketTimes+len(state))
	plain = binary.BigEndian.AppendUint64(plain, uint64(l.born.Unix()))
	plain = binary.BigEndian.AppendUint64(plain, uint64(l.until.Unix()))
	plain = append(plain, state...)
	ticket := make([]byte, 0, ticketHeader+len(plain)+aead.Overhead())
	ticket = binary.BigEndian.AppendUint32(append(ticket, ticketFormat), period)
	return aead.Seal(ticket, nil, plain, binding), nil
}

// open returns the session of a ticket and its life. It is not ok when the ticket was
// sealed elsewhere, under another label or binding, or is too old; none of
// these is an error: a full handshake follows.
func (k *ticketKeys) open(binding, ticket []byte) (state []byte, l life, ok bool) {
	if len(ticket) < ticketHeader || len(ticket) > maxTicket || ticket[0] != ticketFormat {
		return nil, l, false
	}
	now := k.now()
	period := binary.BigEndian.Uint32(ticket[1:])
	if at := periodOf(now); period+1 < at || period > at+1 {
		return nil, l, false // nothing is derived for periods long gone or to come
	}
	aead, err := k.aead(period)
	if err != nil {
		return nil, l, false
	}
	plain, err := aead.Open(nil, nil, ticket[ticketHeader:], binding)
	if err != nil || len(plain) < ticketTimes {
		return nil, l, false
	}
	l.born = time.Unix(int64(binary.BigEndian.Uint64(plain)), 0)
	l.until = time.Unix(int64(binary.BigEndian.Uint64(plain[8:])), 0)
	if now.Before(l.born.Add(-ticketSkew)) || now.After(l.born.Add(ticketAge)) || now.After(l.until) {
		return nil, l, false
	}
	return plain[ticketTimes:], l, true
}

// periodOf numbers the periods since 1970. Before that is period 0.
func periodOf(t time.Time) uint32 { return uint32(max(t.Unix(), 0) / int64(ticketAge/time.Second)) }

// aead returns the key of a period, derived at most once as long as periods do not
// alternate. It takes no lock: two that race derive the same key.
func (k *ticketKeys) aead(period uint32) (cipher.AEAD, error) {
	held := &k.keys[period%2]
	if key := held.Load(); key != nil && key.period == period {
		return key.aead, nil
	}
	info := string(binary.BigEndian.AppendUint32(k.label[:len(k.label):len(k.label)], period))
	raw, err := hkdf.Key(sha256.New, k.secret, nil, info, 32)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	held.Store(&ticketKey{period, aead})
	return aead, nil
}

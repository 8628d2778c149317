package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"lacre"
	"lacre/keypair"
)

const (
	openTimeout = 5 * time.Second // to unseal one key; the handshake waits for it
	openRetry   = 5 * time.Second // before a key that could not be opened is tried again
)

// keys opens private keys on first use and keeps a bounded number of them open. When
// it is full, the clock algorithm picks one that no handshake has used for a while.
type keys struct {
	max    int
	sealer lacre.Sealer
	now    func() time.Time

	mu   sync.Mutex
	ring []*version
	hand int
}

// open returns v ready to sign with. Once v is open it takes no lock.
func (k *keys) open(v *version) (*opened, error) {
	if o := v.opened.Load(); o != nil {
		if !o.used.Load() { // a plain load keeps the cache line shared
			o.used.Store(true)
		}
		return o, nil
	}
	return k.openCold(context.Background(), v)
}

// openCold opens v, once for all who ask at the same time. A failure is remembered for
// a moment: a client that connects again and again must not reach the Sealer each time.
func (k *keys) openCold(ctx context.Context, v *version) (*opened, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	v.opening.Lock()
	defer v.opening.Unlock()
	if o := v.opened.Load(); o != nil {
		return o, nil
	}
	if v.failed != nil && k.now().Before(v.retry) {
		return nil, v.failed
	}
	o, err := k.unseal(ctx, v)
	if err != nil {
		v.failed, v.retry = err, k.now().Add(openRetry)
		return nil, err
	}
	v.failed = nil
	k.keep(v, o)
	return o, nil
}

// unseal is the slow part: it may ask a key service, and it parses. The parsed leaf is
// kept, or crypto/tls would parse it in every handshake.
func (k *keys) unseal(ctx context.Context, v *version) (*opened, error) {
	if v.isSM2() {
		return k.unsealSM2(ctx, v)
	}
	key, leaf, err := lacre.OpenPair(ctx, k.sealer, v.record())
	if err != nil {
		return nil, err
	}
	if key, err = signerOf(key); err != nil {
		return nil, fmt.Errorf("certificate %s version %d: %w", v.served.key.id, v.number, err)
	}
	o := &opened{certificate: tls.Certificate{
		Certificate: append([][]byte{v.leaf}, v.chain.ders...), PrivateKey: key, Leaf: leaf,
	}, mustStaple: keypair.MustStaple(leaf)}
	o.used.Store(true)
	return o, nil
}

// keep adds v to the ring, in place of an idle one when the ring is full. A version that
// was dropped is not kept: only the handshake that asks for it now still uses it.
func (k *keys) keep(v *version, o *opened) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v.dropped {
		return
	}
	v.opened.Store(o)
	if len(k.ring) < k.max {
		k.ring = append(k.ring, v)
		v.slot = len(k.ring)
		return
	}
	victim := k.idle()
	victim.slot = 0
	victim.opened.Store(nil)
	k.ring[k.hand] = v
	v.slot = k.hand + 1
}

// idle moves the hand to a version whose key was not used since the hand last passed;
// at the second round at the latest there is one. It needs mu.
func (k *keys) idle() *version {
	for {
		k.hand = (k.hand + 1) % len(k.ring)
		v := k.ring[k.hand]
		if o := v.opened.Load(); o == nil || !o.used.Swap(false) {
			return v
		}
	}
}

// drop closes the key of a version that was superseded or is no longer served, for good.
// A handshake that chose it before still finishes with it.
func (k *keys) drop(v *version) {
	if v == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	v.dropped = true
	k.remove(v)
}

// close closes the key of a version until a handshake asks for it.
func (k *keys) close(v *version) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(v)
}

// remove takes v out of the ring. It needs mu.
func (k *keys) remove(v *version) {
	v.opened.Store(nil)
	if v.slot == 0 {
		return
	}
	last := len(k.ring) - 1
	k.ring[v.slot-1] = k.ring[last]
	k.ring[v.slot-1].slot = v.slot
	k.ring[last] = nil
	k.ring = k.ring[:last]
	v.slot = 0
}

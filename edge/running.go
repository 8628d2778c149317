package edge

import (
	"container/list"
	"errors"
	"hash/maphash"
	"sync"
	"time"
)

// subject is what running requests are found by when it changes: a domain, or a
// certificate by whose trust roots and revocation lists clients were let in.
type subject struct {
	domain      string  // its id
	certificate *served // instead of a domain
}

// running are the requests that are being proxied, WebSockets included, filed by what
// their admission rests on: a change finds those it concerns, and looks at no others.
// The zero value is not usable, see newRunning.
type running struct {
	seed   maphash.Seed
	shards [16]runningShard
}

type runningShard struct {
	mu sync.Mutex
	by map[subject]*list.List // of *exchange; never an empty one
}

// filed is where an exchange is filed.
type filed struct {
	under subject
	at    *list.Element
}

func newRunning() *running {
	r := &running{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].by = make(map[subject]*list.List)
	}
	return r
}

func (r *running) shard(of subject) *runningShard {
	return &r.shards[maphash.Comparable(r.seed, of)%uint64(len(r.shards))]
}

// file files x under a subject.
func (r *running) file(x *exchange, under subject) filed {
	s := r.shard(under)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.by[under]
	if l == nil {
		l = list.New()
		s.by[under] = l
	}
	return filed{under, l.PushBack(x)}
}

// take undoes file.
func (r *running) take(f filed) {
	s := r.shard(f.under)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.by[f.under]
	l.Remove(f.at)
	if l.Len() == 0 {
		delete(s.by, f.under)
	}
}

// under returns what is filed under a subject now.
func (r *running) under(of subject) (all []*exchange) {
	s := r.shard(of)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.by[of]; l != nil {
		for at := l.Front(); at != nil; at = at.Next() {
			all = append(all, at.Value.(*exchange))
		}
	}
	return all
}

// admission is the part of an exchange by which it is ended when it would not be let in
// any more. Its mutex orders the handler, which ends it, and whoever looks at it again.
type admission struct {
	mu    sync.Mutex
	site  *site // as of which it is filed
	filed []filed
	due   *time.Timer // see arm; nil if no client was verified
	over  bool        // its handler is done
	ended bool        // by abort
}

// follow files x by what admits it and tells whether it is admitted: in this order, so
// that a change either finds x or is seen by it. A site that was replaced meanwhile has
// x filed anew, since other certificates may count from now on.
func (e *Edge) follow(x *exchange) bool {
	x.admission.mu.Lock()
	defer x.admission.mu.Unlock()
	return e.followLocked(x)
}

func (e *Edge) followLocked(x *exchange) bool {
	for a := &x.admission; !a.over && !a.ended; {
		s := e.admitting(x)
		if s == nil {
			return false
		}
		if s == a.site {
			e.arm(x)
			return true
		}
		e.unfile(a)
		a.site, a.filed = s, append(a.filed, e.running.file(x, subject{domain: s.id}))
		if !s.verifyClient {
			continue
		}
		for _, slot := range s.slots {
			a.filed = append(a.filed, e.running.file(x, subject{certificate: slot}))
		}
	}
	return true
}

// arm has x looked at again when its client is good no more: the certificate has expired or
// a revocation list is stale.
func (e *Edge) arm(x *exchange) {
	a, who := &x.admission, x.conn.who
	if who == nil || !a.site.verifyClient {
		return
	}
	in := alarm(who.standing(a.site), e.cfg.Now())
	if a.due == nil {
		a.due = time.AfterFunc(in, func() { e.recheck(x) })
	} else {
		a.due.Reset(in)
	}
}

// alarm is how long to wait for an end, which counts whole seconds. A timer does not notice
// when the clock is set forward or the machine sleeps: none is trusted for more than an hour.
func alarm(end, now time.Time) time.Duration {
	return min(max(end.Sub(now), 0), time.Hour) + time.Second
}

func (e *Edge) unfile(a *admission) {
	for _, f := range a.filed {
		e.running.take(f)
	}
	a.filed = a.filed[:0]
}

// unfollow is called when the handler of x is done: nobody aborts it any more. It tells
// whether somebody has.
func (e *Edge) unfollow(x *exchange) (aborted bool) {
	a := &x.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	e.unfile(a)
	if a.due != nil {
		a.due.Stop()
	}
	return a.ended
}

// admitting returns the site that x would be for if it came in now, nil if it would be
// refused: what runs is held to the very rules of what begins.
func (e *Edge) admitting(x *exchange) *site {
	c := x.conn
	if c.site == nil { // no handshake: plain HTTP
		host, _, _ := splitHost(x.in.Host)
		if s := e.index.resolve(host); s != nil && s.id == x.site.id && e.proxiesPlain(s) {
			return s
		}
		return nil
	}
	s, _ := e.route(x.in.Host, &c.handshaken, versionOf(c, x.in.TLS))
	return s
}

// changed has everything looked at again that was admitted by a subject. It returns at
// once: the changes that follow do not wait for many clients to be verified.
func (e *Edge) changed(of subject) {
	if some := e.running.under(of); len(some) > 0 {
		go func() {
			for _, x := range some {
				e.recheck(x)
			}
		}()
	}
}

// recheck ends x if it would not be let in any more.
func (e *Edge) recheck(x *exchange) {
	x.admission.mu.Lock()
	defer x.admission.mu.Unlock()
	if !e.followLocked(x) {
		e.metrics.ended.Inc()
		x.abort()
	}
}

// errPolicyChanged is the cause of a context that recheck ends.
var errPolicyChanged = errors.New("the policy of the host has changed")

// lastWrite is how long an aborted exchange may still write, such as its refusal.
const lastWrite = time.Second

// abort ends x from another goroutine than its own: an HTTP/2 stream is reset, a WebSocket
// and any other answer under way over HTTP/1 closed with its connection, and what was
// not answered yet is answered 421. It needs admission.mu: the handler must not be over.
func (x *exchange) abort() {
	x.admission.ended = true
	x.cancel(errPolicyChanged)
	if x.body != nil || x.in.ProtoMajor == 2 || x.conn.upgraded.Load() { // a gRPC stream has no x.body
		_ = x.control.SetReadDeadline(past) // fails on a closed connection only; so below
	}
	_ = x.control.SetWriteDeadline(time.Now().Add(lastWrite))
}

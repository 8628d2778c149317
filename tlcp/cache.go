package tlcp

import (
	"container/list"
	"sync"
)

// A SessionCache keeps a server's sessions by their ID, wrapped by WrapSession if that is
// set. It must be safe for concurrent use and may lose what it likes.
type SessionCache interface {
	Get(id string) (session []byte, ok bool)
	Put(id string, session []byte)
	Delete(id string)
}

// A ClientSessionCache keeps what a client resumes with, by server. It must be safe for
// concurrent use and may lose what it likes. Put with nil removes.
type ClientSessionCache interface {
	Get(server string) (session *ClientSession, ok bool)
	Put(server string, session *ClientSession)
}

// A ClientSession is a session as a client keeps it, in memory.
type ClientSession struct {
	state  *SessionState
	id     []byte // under which the server knows it; empty if it goes by ticket
	ticket []byte
}

// NewSessionCache returns a SessionCache in memory that keeps the sessions used last, at
// most capacity.
func NewSessionCache(capacity int) SessionCache { return newLRU[[]byte](capacity) }

// NewClientSessionCache returns a ClientSessionCache in memory that keeps the sessions
// used last, at most capacity.
func NewClientSessionCache(capacity int) ClientSessionCache {
	return clientSessions{newLRU[*ClientSession](capacity)}
}

type clientSessions struct{ *lru[*ClientSession] }

func (s clientSessions) Put(server string, session *ClientSession) {
	if session == nil {
		s.Delete(server)
		return
	}
	s.lru.Put(server, session)
}

// lru keeps the values used last.
type lru[V any] struct {
	mutex    sync.Mutex
	capacity int
	order    *list.List // of entry[V], the one used last in front
	elements map[string]*list.Element
}

type entry[V any] struct {
	key   string
	value V
}

func newLRU[V any](capacity int) *lru[V] {
	return &lru[V]{capacity: max(capacity, 1), order: list.New(), elements: make(map[string]*list.Element)}
}

func (l *lru[V]) Get(key string) (value V, ok bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	e, ok := l.elements[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(entry[V]).value, true
}

func (l *lru[V]) Put(key string, value V) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if e, ok := l.elements[key]; ok {
		e.Value = entry[V]{key, value}
		l.order.MoveToFront(e)
		return
	}
	l.elements[key] = l.order.PushFront(entry[V]{key, value})
	if l.order.Len() > l.capacity {
		l.remove(l.order.Back())
	}
}

func (l *lru[V]) Delete(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if e, ok := l.elements[key]; ok {
		l.remove(e)
	}
}

func (l *lru[V]) remove(e *list.Element) {
	l.order.Remove(e)
	delete(l.elements, e.Value.(entry[V]).key)
}

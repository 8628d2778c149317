package edge

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lacre"
	"lacre/keypair"
)

const (
	lookUps      = 4                    // at once
	lookPatience = 5 * time.Second      // of a handshake for the look-up of its name
	lookPenalty  = 2 * time.Millisecond // how long a name that is not there holds its place
	looksKept    = 1 << 16              // names whose look-up is remembered
	looksWaiting = 1 << 12              // look-ups that wait for their turn; who asks for more names waits for the index

	lookPrecedence = 10 * time.Millisecond // of look-ups before one step of the loading
)

// finder reads the domains of one name from the Feed while not everything is loaded, so
// that the first handshake does not wait for the last certificate.
//
// Until then the index is not believed about any name that was not looked up: an exact
// host may be missing where its wildcard is there, or the older of two claims. Each name
// is looked up once, by one for all who ask, and a few at a time; names that are not
// there cost their place a moment more, so that inventing names does not keep the store
// busy. Who waits is served from the index as soon as that is complete.
type finder struct {
	edge   *Edge
	places chan struct{} // lookUps of them

	// using is held by a look-up from before it reads until what it read is installed, and
	// by close: from then on nothing comes in from the side.
	using     sync.RWMutex
	instances []*lacre.Instance // nil before open and after close; guarded by using

	over    atomic.Bool  // the index is complete
	pending atomic.Int32 // look-ups under way

	mu      sync.Mutex
	waiting int                      // goroutines of look-ups
	looks   map[string]chan struct{} // by canonical host; closed when it was looked up
	opened  chan struct{}            // closed when look-ups are possible; nil from then on
	done    chan struct{}            // closed when the index is complete
}

func newFinder(e *Edge) *finder {
	f := &finder{edge: e, places: make(chan struct{}, lookUps)}
	f.reset()
	return f
}

// open makes look-ups possible, in the instances there are. What was looked up in an
// earlier attempt to load is looked up again.
func (f *finder) open(ctx context.Context) error {
	all, err := f.edge.cfg.Feed.AllInstances(ctx)
	if err != nil {
		return err
	}
	instances := make([]*lacre.Instance, 0, len(all))
	for _, i := range all {
		if f.edge.cfg.Instance == "" || i.ID == f.edge.cfg.Instance {
			instances = append(instances, i)
		}
	}
	f.edge.note(all)
	f.using.Lock()
	f.instances = instances
	f.using.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.looks)
	if f.opened != nil {
		close(f.opened)
		f.opened = nil
	}
	return nil
}

// close ends all look-ups, those under way first. From then on the index is complete.
func (f *finder) close() {
	f.using.Lock()
	f.instances = nil
	f.over.Store(true)
	f.using.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks != nil {
		f.looks = nil
		close(f.done)
	}
}

// reset makes the index incomplete again. Look-ups under way are over when it returns, and
// there are none before open: who asks meanwhile waits.
func (f *finder) reset() {
	f.using.Lock()
	f.instances = nil
	f.over.Store(false)
	f.using.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks == nil {
		f.done = make(chan struct{})
	}
	f.looks = make(map[string]chan struct{})
	if f.opened == nil {
		f.opened = make(chan struct{})
	}
}

// giveWay makes the loading wait a moment for look-ups: somebody waits for those.
func (f *finder) giveWay(ctx context.Context) {
	for begin := time.Now(); f.pending.Load() > 0 && time.Since(begin) < lookPrecedence && ctx.Err() == nil; {
		time.Sleep(lookPrecedence / 20)
	}
}

// find returns the site that serves a name as a client sends it, nil if there is none.
// Once everything is loaded it takes no lock and does no I/O.
func (e *Edge) find(ctx context.Context, name string) *site {
	if !e.finder.over.Load() {
		e.finder.look(ctx, name)
	}
	return e.index.resolve(name)
}

// know is find of the host of a request: while not everything is loaded the index is not believed
// about another name than that of the handshake.
func (f *finder) know(ctx context.Context, hostport string) {
	if f.over.Load() {
		return
	}
	if host, _, ok := splitHost(hostport); ok {
		f.look(ctx, host)
	}
}

// look returns when the name has been looked up, or everything is loaded, or patience is at
// its end.
func (f *finder) look(ctx context.Context, name string) {
	host, err := keypair.CanonicalHost(name)
	if err != nil || strings.HasPrefix(host, "*") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	looked, done := f.begin(host)
	if looked == nil {
		return
	}
	select {
	case <-looked:
	case <-done:
	case <-ctx.Done():
	}
}

// begin looks a host up unless somebody else does. One of the channels is closed when it was
// looked up, the other one when everything is loaded; without them there is nothing to wait
// for.
func (f *finder) begin(host string) (looked, done <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks == nil {
		return nil, nil
	}
	if looked, ok := f.looks[host]; ok {
		return looked, f.done
	}
	if f.waiting >= looksWaiting {
		return f.done, f.done
	}
	if len(f.looks) >= looksKept {
		clear(f.looks) // they are looked up again; who waits has its channel
	}
	looking := make(chan struct{})
	f.looks[host] = looking
	f.waiting++
	go f.run(host, looking, f.opened)
	return looking, f.done
}

// run looks a host up as soon as that is possible. A failure is not remembered.
func (f *finder) run(host string, looked chan struct{}, opened <-chan struct{}) {
	defer close(looked)
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.waiting--
	}()
	if opened != nil {
		select {
		case <-opened:
		case <-f.edge.stopped.Done():
			return
		}
	}
	f.places <- struct{}{}
	defer func() { <-f.places }()
	f.pending.Add(1)
	defer f.pending.Add(-1)
	ctx, cancel := context.WithTimeout(f.edge.stopped, lookPatience)
	defer cancel()
	found, err := f.read(ctx, host)
	if err != nil {
		f.edge.sampled.error(f.edge.log, "a name could not be looked up", "err", err)
		f.mu.Lock()
		delete(f.looks, host)
		f.mu.Unlock()
	}
	if found == 0 {
		time.Sleep(lookPenalty)
	}
}

// read reads the domains of a host and serves them.
func (f *finder) read(ctx context.Context, host string) (found int, err error) {
	f.using.RLock()
	defer f.using.RUnlock()
	if len(f.instances) == 0 {
		return 0, nil
	}
	hosts := []string{host}
	if _, parent, ok := strings.Cut(host, "."); ok {
		hosts = append(hosts, "*."+parent)
	}
	domains, err := f.edge.cfg.Feed.HostDomains(ctx, f.instances, hosts...)
	if err != nil {
		return 0, err
	}
	for _, d := range domains {
		if err := f.edge.holdings.putDomain(ctx, d, true); err != nil {
			return 0, err
		}
	}
	return len(domains), nil
}

package keyring

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Replaceable is a Wrapped whose values can be listed and replaced one by one.
//
// An absent value has revision 0 and no error. A value that is there but damaged has its
// revision and an error; any other error has revision 0, and means that the store could not
// be asked.
//
// A Replace puts a value in the place of the one of that revision, and only while the secret
// called guard has revision at; else it changes nothing and returns false. It is durable when
// it returns true. After an error it may have happened or not.
type Replaceable interface {
	SecretNames(ctx context.Context) ([]string, error)
	// Sealers returns the ids of all projects that have a data key; some may have none.
	Sealers(ctx context.Context) ([]string, error)
	SecretAt(ctx context.Context, name string) (value []byte, revision int64, err error)
	DataKeyAt(ctx context.Context, projectID string) (value []byte, revision int64, err error)
	ReplaceSecret(ctx context.Context, name string, revision int64, value []byte, guard string, at int64) (bool, error)
	ReplaceDataKey(ctx context.Context, projectID string, revision int64, value []byte, guard string, at int64) (bool, error)
}

// ErrOvertaken means that after this node another one has begun to wrap everything under the
// other master key.
var ErrOvertaken = errors.New("another node is wrapping, or has wrapped, everything under the other master key")

// errMoved means that the key check has changed during a pass.
var errMoved = errors.New("the key check has changed")

// Change gets everything in a store under the master key of a keyring that is under its
// other one. What data keys have sealed is left alone.
//
// The key check decides who goes on where that ends half-way. It is the first value that is
// replaced, by one that takes both keys to start, and the last, by one that takes the master
// key: neither is ever taken alone where it does not open everything. Every value is
// replaced only if the key check still is what it was at the beginning: of nodes that change
// in opposite directions the one that began last goes on, and the others find out with their
// next value.
type Change struct {
	ring      *Keyring
	store     Replaceable
	joined    bool // it was going our way once
	rewrapped int
}

// Change returns the change to the master key of the keyring. It is not safe for concurrent
// use; any number of nodes may make the same one at once.
func (k *Keyring) Change(store Replaceable) *Change { return &Change{ring: k, store: store} }

// Counts are how many values were wrapped again by a change, and how many others were under
// the master key when it came to them.
type Counts struct{ Rewrapped, Already int }

// Pass looks at every value once and wraps it again if need be. Without an error all is
// under the master key. An error of the store or a key service ends the pass, and the next
// one goes on where it ended. A value that is damaged, or opens under neither key, stays as
// it is, and only the others are done: the error names it, and a change that has begun does
// not end. After ErrOvertaken it is for the other node to end.
func (c *Change) Pass(ctx context.Context) (Counts, error) {
	for {
		p := &pass{Change: c, before: c.rewrapped}
		if err := p.run(ctx); !errors.Is(err, errMoved) {
			return p.counts(), err
		}
	}
}

// pass is one look at everything.
type pass struct {
	*Change
	check   int64 // the revision of the key check
	end     bool  // the key check says that a change is under way
	before  int   // of rewrapped
	already int
	left    []string // what could not be wrapped again, and why
}

func (p *pass) counts() Counts {
	return Counts{Rewrapped: p.rewrapped, Already: max(0, p.already-p.before)}
}

func (p *pass) run(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	names, err := p.store.SecretNames(ctx)
	if err != nil {
		return fmt.Errorf("listing the secrets: %w", err)
	}
	for _, name := range names {
		if name == checkName {
			continue
		}
		if err := p.one(ctx, keptSecret(name)); err != nil {
			return err
		}
	}
	ids, err := p.store.Sealers(ctx)
	if err != nil {
		return fmt.Errorf("listing the data keys: %w", err)
	}
	for _, id := range ids {
		if err := p.one(ctx, keptDataKey(id)); err != nil {
			return err
		}
	}
	return p.finish(ctx)
}

// begin has the key check say that everything gets under the master key, unless all is
// under it. A change in the other direction is turned round once.
func (p *pass) begin(ctx context.Context) error {
	for {
		stored, at, err := p.readCheck(ctx)
		if err != nil {
			return err
		}
		says, err := within(ctx, func() (phase, error) { return p.ring.phase(stored) })
		switch {
		case err != nil:
			return fmt.Errorf("reading the key check: %w", err)
		case says != foreign:
			p.check, p.end, p.joined = at, says == begun, true
			return nil
		case p.joined:
			return ErrOvertaken
		}
		if p.joined, err = p.replaceCheck(ctx, at, p.ring.changingCheck); err != nil {
			return err
		}
	}
}

func (p *pass) readCheck(ctx context.Context) ([]byte, int64, error) {
	stored, at, err := p.store.SecretAt(ctx, checkName)
	if err == nil && at == 0 {
		err = errors.New("it is gone")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the key check: %w", err)
	}
	return stored, at, nil
}

func (p *pass) replaceCheck(ctx context.Context, at int64, fresh func() ([]byte, error)) (bool, error) {
	value, err := within(ctx, fresh)
	if err != nil {
		return false, fmt.Errorf("making a key check: %w", err)
	}
	ok, err := p.store.ReplaceSecret(ctx, checkName, at, value, checkName, at)
	if err != nil {
		return false, fmt.Errorf("writing the key check: %w", err)
	}
	return ok, nil
}

// one wraps one value again, and looks at it anew when another was faster.
func (p *pass) one(ctx context.Context, v kept) error {
	for {
		stored, at, err := v.at(ctx, p.store)
		if at == 0 {
			return named(v, err)
		}
		var again []byte
		if err == nil {
			again, err = within(ctx, func() ([]byte, error) { return p.ring.rewrap(v, stored) })
			if err != nil && !errors.Is(err, ErrAltered) && !errors.Is(err, errUnverified) {
				return named(v, err)
			}
		}
		if err != nil {
			p.left = append(p.left, named(v, err).Error())
			return nil
		}
		if again == nil {
			p.already++
			return nil
		}
		if done, err := p.replace(ctx, v, at, again); done || err != nil {
			return err
		}
	}
}

// replace replaces one value. Who was faster is another value, or errMoved.
func (p *pass) replace(ctx context.Context, v kept, at int64, again []byte) (bool, error) {
	done, err := v.replace(ctx, p.store, at, again, p.check)
	if err != nil {
		return false, named(v, err)
	}
	if done {
		p.rewrapped++
		return true, nil
	}
	_, check, err := p.readCheck(ctx)
	if err == nil && check != p.check {
		err = errMoved
	}
	return false, err
}

func named(v kept, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%v: %w", v, err)
}

// mostNamed is how many values an error names.
const mostNamed = 10

// finish has the key check say that all is under the master key, if it is.
func (p *pass) finish(ctx context.Context) error {
	if n := len(p.left); n > 0 {
		return fmt.Errorf("%d values could not be wrapped again and are as they were: %s", n,
			strings.Join(p.left[:min(n, mostNamed)], "; "))
	}
	if !p.end {
		p.already++
		return nil
	}
	done, err := p.replaceCheck(ctx, p.check, p.ring.plainCheck)
	if err == nil && !done {
		return errMoved
	}
	if done {
		p.rewrapped++
	}
	return err
}

// within makes a call that knows no context, and leaves it to itself when ctx ends.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := call()
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

package lacre_test

import (
	"math/rand/v2"
	"slices"
	"sync"

	"lacre"
)

// pool is what random actors share: few things, so that they meet.
type pool struct {
	uploads []lacre.CertificateInput
	sites   []string

	mu        sync.Mutex
	instances []*lacre.Instance
	groups    []*lacre.Group
	domains   []*lacre.Domain
	certs     []*lacre.Certificate
}

func newPool(w *world) *pool {
	p := &pool{sites: []string{"a.x.test", "b.x.test", "*.x.test", "a.y.test"}}
	for _, hosts := range [][]string{{"*.x.test"}, {"*.x.test", "a.y.test"}, {"a.x.test", "b.x.test"}} {
		for _, in := range []lacre.CertificateInput{w.upload("", hosts...), w.uploadRSA("", hosts...)} {
			bare := in
			bare.TrustedRootCA = new("")
			p.uploads = append(p.uploads, in, bare, w.trusting(in))
		}
	}
	p.instances = append(p.instances, w.instance(), w.instance())
	return p
}

// actor does one random thing after the other. Refusals are part of the game; what has
// no code is not.
type actor struct {
	*world
	*pool
	random *rand.Rand
}

func pick[T any](a *actor, list []T) (one T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(list) == 0 {
		return one
	}
	return list[a.random.IntN(len(list))]
}

// keep remembers a new thing, up to a few of each kind.
func keep[T any](a *actor, list *[]*T, thing *T, err error) error {
	const most = 6
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(*list) < most {
		*list = append(*list, thing)
	} else {
		(*list)[a.random.IntN(most)] = thing
	}
	return nil
}

func (a *actor) upload() lacre.CertificateInput {
	in := pick(a, a.uploads)
	in.Name = pick(a, []string{"name_1", "name_2", "name_3", "name_4"})
	return in
}

func (a *actor) flag() *bool { return pick(a, []*bool{nil, on, off}) }

func (a *actor) act() {
	i, g, d, c := first(snapshot(a, &a.instances)), first(snapshot(a, &a.groups)), first(snapshot(a, &a.domains)), first(snapshot(a, &a.certs))
	if g == nil || d == nil || c == nil {
		a.grow(i, g)
		return
	}
	var err error
	switch a.random.IntN(14) {
	case 0, 1:
		a.grow(i, g)
	case 2, 3, 4:
		_, err = a.tryModify(c.ID, a.upload())
	case 5, 6:
		_, err = a.tryAttach(c, d, a.flag())
	case 7:
		_, err = a.tryAttachNames(c, lacre.DomainRef{Name: pick(a, a.sites), VerifyClient: a.flag()}, ref(pick(a, a.sites)))
	case 8:
		err = a.tryDetach(c, d)
	case 9:
		_, _, err = a.tryChange(d, lacre.DomainChange{VerifyClient: a.flag()})
	case 10:
		err = a.tryDelete(c.ID)
	case 11:
		err = a.tryDropDomain(d)
	case 12:
		_, err = a.tryRenameGroup(g, lacre.GroupInput{Name: pick(a, []string{"group_1", "group_2", "group_3"})})
	case 13:
		err = a.shrink(i, g)
	}
	a.judge(err)
}

// snapshot is the list in a random order.
func snapshot[T any](a *actor, list *[]*T) []*T {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(*list)
	a.random.Shuffle(len(all), func(x, y int) { all[x], all[y] = all[y], all[x] })
	return all
}

func (a *actor) grow(i *lacre.Instance, g *lacre.Group) {
	switch a.random.IntN(4) {
	case 0:
		group, err := a.tryGroup(i, pick(a, []string{"group_1", "group_2", "group_3"}))
		if err == nil {
			err = keep(a, &a.groups, group.Group, nil)
		}
		a.judge(err)
	case 1, 2:
		in := a.upload()
		if a.random.IntN(3) == 0 {
			in = confined(in, i)
		}
		written, err := a.tryCreate(in)
		if err == nil {
			err = keep(a, &a.certs, written.Certificate, nil)
		}
		a.judge(err)
	case 3:
		if g == nil {
			return
		}
		view, _, err := a.tryDomain(g, lacre.DomainInput{Name: pick(a, a.sites)})
		if err == nil {
			err = keep(a, &a.domains, view.Domain, nil)
		}
		a.judge(err)
	}
}

// shrink deletes a group, or sometimes an instance, which a new one then replaces.
func (a *actor) shrink(i *lacre.Instance, g *lacre.Group) error {
	if a.random.IntN(3) > 0 {
		return a.tryDropGroup(g)
	}
	if err := a.tryDropInstance(i); err != nil {
		return err
	}
	fresh, err := a.tryInstance(unique("gateway"))
	return keep(a, &a.instances, fresh, err)
}

func (a *actor) judge(err error) {
	a.t.Helper()
	switch code := lacre.CodeOf(err); {
	case err == nil:
	case code == lacre.CodeInternal, code == lacre.CodeUnavailable, code == lacre.CodeUnreadable, code == lacre.CodeForbidden:
		a.t.Errorf("got error %v (code %q), want a refusal or none", err, code)
	}
}

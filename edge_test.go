package lacre_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lacre"
)

// plainSealer opens everything as itself.
type plainSealer string

func (s plainSealer) Seal(context.Context, string, []byte, []byte) ([]byte, error) {
	return nil, errors.New("not used")
}

func (s plainSealer) Open(context.Context, string, []byte, []byte) ([]byte, error) {
	return []byte(s), nil
}

// slowEdge is an Edge that serves a revision when the test lets it.
type slowEdge struct {
	asked chan int64
	serve chan struct{}
}

func newSlowEdge() *slowEdge {
	return &slowEdge{asked: make(chan int64, 1), serve: make(chan struct{}, 1)}
}

func (e *slowEdge) Applied(ctx context.Context, revision int64) error {
	e.asked <- revision
	select {
	case <-e.serve:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *slowEdge) Explain(_ context.Context, projectID string, hello lacre.ClientHello, host string) (*lacre.Explanation, error) {
	return &lacre.Explanation{Host: host, Rule: &lacre.Rule{DomainID: projectID}, Handshake: lacre.HandshakeOutcome{Reason: fmt.Sprintf("%x", hello)}}, nil
}

// Changes that handshakes see are answered when the edge serves them, and not before.
func TestAnswerWaitsForTheEdge(t *testing.T) {
	e := newSlowEdge()
	w := newWorld(t)
	c, d := w.create(w.upload("web_cert", "www.a.test")), w.home("www.a.test")
	extra, group := w.domain(&lacre.Group{ID: d.GroupID, InstanceID: d.InstanceID}, "api.a.test"), w.group(&lacre.Instance{ID: d.InstanceID})
	w.Edge, w.EdgeWait = e, time.Minute
	for _, step := range []struct {
		name string
		do   func() ([]string, error)
	}{
		{"attach", func() ([]string, error) { return w.tryAttach(c, d, nil) }},
		{"modify", func() ([]string, error) {
			written, err := w.tryModify(c.ID, w.upload("web_cert", "www.a.test"))
			if err != nil {
				return nil, err
			}
			return written.Warnings, nil
		}},
		{"roll back", func() ([]string, error) {
			written, err := w.tryRollback(c.ID, 1)
			if err != nil {
				return nil, err
			}
			return written.Warnings, nil
		}},
		{"modify domain", func() ([]string, error) {
			_, warnings, err := w.tryChange(d, lacre.DomainChange{RedirectHTTPS: on})
			return warnings, err
		}},
		{"create domain", func() ([]string, error) {
			_, warnings, err := w.tryDomain(group, lacre.DomainInput{Name: "new.a.test"})
			return warnings, err
		}},
		{"detach", func() ([]string, error) { return nil, w.tryDetach(c, d) }},
		{"delete domain", func() ([]string, error) { return nil, w.tryDropDomain(extra) }},
		{"delete group", func() ([]string, error) { return nil, w.tryDropGroup(group) }},
	} {
		type answer struct {
			warnings []string
			err      error
		}
		answers := make(chan answer, 1)
		go func() {
			warnings, err := step.do()
			answers <- answer{warnings, err}
		}()
		var revision int64
		select {
		case revision = <-e.asked:
		case a := <-answers:
			t.Fatalf("%s: got an answer (%v) without asking the edge", step.name, a.err)
		}
		if row := w.audits()[0]; row.RequestID != w.admin.RequestID || revision <= 0 {
			t.Errorf("%s: got revision %d before the commit", step.name, revision)
		}
		select {
		case <-answers:
			t.Fatalf("%s: got an answer before the edge served it", step.name)
		case <-time.After(5 * time.Millisecond):
		}
		e.serve <- struct{}{}
		if a := <-answers; a.err != nil || len(a.warnings) > 0 {
			t.Errorf("%s: got warnings %q, error %v, want none", step.name, a.warnings, a.err)
		}
	}
}

func TestEdgeIsAskedForTheRevisionOfTheChange(t *testing.T) {
	e := newSlowEdge()
	w := newWorld(t)
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.Edge = e
	e.serve <- struct{}{}
	next := w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	if got := <-e.asked; got != next.Revision || got != w.show(c.ID).Revision {
		t.Errorf("got revision %d, want that of the certificate, %d", got, next.Revision)
	}
}

// An edge that is late makes a warning, not an error: the change is durable.
func TestEdgeTimesOut(t *testing.T) {
	w := newWorld(t, func(c *lacre.Config) { c.Edge, c.EdgeWait = newSlowEdge(), time.Millisecond })
	c := w.create(w.upload("web_cert", "www.a.test"))
	written, err := w.tryModify(c.ID, w.upload("web_cert", "www.a.test"))
	w.ok(err)
	if len(written.Warnings) != 1 || !strings.Contains(written.Warnings[0], "edge") {
		t.Errorf("got warnings %q, want one about the edge", written.Warnings)
	}
	if got := w.show(c.ID).Version; got != 2 {
		t.Errorf("got version %d, want the change stored as version 2", got)
	}
}

// What changes nothing does not ask the edge.
func TestEdgeIsNotAskedInVain(t *testing.T) {
	e := newSlowEdge()
	w := newWorld(t, func(c *lacre.Config) { c.Edge = e })
	in := w.upload("web_cert", "www.a.test")
	c := w.create(in)
	_, err := w.tryModify(c.ID, in, lacre.WriteOptions{DryRun: true})
	w.ok(err)
	_, err = w.tryModify(c.ID, in, lacre.WriteOptions{IfGeneration: new(int64(7))})
	wantCode(t, err, lacre.CodePrecondition)
	select {
	case revision := <-e.asked:
		t.Errorf("the edge was asked for revision %d, want no question", revision)
	default:
	}
}

package edge_test

import (
	"testing"
	"time"

	"lacre"
	"lacre/edge"
)

func TestHostClaimedTwice(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		w := newWorld(t, func(c *edge.Config) { c.Instance = "" })
		host := lacre.NewID() + ".example.com" // this edge serves what other tests left, too
		leaves := [2]string{}
		domains := [2]*lacre.Domain{}
		for _, i := range order {
			leaf := w.leaf([]string{host})
			leaves[i] = leaf.Cert.SerialNumber.String()
			domains[i] = w.domain(host, []*lacre.Certificate{w.certificate(leaf)}, func(d *lacre.Domain) {
				d.InstanceID = lacre.NewID()
				d.Created = time.Unix(int64(1000+i), 0)
			})
		}
		if got := w.serial(host); got != leaves[0] {
			t.Errorf("in order %v: the younger domain is served", order)
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{domains[0]}})
		if got := w.serial(host); got != leaves[1] {
			t.Error("the older domain went, and the younger one is not served")
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{domains[1]}})
		if _, err := w.dial(host); !isAlert(err, 112) {
			t.Errorf("both went: got %v, want alert unrecognized_name", err)
		}
	}
}

func TestOtherInstancesAreNotServed(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com", func(d *lacre.Domain) { d.InstanceID = lacre.NewID() })
	if _, err := w.dial("a.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
}

func TestBindingCannotReachAnotherProject(t *testing.T) {
	w := newWorld(t)
	_, mine := w.site("mine.example.com")
	theirs := lacre.NewID()
	w.store(&lacre.Project{ID: theirs, Name: theirs})
	w.domain("theirs.example.com", []*lacre.Certificate{mine}, func(d *lacre.Domain) { d.ProjectID = theirs })
	if _, err := w.dial("theirs.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := edge.New(edge.Config{}); err == nil {
		t.Error("an edge without a feed was made")
	}
}

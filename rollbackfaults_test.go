package lacre_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"lacre"
)

// What another node does to the version between two reads is seen: the certificate is
// read again.
func TestRollbackToAVersionThatGoesMeanwhile(t *testing.T) {
	w := newWorld(t)
	elsewhere := lacre.NewService(lacre.Config{Store: sharedStore, Sealer: sharedSealer, History: 1})
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	meanwhile := func(do func() error) error {
		w.tap.onRead(func(r lacre.Record) error {
			if _, ok := r.(*lacre.Version); ok {
				w.tap.onRead(nil)
				w.ok(do())
			}
			return nil
		})
		_, err := w.tryRollback(c.ID, 1)
		return err
	}
	in := w.upload("web_cert", "www.a.test")
	err := meanwhile(func() error {
		_, err := elsewhere.ModifyCertificate(t.Context(), w.admin, w.project, c.ID, in, lacre.WriteOptions{})
		return err
	})
	wantField(t, err, lacre.CodeInvalidField, "version_id")
	c = w.create(w.upload("other_cert", "www.a.test"))
	err = meanwhile(func() error {
		return elsewhere.DeleteCertificate(t.Context(), w.admin, w.project, c.ID, lacre.WriteOptions{})
	})
	wantCode(t, err, lacre.CodeCertificateNotFound)
}

// faultySealer opens nothing.
type faultySealer struct {
	lacre.Sealer
	err error
}

func (s faultySealer) Open(context.Context, string, []byte, []byte) ([]byte, error) {
	return nil, s.err
}

// A key service or a store that does not answer is not called damage.
func TestRollbackWhileKeysDoNotOpen(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	silent := errors.New("the master key's service does not answer")
	for fault, want := range map[error]lacre.Code{silent: lacre.CodeUnreadable, fmt.Errorf("data key: %w", lacre.ErrUnavailable): lacre.CodeUnavailable} {
		w.Sealer = faultySealer{sharedSealer, fault}
		w.wantUnchanged(func() {
			_, err := w.tryRollback(c.ID, 1)
			wantCode(t, err, want)
			if !errors.Is(err, fault) || want == lacre.CodeUnreadable && !strings.Contains(err.Error(), "the private key of version 1 could not be opened now") {
				t.Errorf("got %v, want it with %v", err, fault)
			}
		})
	}
}

// A version that cannot be read, or whose key does not open, changes nothing.
func TestRollbackToDamage(t *testing.T) {
	w := newWorld(t)
	in := w.upload("web_cert", "www.a.test")
	c := w.create(in)
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	moved := w.version(c, 2) // its key is sealed for another number
	moved.SealedKey = w.version(c, 1).SealedKey
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	_, err := sharedStore.Commit(t.Context(), lacre.Tx{Put: []lacre.Record{moved}, Audit: lacre.Audit{ProjectID: w.project, Action: "test:damage"}})
	w.ok(err)
	w.damage(&lacre.Version{ProjectID: w.project, CertificateID: c.ID, Number: 1})
	for number, says := range map[int]string{1: "version 1 is damaged", 2: "the private key of version 2 could not be opened now"} {
		w.wantUnchanged(func() {
			_, err := w.tryRollback(c.ID, number)
			wantField(t, err, lacre.CodeUnreadable, "version_id")
			w.checkClean("the error", err.Error(), in)
			if !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want %q", err, says)
			}
		})
	}
}

// A store that does not answer about the version, or about the current one, is no damage.
func TestRollbackWithoutTheStore(t *testing.T) {
	w := newWorld(t)
	c := w.create(w.upload("web_cert", "www.a.test"))
	w.modify(c.ID, w.upload("web_cert", "www.a.test"))
	for _, number := range []int{1, 2} {
		w.tap.onRead(func(r lacre.Record) error {
			if v, ok := r.(*lacre.Version); ok && v.Number == number {
				return lacre.ErrUnavailable
			}
			return nil
		})
		w.wantUnchanged(func() {
			_, err := w.tryRollback(c.ID, 1)
			wantCode(t, err, lacre.CodeUnavailable)
		})
	}
}

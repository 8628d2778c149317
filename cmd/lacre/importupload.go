package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"lacre/keypair"
	"lacre/layout"
)

// holdings is what the API held when an import began. What somebody else adds meanwhile
// is refused by the API, whose names are unique.
type holdings struct {
	named map[string]string   // id by name
	like  map[string][]string // ids by what a list tells about a leaf
}

// holdings lists the certificates that may be used everywhere in the project: those are
// what an import makes.
func (im *importing) holdings(ctx context.Context) (*holdings, error) {
	h := &holdings{map[string]string{}, map[string][]string{}}
	_, certs, err := im.list(ctx, url.Values{"instance_id": {""}, "type": {"global"}})
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		h.named[c.Name] = c.ID
		key := leafKey(c.SAN, c.NotAfter)
		h.like[key] = append(h.like[key], c.ID)
	}
	return h, nil
}

func leafKey(sans []string, notAfter time.Time) string {
	return fmt.Sprint(notAfter.Unix(), " ", strings.Join(slices.Sorted(slices.Values(sans)), " "))
}

// existing is a certificate that is there already, as it was when it was looked at.
type existing struct {
	certificate
	etag string
}

func (e *existing) is(l layout.Leaf) bool {
	return l.Fingerprint != "" && e.SerialNumber == l.Serial && e.NotBefore.Equal(l.NotBefore) &&
		leafKey(e.SAN, e.NotAfter) == leafKey(l.SANs, l.NotAfter)
}

func (im *importing) look(ctx context.Context, id string) (*existing, error) {
	var e existing
	header, err := im.patient(ctx, http.MethodGet, "/certificates/"+id, nil, nil, &e.certificate)
	if err != nil {
		return nil, err
	}
	e.etag = header.Get("ETag")
	return &e, nil
}

// upload brings one pair to the API. The error is one that ends the import.
func (im *importing) upload(ctx context.Context, p *layout.Pair) (*importRow, error) {
	row := rowOf(p)
	err := im.bring(ctx, p, row)
	if err == nil {
		return row, nil
	}
	if fatal(err) || ctx.Err() != nil {
		return nil, err
	}
	row.Result, row.Reason, row.algorithm = resultRefused, err.Error(), "" // nothing is bound to it
	return row, nil
}

func (im *importing) bring(ctx context.Context, p *layout.Pair, row *importRow) error {
	if id := im.held.named[row.Name]; id != "" {
		return im.renew(ctx, p, row, id)
	}
	if p.CA == "" { // of CAs the API does not show which they are
		for _, id := range im.held.like[leafKey(p.Leaf.SANs, p.Leaf.NotAfter)] {
			old, err := im.look(ctx, id)
			if err != nil {
				return err
			}
			if old.is(p.Leaf) {
				row.holds(resultUnchanged, &old.certificate)
				return nil
			}
		}
	}
	return im.send(ctx, p, row, resultImported, http.MethodPost, "/certificates", nil)
}

// renew modifies the certificate that the file became when it was imported before.
func (im *importing) renew(ctx context.Context, p *layout.Pair, row *importRow, id string) error {
	old, err := im.look(ctx, id)
	if err != nil {
		return err
	}
	switch same := old.is(p.Leaf); {
	case same && p.CA == "":
		row.holds(resultUnchanged, &old.certificate)
		return nil
	case same:
		row.Reason = "the client CAs were sent again, with their lists; the API does not show which ones it has"
	case !p.Leaf.NotBefore.IsZero() && old.NotBefore.After(p.Leaf.NotBefore):
		return im.older(ctx, p, row, old)
	}
	return im.send(ctx, p, row, resultUpdated, http.MethodPut, "/certificates/"+id, http.Header{"If-Match": {old.etag}})
}

// older leaves a newer certificate alone. The revocation lists are sent all the same: those
// in the files may be newer than the API's whatever the leaf is, and hold clients off. When
// they are refused the API's own stay in force; where it has none, nothing is bound.
func (im *importing) older(ctx context.Context, p *layout.Pair, row *importRow, old *existing) error {
	row.holds(resultSkipped, &old.certificate)
	row.Reason = fmt.Sprintf("the API has a newer one, of %s; this is of %s",
		old.NotBefore.UTC().Format(time.RFC3339), p.Leaf.NotBefore.UTC().Format(time.RFC3339))
	if p.CA == "" {
		return nil
	}
	row.Reason += "; its client CAs are not sent either"
	lists, err := p.Lists()
	if err == nil && lists != "" {
		row.Reason += ", only their revocation lists"
		if !im.dryRun {
			err = im.sendLists(ctx, row.ID, lists)
		}
	}
	if err == nil || fatal(err) || ctx.Err() != nil {
		return err
	}
	row.Result, row.Reason = resultRefused, row.Reason+"; "+err.Error()
	if !im.hasLists(ctx, row.ID) {
		row.algorithm = ""
	}
	return nil
}

// hasLists tells whether the clients of a certificate are held to any revocation list.
func (im *importing) hasLists(ctx context.Context, id string) bool {
	var held revocations
	_, err := im.patient(ctx, http.MethodGet, "/certificates/"+id+"/crl", nil, nil, &held)
	return err == nil && slices.ContainsFunc(held.Lists, func(l heldList) bool { return l.InForce })
}

// send uploads the pair and completes its row.
func (im *importing) send(ctx context.Context, p *layout.Pair, row *importRow, result, method, path string, header http.Header) error {
	text, err := p.Read()
	if err != nil {
		return err
	}
	body := map[string]any{"name": row.Name, "cert_content": text.Cert, "private_key": text.Key}
	if text.CA != "" {
		body["trusted_root_ca"] = text.CA
	}
	if text.Sign != "" {
		body["algorithm_type"], body["cert_content_sign"], body["private_key_sign"] = keypair.SM2, text.Sign, text.SignKey
	}
	if im.dryRun {
		path += "?dry_run=true"
	}
	var c certificate
	answered, err := im.patient(ctx, method, path, header, body, &c)
	if err != nil {
		return err
	}
	row.holds(result, &c)
	if im.dryRun && result == resultImported {
		row.ID = "" // of a certificate that is not there
	}
	row.Warnings = append(row.Warnings, answered.Values("X-Lacre-Warning")...)
	if text.CRL == "" || im.dryRun {
		return nil
	}
	return im.sendLists(ctx, c.ID, text.CRL)
}

// sendLists uploads the revocation lists of a certificate's client CAs. When they are
// refused the certificate stays, and nothing is bound to it.
func (im *importing) sendLists(ctx context.Context, id, lists string) error {
	_, err := im.patient(ctx, http.MethodPut, "/certificates/"+id+"/crl", nil, map[string]string{"crl": lists}, nil)
	if err != nil {
		return fmt.Errorf("the revocation lists: %w", err)
	}
	return nil
}

// maxPatience is how often a call is repeated on the API's own wish.
const maxPatience = 60

// patient calls a path below the project, and again when the API asks for patience: it is
// throttling (APIG.9008), or too many change one thing at once. Either way nothing was
// changed. The end of ctx ends the waiting, not a call that has begun, whose outcome
// would be unknown.
func (im *importing) patient(ctx context.Context, method, path string, header http.Header, body, out any) (http.Header, error) {
	for attempt := 1; ; attempt++ {
		answered, err := im.exchange(context.WithoutCancel(ctx), method, im.root+path, header, body, out)
		wait := retryAfter(err)
		if wait == 0 || attempt == maxPatience {
			return answered, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// retryAfter is how long the API wants to be left alone; 0 when it would say the same
// again.
func retryAfter(err error) time.Duration {
	if no, ok := errors.AsType[*refused](err); ok {
		return no.retryAfter
	}
	return 0
}

// openKey warns of a private key that everybody on this machine can read.
func openKey(path string) []string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("everybody on this machine can read %s (mode %04o)", path, info.Mode().Perm())}
}

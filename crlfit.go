package lacre

import (
	"fmt"
	"slices"

	"lacre/keypair"
)

// maxLists is how many lists are kept, unless more of them are in force: each is named in the
// audit row of every upload.
const maxLists = 64

// fit drops lists until there are few enough and the others have room, those that are not in
// force only and the oldest first: a CA that becomes a trust root again would have its revoked
// clients back.
func (p *certified) fit(r *Revocations) (dropped []RevocationList, err error) {
	slices.SortFunc(r.Lists, func(a, b RevocationList) int { return a.ThisUpdate.Compare(b.ThisUpdate) })
	for size := r.size(); size > keypair.MaxCRL || len(r.Lists) > maxLists; size = r.size() {
		i := slices.IndexFunc(r.Lists, func(l RevocationList) bool { return !p.inForce(l) })
		switch {
		case i < 0 && size > keypair.MaxCRL:
			return nil, FieldErrorf(CodeInvalidField, "crl", "with the lists of other issuers that are kept there are %d bytes in DER, more than %d", size, keypair.MaxCRL)
		case i < 0: // all are in force: so many CAs have the name of one above a trust root, see inForce
			return dropped, nil
		}
		dropped = append(dropped, r.Lists[i])
		r.Lists = slices.Delete(r.Lists, i, i+1)
	}
	return dropped, nil
}

// droppedWarning is one for all lists, with names cut short: it has to fit into a header field.
func droppedWarning(lists []RevocationList) []string {
	if len(lists) == 0 {
		return nil
	}
	var issuers []string
	for _, l := range lists {
		issuers = append(issuers, fmt.Sprintf("%.100s", l.Issuer))
	}
	return []string{fmt.Sprintf("Revocation lists of issuers that are no trust roots now were dropped (%d): %s. At most %d lists are kept, and %d bytes of them in DER.",
		len(lists), some(issuers), maxLists, keypair.MaxCRL)}
}

func (r *Revocations) size() (size int) {
	for _, l := range r.Lists {
		size += len(l.DER)
	}
	return size
}

package api

import (
	"strconv"
	"strings"

	"lacre"
)

// etag is the entity tag of a certificate: its generation, strong.
func etag(generation int64) string { return `"` + strconv.FormatInt(generation, 10) + `"` }

// never is a generation that no certificate has.
const never = -1

// condition is what If-Match (RFC 9110 section 13.1.1) asks for as a condition on the
// certificate's generation: nil when any will do, and never when none can match, so
// that the Service still checks permission and existence first.
func (x *exchange) condition() (*int64, error) {
	lines := x.Header.Values("If-Match")
	if len(lines) == 0 {
		return nil, nil
	}
	tags := strings.Split(strings.Join(lines, ","), ",")
	if len(tags) == 1 && strings.TrimSpace(tags[0]) == "*" {
		return nil, nil
	}
	var wanted []int64
	for _, tag := range tags {
		generation, err := parseTag(strings.TrimSpace(tag))
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, generation)
	}
	if len(wanted) == 1 {
		return &wanted[0], nil
	}
	return x.firstCurrent(wanted)
}

// parseTag returns the generation that an entity tag stands for: never for weak tags,
// which cannot match here, and for tags that are not ours.
func parseTag(tag string) (int64, error) {
	strong := strings.TrimPrefix(tag, "W/")
	if len(strong) < 2 || strong[0] != '"' || strong[len(strong)-1] != '"' || strings.Contains(strong[1:len(strong)-1], `"`) {
		return 0, lacre.FieldErrorf(lacre.CodeInvalidParameter, "If-Match", `expected * or a list of entity tags such as "3"`)
	}
	generation, err := strconv.ParseInt(strong[1:len(strong)-1], 10, 64)
	if err != nil || etag(generation) != tag {
		return never, nil
	}
	return generation, nil
}

// firstCurrent picks the one of several wanted generations that the certificate has.
// The change is made on condition of that one, so nothing can slip in between.
func (x *exchange) firstCurrent(wanted []int64) (*int64, error) {
	current, err := x.Service.ShowCertificate(x.Context(), x.caller, x.project, x.certificate)
	if err != nil {
		return nil, err
	}
	chosen := int64(never)
	for _, generation := range wanted {
		if generation == current.Generation {
			chosen = generation
		}
	}
	return &chosen, nil
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"lacre"
)

// form reads the members of a JSON object one at a time and remembers the first thing
// that is wrong. Names are matched exactly, unknown members are ignored, null counts as
// absent, and of a repeated member the last one is taken (RFC 8259 section 4 leaves it
// open; the usual parsers do the same).
type form struct {
	path    string // what precedes a member's name in errors, such as "domains[0]."
	members map[string]json.RawMessage
	wrong   *error // shared with the forms inside
}

// readForm reads body, which must be one JSON object in UTF-8 with nothing after it.
func readForm(body []byte) (*form, error) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, lacre.Errorf(lacre.CodeMalformed, "expected a JSON object, the body is empty")
	case !utf8.Valid(body):
		return nil, lacre.Errorf(lacre.CodeMalformed, "expected a JSON object in UTF-8")
	case body[0] != '{':
		return nil, lacre.Errorf(lacre.CodeMalformed, "expected a JSON object")
	}
	f := &form{wrong: new(error)}
	if err := json.Unmarshal(body, &f.members); err != nil {
		// The parser's own words quote the body, which may hold a private key.
		at := ""
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = fmt.Sprintf(", it goes wrong after %d bytes", syntax.Offset)
		}
		return nil, lacre.Errorf(lacre.CodeMalformed, "expected a JSON object%s", at)
	}
	return f, nil
}

// err is the first thing that was wrong with a member asked for so far.
func (f *form) err() error { return *f.wrong }

// refuse remembers what is wrong with a member, unless something was wrong before: one
// error names one field.
func (f *form) refuse(code lacre.Code, name, format string, args ...any) {
	if *f.wrong == nil {
		*f.wrong = lacre.FieldErrorf(code, f.path+name, format, args...)
	}
}

// member is the value of a member, nil when it is absent or not of type T.
func member[T any](f *form, name, kind string) *T {
	raw, ok := f.members[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		f.refuse(lacre.CodeMalformed, name, "expected %s", kind)
		return nil
	}
	return v
}

// The optional members are nil when absent, so that absent and empty stay apart.

func (f *form) optionalText(name string) *string { return member[string](f, name, "a string") }
func (f *form) optionalFlag(name string) *bool   { return member[bool](f, name, "true or false") }
func (f *form) optionalInt(name string) *int     { return member[int](f, name, "a whole number") }

// text is a string member, "" when it is absent.
func (f *form) text(name string) string {
	if v := f.optionalText(name); v != nil {
		return *v
	}
	return ""
}

// flag is a boolean member, false when it is absent.
func (f *form) flag(name string) bool {
	v := f.optionalFlag(name)
	return v != nil && *v
}

// texts is an array of strings, nil when it is absent.
func (f *form) texts(name string) []string {
	if v := member[[]string](f, name, "an array of strings"); v != nil {
		return *v
	}
	return nil
}

// forms is an array of objects, nil when it is absent. The forms report to f: asking f
// for its error is enough.
func (f *form) forms(name string) []*form {
	list := member[[]json.RawMessage](f, name, "an array of objects")
	if list == nil {
		return nil
	}
	forms := make([]*form, len(*list))
	for i, raw := range *list {
		forms[i] = &form{path: fmt.Sprintf("%s%s[%d].", f.path, name, i), wrong: f.wrong}
		if json.Unmarshal(raw, &forms[i].members) != nil || forms[i].members == nil {
			f.refuse(lacre.CodeMalformed, fmt.Sprintf("%s[%d]", name, i), "expected an object")
		}
	}
	return forms
}

// mandatory refuses the form when one of the members is absent. An empty one is there:
// whether it may be empty is for the Service to say.
func (f *form) mandatory(names ...string) {
	for _, name := range names {
		if raw, ok := f.members[name]; !ok || string(raw) == "null" {
			f.refuse(lacre.CodeMissing, name, "mandatory")
		}
	}
}

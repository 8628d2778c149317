package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
)

// step makes one call, on the other's project now and then.
func (a *tenant) step() error {
	a.strange, a.prowling = nil, a.chance(8)
	moves := a.moves()
	try := moves[a.random.IntN(len(moves))]()
	product := a.product(try)
	project, want := a.creds.ProjectID, try.refused
	if a.prowling {
		project, want = a.other.creds.ProjectID, "APIG.1005"
	}
	a.tally["tried: "+try.name]++
	got, err := a.call(try, product, project)
	a.trail = append(a.trail, fmt.Sprintf("%s: %s %s %v: %s", try.name, try.method, try.path, a.strange, brief(got)))
	if err != nil {
		return err
	}
	if err := wanted(got, want, try.status); err != nil {
		return fmt.Errorf("%s: %w", try.name, err)
	}
	switch {
	case want == "":
		a.tally[try.name]++
		if try.then != nil {
			try.then(got)
		}
		return nil
	case a.prowling:
		a.tally["the other's project"]++
		a.strange = append(a.strange, project)
	case len(a.strange) > 0:
		a.tally["the other's ids"]++
	}
	return a.tellsNothing(try, product, project, got)
}

// tellsNothing makes a refused call again with ids that nobody has in the place of the
// other's. The answers say the same, so that none tells what the other has.
func (a *tenant) tellsNothing(try *attempt, product, project string, got *answer) error {
	if len(a.strange) == 0 {
		return nil
	}
	twin := *try
	text, err := json.Marshal(try.body)
	if err != nil {
		return err
	}
	unknown := make([]string, len(a.strange))
	for i, id := range a.strange {
		unknown[i] = lacre.NewID()
		twin.path, project = strings.ReplaceAll(twin.path, id, unknown[i]), strings.ReplaceAll(project, id, unknown[i])
		text = bytes.ReplaceAll(text, []byte(id), []byte(unknown[i]))
	}
	if err := json.Unmarshal(text, &twin.body); err != nil {
		return err
	}
	nothing, err := a.call(&twin, product, project)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(said(nothing, unknown), said(got, a.strange)); diff != "" {
		return fmt.Errorf("%s: what is the other's differs from what nobody has (-nobody's +the other's):\n%s", try.name, diff)
	}
	return nil
}

// said is what an answer says, without the ids that the client sent.
func said(got *answer, ids []string) string {
	text := fmt.Sprintf("%d %s %s", got.status, got.field("error_code"), got.field("error_msg"))
	for _, id := range ids {
		text = strings.ReplaceAll(text, id, "ID")
	}
	return text
}

func brief(got *answer) string {
	if got == nil {
		return "no answer"
	}
	return fmt.Sprintf("%d %s", got.status, got.field("error_code"))
}

// wanted compares an answer with the error_code that it should have, or with the status
// of a success.
func wanted(got *answer, refused string, status int) error {
	if refused != "" {
		status = statusOf[refused]
	}
	if got.status != status || got.field("error_code") != refused {
		return fmt.Errorf("got %d %s, want %d %s", got.status, got.body, status, refused)
	}
	return nil
}

// call makes an attempt, and notes between which times it was answered.
func (a *tenant) call(try *attempt, product, project string) (*answer, error) {
	a.asked = time.Now()
	got, err := sendMatching(a.world, try.method, "/v2/"+project+"/"+product+try.path, try.body, try.match)
	a.answered = time.Now()
	return got, err
}

// sendMatching is send with an If-Match, which may be empty.
func sendMatching(w *world, method, path string, body any, match string) (*answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, w.at.APIURL+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", w.token)
	if match != "" {
		req.Header.Set("If-Match", match)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got := &answer{status: resp.StatusCode, header: resp.Header}
	got.body, err = io.ReadAll(resp.Body)
	return got, err
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lacre/keypair"
	"lacre/layout"
)

// What became of a file, or of a name in it.
const (
	resultImported  = "imported"
	resultUpdated   = "updated"
	resultUnchanged = "unchanged"
	resultSkipped   = "skipped"
	resultRefused   = "refused"
	resultLeft      = "left"
)

// importRow is one line of the report: a file, or a name that was not bound.
type importRow struct {
	File     string   `json:"file"`
	Key      string   `json:"key,omitempty"`
	Result   string   `json:"result"`
	Name     string   `json:"name,omitempty"`
	ID       string   `json:"id,omitempty"`    // none after a dry run that would create it
	Hosts    []string `json:"hosts,omitempty"` // bound, or meant by Reason
	Reason   string   `json:"reason,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	algorithm keypair.Algorithm // empty when there is no certificate to bind
}

func rowOf(p *layout.Pair) *importRow {
	return &importRow{File: p.Cert, Key: p.Key, Name: p.Name(), Warnings: openKey(p.Key)}
}

// holds notes which certificate of the API the row is about.
func (r *importRow) holds(result string, c *certificate) {
	r.Result, r.Name, r.ID, r.algorithm = result, c.Name, c.ID, keypair.Algorithm(c.AlgorithmType)
}

func noted(notes []layout.Note) []*importRow {
	rows := make([]*importRow, len(notes))
	for i, n := range notes {
		rows[i] = &importRow{File: n.Path, Result: resultSkipped, Reason: n.Reason}
		if n.Failed {
			rows[i].Result = resultRefused
		}
	}
	return rows
}

// report prints the rows, and to stderr how many there are of each kind.
func (im *importing) report(cmd *cobra.Command, rows []*importRow) error {
	fmt.Fprintln(cmd.ErrOrStderr(), im.summary(rows))
	return im.print(cmd, rows, "RESULT\tFILE\tNAME\tHOSTS\tREASON", rowsOf(rows)...)
}

func (r *importRow) row() []string {
	why := r.Reason
	for _, w := range r.Warnings {
		why = strings.TrimPrefix(why+"; warning: "+w, "; ")
	}
	return []string{r.Result, r.File, cmp.Or(r.Name, "-"), cmp.Or(strings.Join(r.Hosts, ","), "-"), why}
}

func (im *importing) summary(rows []*importRow) string {
	n := count(rows)
	var parts []string
	for _, result := range []string{resultImported, resultUpdated, resultUnchanged, resultSkipped, resultRefused, resultLeft} {
		if n[result] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[result], result))
		}
	}
	text := cmp.Or(strings.Join(parts, ", "), "nothing to import")
	if im.bind {
		text += fmt.Sprintf("; %d names bound", boundNames(rows))
	}
	if im.dryRun {
		text += " (dry run: nothing was changed)"
	}
	return text
}

func count(rows []*importRow) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[r.Result]++
	}
	return n
}

// boundNames is how many names are bound, by this import or before it.
func boundNames(rows []*importRow) int {
	names := map[string]bool{}
	for _, r := range rows {
		for _, host := range r.Hosts {
			if r.algorithm != "" {
				names[host] = true
			}
		}
	}
	return len(names)
}

// verdict is the error that an import ends with.
func verdict(cause error, rows []*importRow) error {
	n := count(rows)
	switch {
	case cause != nil:
		cause := fmt.Errorf("the import ended early: %w", cause)
		if no, ok := errors.AsType[*refused](cause); errors.As(cause, new(usageError)) || ok && no.retryAfter == 0 && no.status < 500 {
			return cause // it would come again
		}
		return hinted{cause, "run it again; it goes on where it was"}
	case n[resultRefused] > 0:
		return fmt.Errorf("%d were refused", n[resultRefused])
	case !slices.ContainsFunc(rows, func(r *importRow) bool { return r.Key != "" }):
		return errors.New("no certificate pair was found")
	}
	return nil
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Report is everything a run has found out. It is written as JSON and as Markdown.
type Report struct {
	Date     time.Time         `json:"date"`
	Command  string            `json:"command"`
	Machine  []string          `json:"machine"`
	Versions map[string]string `json:"versions"`
	Figures  []Figure          `json:"figures"`
	Missing  []string          `json:"missing"` // what was not measured, and why
	Seconds  float64           `json:"seconds"` // what the run took
}

// Figure is one thing measured on one server.
type Figure struct {
	Part string `json:"part"` // the table it belongs to
	What string `json:"what"`
	Who  string `json:"who"`
	Unit string `json:"unit"`
	Summary
	Goal     string  `json:"goal,omitempty"`
	VersusUs float64 `json:"median_by_lacre_median,omitempty"` // of a peer only

	values []float64
}

func (r *Report) add(part, what, who, unit, goal string, values ...float64) {
	if len(values) > 0 {
		r.Figures = append(r.Figures, Figure{Part: part, What: what, Who: who, Unit: unit, Summary: summarise(values), Goal: goal, values: slices.Clone(values)})
	}
}

// gather adds values to a figure that may be there already: rounds come one by one.
func (r *Report) gather(part, what, who, unit string, values ...float64) {
	for i := range r.Figures {
		if f := &r.Figures[i]; f.Part == part && f.What == what && f.Who == who {
			f.values = append(f.values, values...)
			f.Summary = summarise(f.values)
			return
		}
	}
	r.add(part, what, who, unit, "", values...)
}

func (r *Report) missing(format string, args ...any) {
	r.Missing = append(r.Missing, fmt.Sprintf(format, args...))
}

// finish puts figures of the same thing together, lacre first, and compares.
func (r *Report) finish() {
	order := map[string]int{}
	for _, f := range r.Figures {
		if key := f.Part + "\x00" + f.What; order[key] == 0 {
			order[key] = len(order) + 1
		}
	}
	slices.SortStableFunc(r.Figures, func(a, b Figure) int {
		return order[a.Part+"\x00"+a.What] - order[b.Part+"\x00"+b.What]
	})
	for i := range r.Figures {
		f := &r.Figures[i]
		for _, us := range r.Figures {
			if us.Who == "lacre" && f.Who != "lacre" && us.Part == f.Part && us.What == f.What {
				f.VersusUs = ratio(f.Median, us.Median)
			}
		}
	}
}

// save writes latest.json and latest.md.
func (r *Report) save(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "latest.json"), append(text, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "latest.md"), []byte(r.markdown()), 0o644), r.plot(dir))
}

func (r *Report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Figures\n\nWritten by `%s` on %s in %.0f s; what is measured and how: docs/performance.md.\n\n",
		r.Command, r.Date.UTC().Format(time.RFC3339), r.Seconds)
	for _, line := range r.Machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(&b, "- %s: %s\n", name, r.Versions[name])
	}
	for _, text := range r.Missing {
		fmt.Fprintf(&b, "- not measured: %s\n", text)
	}
	part := ""
	for _, f := range r.Figures {
		if f.Part != part {
			part = f.Part
			fmt.Fprintf(&b, "\n## %s\n\n| what | who | n | min | median | p99 | max | unit | by lacre's | goal |\n|---|---|--:|--:|--:|--:|--:|---|--:|---|\n", part)
		}
		b.WriteString(f.row())
	}
	return b.String()
}

func (f *Figure) row() string {
	versus := ""
	if f.VersusUs != 0 {
		versus = fmt.Sprintf("%.2f", f.VersusUs)
	}
	return fmt.Sprintf("| %s | %s | %d | %s | **%s** | %s | %s | %s | %s | %s |\n", f.What, f.Who, f.N,
		digits(f.Min), digits(f.Median), digits(f.P99), digits(f.Max), f.Unit, versus, f.Goal)
}

// digits shows about three significant digits.
func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

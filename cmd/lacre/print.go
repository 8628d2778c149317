package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// tabular is what can be a row of a table.
type tabular interface{ row() []string }

// printList shows a list of the API, each member as a T.
func printList[T tabular](cmd *cobra.Command, s *session, raw []json.RawMessage, header string) error {
	all, err := decodeList[T](raw)
	if err != nil {
		return err
	}
	return s.print(cmd, raw, header, rowsOf(all)...)
}

// printOne shows an answer of the API as a T.
func printOne[T tabular](cmd *cobra.Command, s *session, raw json.RawMessage, header string) error {
	one, err := decode[T](raw)
	if err != nil {
		return err
	}
	return s.print(cmd, raw, header, one.row())
}

// print shows records: all that is known of them as JSON, or rows under a header.
func (s *session) print(cmd *cobra.Command, raw any, header string, rows ...[]string) error {
	if s.output == "json" {
		return writeJSON(cmd.OutOrStdout(), raw)
	}
	return writeTable(cmd.OutOrStdout(), header, rows...)
}

func decode[T any](raw json.RawMessage) (one T, err error) {
	if err := json.Unmarshal(raw, &one); err != nil {
		return one, fmt.Errorf("reading the answer: %w", err)
	}
	return one, nil
}

func decodeList[T any](raw []json.RawMessage) (all []T, err error) {
	for _, text := range raw {
		one, err := decode[T](text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func rowsOf[T tabular](all []T) [][]string {
	rows := make([][]string, len(all))
	for i, one := range all {
		rows[i] = one.row()
	}
	return rows
}

func writeJSON(w io.Writer, v any) error {
	if list, ok := v.([]json.RawMessage); ok && list == nil {
		v = []json.RawMessage{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeTable writes rows under a header, if there is one. It is the only writer of tables: others
// chose much of what is in them, and nothing of that may move the cursor of who reads it.
func writeTable(w io.Writer, header string, rows ...[]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if header != "" {
		fmt.Fprintln(t, header)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// printable keeps what files, certificates and people say from speaking to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// printableLines is printable for what may have more than one line. Those after the first are indented:
// a line that others chose is none of Lacre's own, such as a hint.
func printableLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n  ")
}

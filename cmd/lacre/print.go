package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

func writeJSON(w io.Writer, v any) error {
	if list, ok := v.([]json.RawMessage); ok && list == nil {
		v = []json.RawMessage{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func table(w io.Writer, certs []certificate) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tTYPE\tALGORITHM\tSAN\tNOT AFTER\tSERIAL")
	for _, c := range certs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.Name, c.Type, c.AlgorithmType,
			strings.Join(c.SAN, ","), c.NotAfter.Format(time.RFC3339), cmp.Or(c.SerialNumber, "-"))
	}
	return t.Flush()
}

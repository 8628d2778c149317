package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// plots are the figures that are drawn: bars of the medians, one group for each table that
// has the figure, one bar for each server.
var plots = []struct{ file, what, title string }{
	{"start.svg", "process start to first handshake", "Process start to first handshake"},
	{"memory.svg", "resident anonymous memory idle after the start", "Resident anonymous memory, idle"},
	{"rotation.svg", "rotation of one certificate until it is served", "Rotation of one certificate until it is served"},
	{"handshakes.svg", "full handshakes a second", "Full TLS 1.3 handshakes a second on one core"},
	{"handshake-cpu.svg", "full handshakes: server CPU of one", "Server CPU of one full TLS 1.3 handshake"},
}

// plot writes the plots that there are figures for.
func (r *Report) plot(dir string) error {
	for _, p := range plots {
		var figures []Figure
		for _, f := range r.Figures {
			if f.What == p.what {
				figures = append(figures, f)
			}
		}
		if len(figures) == 0 {
			continue
		}
		text := bars(fmt.Sprintf("%s (%s, logarithmic)", p.title, figures[0].Unit), figures)
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// The measures of a plot, in pixels.
const (
	plotWidth, barLeft, barMost = 720, 130, 480
	barHeight, lineHeight       = 16, 20
)

var colours = map[string]string{"lacre": "#1f6feb", "nginx": "#6e7781", "haproxy": "#8c959f", "caddy": "#afb8c1"}

// bars draws one bar for each figure, as long as the logarithm of its median.
func bars(title string, figures []Figure) string {
	least, most := math.Inf(1), math.Inf(-1)
	for _, f := range figures {
		least, most = min(least, logOf(f)), max(most, logOf(f))
	}
	least -= (most - least + 1) / 5 // the shortest bar can be seen
	var b strings.Builder
	y := 30
	part := ""
	for _, f := range figures {
		if f.Part != part {
			part = f.Part
			fmt.Fprintf(&b, "<text x=\"8\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y+lineHeight, html.EscapeString(part))
			y += lineHeight + 8
		}
		width := int(barMost * (logOf(f) - least) / (most - least))
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s %s</text>\n",
			barLeft-8, y+13, html.EscapeString(f.Who), barLeft, y, width, barHeight, colourOf(f.Who), barLeft+width+6, y+13, digits(f.Median), html.EscapeString(f.Unit))
		y += lineHeight
	}
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"8\" y=\"20\" font-size=\"14\">%s</text>\n%s</svg>\n",
		plotWidth, y+12, html.EscapeString(title), b.String())
}

func logOf(f Figure) float64 { return math.Log10(max(f.Median, 1e-3)) }

func colourOf(who string) string {
	if c, ok := colours[who]; ok {
		return c
	}
	return "#d0d7de"
}

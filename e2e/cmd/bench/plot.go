package main

import (
	"fmt"
	"html"
	"strings"
)

const (
	plotWidth  = 860
	labelWidth = 190
	valueWidth = 190
	barHeight  = 18
	rowHeight  = 28
	plotTop    = 46
	// plotMax is the largest share of a target that a bar shows. Longer bars are cut there.
	plotMax = 2.0
)

// plot draws how much of its target each figure reaches, as SVG: one bar a figure, and a
// line at the target.
func plot(figures []Figure) string {
	scale := float64(plotWidth-labelWidth-valueWidth) / plotMax
	height := plotTop + rowHeight*len(figures) + 10
	target := labelWidth + scale
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<text x="%.0f" y="20" text-anchor="middle" fill="#444">target (longer is better)</text>`+"\n", target)
	for i, f := range figures {
		y := plotTop + rowHeight*i
		share := min(max(f.Target.Attained(f.Value), 0), plotMax)
		color := "#c2601e"
		if f.Reached {
			color = "#2a7f4f"
		}
		text := y + barHeight - 4
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`+"\n", labelWidth-10, text, html.EscapeString(f.Name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y, share*scale, barHeight, color)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#222">%s</text>`+"\n", plotWidth-valueWidth+10, text,
			html.EscapeString(number(f.Value)+" "+f.Unit+" ("+f.Target.String()+")"))
	}
	fmt.Fprintf(&b, `<line x1="%.1f" y1="28" x2="%.1[1]f" y2="%d" stroke="#444" stroke-dasharray="4 3"/>`+"\n</svg>\n", target, height-6)
	return b.String()
}

package page

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// canvas writes an SVG. Only numbers of ours and escaped text go into it.
type canvas struct {
	b    strings.Builder
	w, h float64
}

func newCanvas(w, h float64, title string) *canvas {
	c := &canvas{w: w, h: h}
	fmt.Fprintf(&c.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %g %g" role="img" aria-label="%s">`, w, h, w, h, html.EscapeString(title))
	return c
}

func (c *canvas) done() template.HTML {
	c.b.WriteString("</svg>")
	return template.HTML(c.b.String())
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (c *canvas) rect(class string, x, y, w, h float64, tip string) {
	fmt.Fprintf(&c.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`, class, x, y, max(w, 0), max(h, 0), html.EscapeString(tip))
}

func (c *canvas) circle(class string, x, y, r float64, tip string) {
	fmt.Fprintf(&c.b, `<circle class="%s" cx="%.1f" cy="%.1f" r="%.1f"><title>%s</title></circle>`, class, x, y, r, html.EscapeString(tip))
}

// text's anchor is start, middle or end.
func (c *canvas) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(&c.b, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, class, anchor, x, y, html.EscapeString(s))
}

func (c *canvas) path(class string, points [][2]float64) {
	var d strings.Builder
	for i, p := range points {
		op := "L"
		if i == 0 {
			op = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", op, p[0], p[1])
	}
	fmt.Fprintf(&c.b, `<path class="%s" d="%s"/>`, class, d.String())
}

// frame is the part of a canvas between its axes; x and y run from 0 to 1.
type frame struct {
	*canvas
	left, top, right, bottom float64
}

func newFrame(title string) *frame {
	c := newCanvas(460, 320, title)
	f := &frame{c, 48, 26, 448, 280}
	c.text("", "start", f.left, 16, title)
	return f
}

func (f *frame) x(v float64) float64 { return f.left + v*(f.right-f.left) }
func (f *frame) y(v float64) float64 { return f.bottom - v*(f.bottom-f.top) }

// axes draws both, with marks at the given places.
func (f *frame) axes(xs, ys []float64, xName, yName func(float64) string, xTitle string) {
	for _, v := range ys {
		f.line("grid", f.left, f.y(v), f.right, f.y(v))
		f.text("soft", "end", f.left-5, f.y(v)+4, yName(v))
	}
	for _, v := range xs {
		f.line("grid", f.x(v), f.top, f.x(v), f.bottom)
		f.text("soft", "middle", f.x(v), f.bottom+14, xName(v))
	}
	f.line("axis", f.left, f.bottom, f.right, f.bottom)
	f.line("axis", f.left, f.top, f.left, f.bottom)
	f.text("soft", "middle", (f.left+f.right)/2, f.bottom+30, xTitle)
}

func share(v float64) string { return fmt.Sprintf("%g", v) }

var fifths = []float64{0, .2, .4, .6, .8, 1}

// clip cuts a name to n runes.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

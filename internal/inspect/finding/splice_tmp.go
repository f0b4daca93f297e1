package finding

import (
	"errors"
	"sort"
	"strconv"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
)

func Splice(body []byte, segs []gate.Segment, edits []gate.Edit) ([]byte, error) {
	type be struct {
		s, e int
		w    []byte
	}
	var bs []be
	for _, e := range edits {
		p := segs[e.Segment].Place
		switch p.Coding {
		case gate.Verbatim:
			bs = append(bs, be{p.Start + e.Start, p.Start + e.End, []byte(e.With)})
		case gate.JSONString:
			a, b := -1, -1
			pos := 0
			i := p.Start
			for {
				if pos == e.Start && a < 0 {
					a = i
				}
				if pos == e.End {
					b = i
					break
				}
				if i >= p.End {
					break
				}
				if body[i] != '\\' {
					i++
					pos++
					continue
				}
				if body[i+1] == 'u' {
					r, _ := strconv.ParseUint(string(body[i+2:i+6]), 16, 32)
					i += 6
					pos += utf8.RuneLen(rune(r))
				} else {
					i += 2
					pos++
				}
			}
			if a < 0 || b < 0 {
				return nil, errors.New("bad edit")
			}
			bs = append(bs, be{a, b, []byte(e.With)})
		default:
			return nil, errors.New("nowhere")
		}
	}
	sort.Slice(bs, func(i, j int) bool { return bs[i].s < bs[j].s })
	var out []byte
	at := 0
	for _, b := range bs {
		if b.s < at {
			return nil, errors.New("overlap")
		}
		out = append(out, body[at:b.s]...)
		out = append(out, b.w...)
		at = b.e
	}
	return append(out, body[at:]...), nil
}

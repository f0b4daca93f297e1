// Package strictjson parses JSON in the one way that no two parsers read differently. It refuses
// what RFC 8259 leaves open and RFC 7493 (I-JSON) closes: duplicate names (after unescaping),
// invalid UTF-8, lone surrogates, a byte-order mark, anything after the value. It keeps the original
// bytes: a Doc is a flat list of nodes with offsets, so that text can be changed in place.
package strictjson

import "fmt"

// Kind is the type of a value.
type Kind uint8

const (
	Null Kind = iota
	False
	True
	Number
	String
	Array
	Object
)

// Node is one value. Its children follow it; Next is the index after the last of them.
type Node struct {
	Kind    Kind
	Escaped bool  // String: holds at least one escape
	KeyEsc  bool  // the member's name holds an escape
	Start   int32 // offset of the first byte, quotes included
	End     int32 // offset after the last byte
	KeyAt   int32 // member of an object: offset of the name between its quotes; -1 otherwise
	KeyEnd  int32
	Parent  int32 // -1 for the root
	Next    int32
	Len     int32 // Array, Object: number of elements or members
}

// Doc is a parsed text. It must not outlive its Raw bytes.
type Doc struct {
	Raw   []byte
	Nodes []Node
}

// Limits bound one document. Zero means the default.
type Limits struct {
	Depth int // nesting; default 200
	Nodes int // values; default 4,000,000
	Key   int // bytes of a name; default 64 KiB
	Num   int // bytes of a number; default 1024
}

// Code says what is wrong.
type Code string

const (
	Syntax        Code = "syntax"
	Duplicate     Code = "duplicate_name"
	BadUTF8       Code = "invalid_utf8"
	Surrogate     Code = "lone_surrogate"
	ControlChar   Code = "control_character"
	ByteOrder     Code = "byte_order_mark"
	Trailing      Code = "trailing_data"
	TooDeep       Code = "too_deep"
	TooMany       Code = "too_many_values"
	TooLong       Code = "name_or_number_too_long"
	UnexpectedEnd Code = "unexpected_end"
)

// Error is a refusal, with the byte offset where it was noticed.
type Error struct {
	Code   Code
	Offset int
}

func (e *Error) Error() string { return fmt.Sprintf("strictjson: %s at byte %d", e.Code, e.Offset) }

package policy

import "github.com/goccy/go-yaml/token"

const (
	maxYAMLDepth  = 16  // of brackets
	maxYAMLIndent = 400 // of entries of a list
	maxYAMLKeys   = 32  // of one mapping: looking for one that stands twice takes the square of it
)

// unfit finds what is not let near the parser: what examples do not need, and what it is slow with.
func unfit(toks token.Tokens) (*token.Position, string) {
	depth := 0
	flow := [maxYAMLDepth + 1]int{} // keys so far, by depth of brackets
	var block []column              // and without brackets, by column, from the left
	for i, t := range toks {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.DirectiveType, token.MappingKeyType:
			return t.Position, "expected plain values, without anchors, aliases, tags and directives"
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxYAMLDepth {
				return t.Position, "nested too deep"
			}
			flow[depth] = 0
		case token.MappingEndType, token.SequenceEndType:
			depth = max(depth-1, 0)
		case token.SequenceEntryType:
			if t.Position.Column > maxYAMLIndent {
				return t.Position, "nested too deep"
			}
			block = leftOf(block, t.Position.Column)
		case token.MappingValueType:
			keys := &flow[depth]
			if depth == 0 {
				at := t.Position.Column
				if i > 0 {
					at = toks[i-1].Position.Column
				}
				if block = leftOf(block, at); len(block) == 0 || block[len(block)-1].at < at {
					block = append(block, column{at: at})
				}
				keys = &block[len(block)-1].keys
			}
			if *keys++; *keys > maxYAMLKeys {
				return t.Position, "too many keys in one mapping"
			}
		}
	}
	return nil, ""
}

// column counts the keys of the mapping whose keys begin there.
type column struct{ at, keys int }

// leftOf ends the mappings to the right of a column.
func leftOf(block []column, at int) []column {
	for len(block) > 0 && block[len(block)-1].at > at {
		block = block[:len(block)-1]
	}
	return block
}

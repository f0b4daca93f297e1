package policy

import "sallyport.dev/sallyport/internal/gate"

// builtin is the policy of a gateway that was told nothing.
var builtin = defaults()

// defaults: attacks (injection, jailbreak, prompt extraction) are blocked wherever they come from,
// except that tool and document text, which is data and need not arrive whole, is sanitised, and
// that system and developer text, which is the operator's own and often quotes attacks, is only
// flagged. Secrets are flagged on the way out to the provider, which the caller chose to tell them,
// and masked on the way back. Text that a learned tier could not read is flagged: the rules have read
// it. A category this release does not know blocks.
func defaults() Table {
	var t Table
	for ch := range channels {
		for d := range directions {
			attack := gate.Block
			switch gate.Channel(ch) {
			case gate.ChannelTool, gate.ChannelDocument:
				attack = gate.Sanitize
			case gate.ChannelSystem, gate.ChannelDeveloper:
				attack = gate.Flag
			}
			secret := gate.Flag
			if gate.Direction(d) == gate.Answer {
				secret = gate.Sanitize
			}
			for c := range row(gate.Secret) {
				t.cells[c][ch][d] = attack
			}
			t.cells[row(gate.Secret)][ch][d] = secret
			t.cells[row(gate.Unread)][ch][d] = gate.Flag
			t.cells[categories-1][ch][d] = gate.Block
		}
	}
	return t
}

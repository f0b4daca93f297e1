package rows

import "slices"

// Carriers and payload families of model/corpus that nothing is ever trained, fitted or calibrated
// on: what the detector makes of a place and a wording it has not met is measured on them.
var (
	withheldCarriers = []string{
		"calendar_events", "ci_log", "code_python", "crm_accounts", "email_business", "recipe",
		"search_snippets", "slack_channel", "web_html", "wiki",
	}
	withheldFamilies = []string{
		"atk.authority", "atk.deed_then", "atk.exfil_mail", "atk.fake_end", "atk.polite",
		"atk.role_mimicry", "atk.steps",
		"neg.act_as", "neg.reader_step", "neg.security_notice", "neg.todo",
	}
)

// Withheld says whether the row's carrier or its payload family is kept from all training. Both
// says whether its carrier and its family are: only such rows, and those of a withheld carrier that
// hold no payload, measure what is new.
func (r *Row) Withheld() (any, both bool) {
	if r.Carrier == "" {
		return false, false
	}
	c, f := slices.Contains(withheldCarriers, r.Carrier), slices.Contains(withheldFamilies, r.Family)
	return c || f, c && (f || r.Family == "neg.none")
}

// NewCarriers and NewFamilies name what is withheld, the families with neg.none, which is no payload.
func NewCarriers() []string { return slices.Clone(withheldCarriers) }

// NewFamilies: see NewCarriers.
func NewFamilies() []string { return append(slices.Clone(withheldFamilies), "neg.none") }

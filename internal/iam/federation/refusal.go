package federation

// Refusal is a sign-in that was judged and refused; any other error means that it could not be
// judged. Reason is for the record, printable and without secrets. The person learns only that the
// sign-in failed, and the id of the record.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return "federation: refused: " + r.Reason }

// Refuse makes a Refusal.
func Refuse(reason string) error { return &Refusal{reason} }

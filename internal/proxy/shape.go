package proxy

import (
	"context"
	"net/http"

	"sallyport.dev/sallyport/internal/gate"
)

// Shape is the stage that decides about what cannot be read. Everything that passes unread is
// counted and named in the record.
type Shape struct {
	Policy  func(gate.UninspectedKind) gate.Action
	Monitor bool
}

// Name implements gate.Stage.
func (Shape) Name() string { return "shape" }

// Admit implements gate.Stage.
func (s Shape) Admit(_ context.Context, x *gate.Exchange) (gate.Decision, error) {
	if x.Reading == nil || len(x.Reading.Uninspected) == 0 {
		return gate.Decision{}, nil
	}
	return decideUninspected(x, x.Reading.Uninspected, gate.Request, s.Policy, s.Monitor), nil
}

// maxUninspected bounds how many unread parts one record names one by one.
const maxUninspected = 64

func decideUninspected(x *gate.Exchange, us []gate.Uninspected, dir gate.Direction, policy func(gate.UninspectedKind) gate.Action, monitor bool) gate.Decision {
	var worst gate.Uninspected
	for _, u := range us {
		u.Direction, u.Action = dir, policy(u.Kind)
		if u.Action > worst.Action {
			worst = u
		}
		if len(x.Record.Uninspected) < maxUninspected || u.Action == gate.Block {
			x.Record.Uninspected = append(x.Record.Uninspected, u)
		}
	}
	x.Record.WouldBe = max(x.Record.WouldBe, worst.Action)
	if worst.Action != gate.Block || monitor {
		return gate.Decision{Verdict: min(worst.Action, gate.Flag)}
	}
	return gate.Deny(uninspectedProblem(worst), "uninspected "+worst.Kind.String())
}

func uninspectedProblem(u gate.Uninspected) *gate.Problem {
	code := gate.CodeUninspected
	if u.Kind == gate.UninspectedRealtime {
		code = gate.CodeRealtime
	}
	return &gate.Problem{
		Status: http.StatusBadRequest, Code: code, Param: u.Path,
		Message: "This gateway does not let content through that it cannot inspect (" + u.Kind.String() + ").",
	}
}

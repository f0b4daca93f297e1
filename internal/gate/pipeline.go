package gate

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Stage decides about a call, or leaves it to the next. A refusal is a Decision; an error means
// "could not decide" and is looked up in Failures. A stage must be safe for concurrent use.
type Stage interface {
	Name() string
	Admit(ctx context.Context, x *Exchange) (Decision, error)
}

// Pipeline is a literal list of stages. Their order is the security argument.
type Pipeline struct {
	Stages []Stage
	// Monitor opens the failures whose alternative is monitor mode.
	Monitor bool
	// Fault, when set, is told of every error a stage returned, with the stack of a panic.
	Fault func(x *Exchange, stage string, err error)
}

// Admit runs the stages in order. The first denial ends it. It never panics: a stage that does is
// a failure like any other.
func (p *Pipeline) Admit(ctx context.Context, x *Exchange) Decision {
	worst := Decision{}
	for _, s := range p.Stages {
		d, err := runStage(ctx, s, x)
		if err != nil {
			if p.Fault != nil {
				p.Fault(x, s.Name(), err)
			}
			d = p.failed(x, err)
		}
		d.Stage = s.Name()
		if d.Denied() {
			return d
		}
		if d.Verdict > worst.Verdict {
			worst = d
		}
	}
	return worst
}

func runStage(ctx context.Context, s Stage, x *Exchange) (d Decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = Panicked(s.Name(), r)
		}
	}()
	return s.Admit(ctx, x)
}

// Panicked turns a recovered panic into an error that carries its stack for the log.
func Panicked(where string, r any) error {
	f := FailStagePanicked
	var inner *Fault
	if e, ok := r.(*Fault); ok {
		f, inner = e.Failure, e
	}
	if inner != nil {
		return Fail(f, fmt.Errorf("panic in %s: %w", where, inner))
	}
	return Fail(f, fmt.Errorf("panic in %s: %v\n%s", where, r, debug.Stack()))
}

func (p *Pipeline) failed(x *Exchange, err error) Decision {
	row := FailureOf(err).Row()
	if p.Opens(row) {
		if x.Record != nil {
			x.Record.Uninspected = append(x.Record.Uninspected, Uninspected{Kind: UninspectedDetector, Action: Flag})
		}
		return Decision{Verdict: Flag, Reason: string(row.Failure)}
	}
	return Deny(row.Problem(), string(row.Failure))
}

// Opens says whether a failure lets the call go on in this pipeline's mode.
func (p *Pipeline) Opens(row FailureRow) bool {
	return row.Default == Open || (p.Monitor && row.Alternative == "inspect.mode: monitor")
}

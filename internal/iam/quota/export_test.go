package quota

import "context"

// ReservePrepared is what the stage does.
func (e *Engine) ReservePrepared(ctx context.Context, p *Prepared, est Amounts) (*Reservation, *Exceeded, error) {
	r := &Reservation{}
	if ex := e.reserve(ctx, r, p, &est); ex != nil {
		return nil, ex, nil
	}
	return r, nil, nil
}

package document

import (
	"context"
	"errors"
)

// sweepBatch is how many documents one transaction takes away: a writer beside it waits no longer.
const sweepBatch = 200

// Sweep deletes the entities of a tenant (nil: of all) that over is true of, and says how many. It looks
// without a transaction first, so that where there is nothing to do nobody waits; each is looked at again
// before it goes. Several nodes may sweep at once.
func Sweep[T Entity](ctx context.Context, s Store, tenant *string, over func(*T) bool) (n int, err error) {
	all, err := List[T](ctx, s, tenant)
	if err != nil {
		return 0, err
	}
	var ids []string
	for i := range all {
		if over(&all[i]) {
			ids = append(ids, all[i].Head().ID)
		}
	}
	for len(ids) > 0 {
		batch := ids[:min(len(ids), sweepBatch)]
		ids = ids[len(batch):]
		gone := 0
		err := s.Write(ctx, func(tx Tx) error {
			gone = 0
			for _, id := range batch {
				v, _, err := Get[T](ctx, tx, id)
				if errors.Is(err, ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				if !over(&v) {
					continue
				}
				if err := tx.Delete(ctx, v.Head().Kind, id); err != nil {
					return err
				}
				gone++
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		n += gone
	}
	return n, nil
}

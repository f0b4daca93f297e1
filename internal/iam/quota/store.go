package quota

import (
	"context"
	"errors"
	"time"
)

// Store is the side that nodes share. Lease is atomic over all of its asks and answers them in order.
// An error leaves open whether it happened; that is safe, because what was taken without the asker
// knowing it only goes unused. It must end when ctx does, and be safe for concurrent use.
type Store interface {
	Lease(ctx context.Context, node string, asks []Ask) (Answer, error)
}

// Ask concerns one account. The store keeps, for windowed units, the number of the window and what of
// its amount is gone (leased or declared); for concurrency, how many places each node holds and until
// when.
type Ask struct {
	Key    string // of the account; may hold any bytes
	Slots  bool   // of concurrency
	Index  int64  // number of the window, or of the ask among this node's asks for slots
	Amount int64  // of the bound
	Need   int64  // to be granted whole or not at all
	Want   int64  // at least Need; the rest as there is room
	Debt   int64  // used without a lease: charged whether there is room or not
	Return int64  // leased and given back
	// Held is what this node was granted of this window before this ask, or how many places it holds. It
	// is charged again where Generation shows that the store lost it.
	Held       int64
	Generation string
	TTL        time.Duration // until the window has ended on every node, or until the places lapse
	Length     time.Duration // of the window
}

// Grant answers an Ask.
type Grant struct {
	Granted    int64 // beyond Debt; for slots: how many places this node now holds
	Used       int64 // of the amount, by all nodes
	Index      int64 // of the window; above the asked one where another node's clock is ahead
	Generation string
}

// Answer is what the store says.
type Answer struct {
	// Epoch is a new one when the store lost its state. Settling says that it is young: nodes declare
	// what they hold, and nothing is granted yet.
	Epoch    string
	Settling bool
	Nodes    int // heard of lately
	Grants   []Grant
}

// Shared makes limits global.
//
// While the store answers, nothing is used that was not leased before: the sum over all nodes never
// passes the amount (overshoot 0). The exception is what a call used above its own estimate; that is a
// debt, charged at once where it fell and to all within Every.
//
// While it does not, a node may use what it has leased and, of what was then left as far as it knew, the
// share of one node. In a window in which the store was lost the overshoot is therefore at most
// amount*(N-1)/N, and nothing where all nodes knew the same; in windows wholly without a store, the
// shares add up to the amount (rounded up on each node: N-1 more). N must not be below the true number
// of nodes. A store that comes back empty is treated as away for a while, in which the nodes declare
// what they hold; what only a node knew that died meanwhile is forgotten, at most the amount.
//
// Places of concurrency lapse after SlotTTL. A node that is cut off for longer keeps to its share; the
// calls that it has in flight then may stand above the amount until they end.
type Shared struct {
	Store Store
	// Node names this process, never two at a time and never again after a restart.
	Node string
	// Nodes is the least number of nodes to reckon with while the store is away; 0: 1. More are
	// reckoned with when the store has heard of more.
	Nodes int
	// More, when set, is told once when the store has heard of more nodes than Nodes says: should it go
	// away before another node has heard of them, that one lets through too much.
	More func(nodes int)
	// Wait bounds how long a call waits for a lease; 0: 50 ms.
	Wait time.Duration
	// Every is the time between two rounds in which leases are renewed, refilled and given back; 0: 500 ms.
	Every time.Duration
	// SlotTTL is how long a node's places of concurrency stay its own without being renewed; 0:
	// DefaultSlotTTL. A node that crashed takes its places with it for so long.
	SlotTTL time.Duration
	// Fault, when set, is told once when the store goes away (limits are then kept locally:
	// gate.FailLimits) and once when it is back (nil).
	Fault func(error)
}

// DefaultSlotTTL: see Shared.SlotTTL.
const DefaultSlotTTL = 10 * time.Second

func (s *Shared) check() error {
	switch {
	case s.Store == nil:
		return errors.New("quota: make engine: shared limits without a store")
	case s.Node == "":
		return errors.New("quota: make engine: shared limits without a node's name")
	case s.Nodes < 0 || s.Wait < 0 || s.Every < 0 || s.SlotTTL < 0:
		return errors.New("quota: make engine: a negative number of nodes, wait or interval")
	}
	return nil
}

// Local says that limits are kept without the store at the moment: it is away, or has lost its state and
// hears what the nodes hold. False where limits are not shared.
func (e *Engine) Local() bool { return e.shared != nil && e.shared.local() }

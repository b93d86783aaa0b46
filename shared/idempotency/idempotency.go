// Package idempotency lets a client send a request again without having it done
// again: it names the request with a key, and a second request with that key gets
// the first one's result.
//
// The key rides in the transaction of the effect, so there is no moment at which one
// is there without the other, and a set of requests with keys costs no commit of its
// own:
//
//	tx { claim the keys ─► do what was not done before ─► keep the results }
//
// What a request with a key meets:
//
//	nothing is kept under it                 it is done, and its result is kept
//	the result of the same request           that result, Replayed
//	the result of another request            ErrReused: nothing is done
//	the first is being done at this moment   ErrInFlight: nothing is done
//	it failed before, or died uncommitted    nothing is kept: it is done
//
// The package is pure; keystore has the table.
package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of a request that was not done because of its key.
var (
	ErrReused   = errors.New("the idempotency key was used for another request")
	ErrInFlight = errors.New("the first request with this idempotency key is still in flight")
)

// ID names a key: clients choose values, so a value means something only for its user
// and operation.
type ID struct {
	UserID    int64
	Operation string
	Value     string
}

// Key is a key and the fingerprint of the request that came with it. The zero Key
// stands for a request without one.
type Key struct {
	ID
	Fingerprint [sha256.Size]byte
}

// NewKey is the key of a request; an empty value gives the zero Key. what is all that
// the request asks for: two requests are the same when it has the same JSON.
func NewKey(user int64, operation, value string, what any) (Key, error) {
	if value == "" {
		return Key{}, nil
	}
	b, err := json.Marshal(what)
	if err != nil {
		return Key{}, fmt.Errorf("idempotency key: %w", err)
	}
	return Key{ID{user, operation, value}, sha256.Sum256(b)}, nil
}

// Request is something to do, at most once under its key.
type Request[T any] struct {
	Key  Key
	What T
}

// Result is what became of one request. When Err is set, nothing was done.
type Result[T any] struct {
	Value    T
	Replayed bool // the Value is the first one's, kept under the key
	Err      error
}

// Kept is a key and the result that is kept under it, as JSON.
type Kept struct {
	Key
	Result []byte
}

// Tx is what [Once] needs of the transaction that the effect is in.
type Tx interface {
	// ClaimKeys locks keys until the end of the transaction and waits for nobody. It
	// returns those that it could lock, each with what is kept under it, nil when
	// nothing is. A key that is left out is being claimed by another transaction.
	ClaimKeys(ctx context.Context, keys ...Key) (map[ID]*Kept, error)
	// KeepResults keeps results under keys that were claimed.
	KeepResults(ctx context.Context, kept ...Kept) error
}

// Once has do do those of requests that were not done before under their key, as one
// set, and keeps the results of those that have a key. do returns one result for each.
// It returns one result for each request.
func Once[I, O any](ctx context.Context, tx Tx, requests []Request[I], do func([]I) ([]Result[O], error)) ([]Result[O], error) {
	claimed, err := claim(ctx, tx, requests)
	if err != nil {
		return nil, err
	}
	results := make([]Result[O], len(requests))
	todo, at := make([]I, 0, len(requests)), make([]int, 0, len(requests))
	for i, r := range requests {
		if r.Key != (Key{}) {
			kept, locked := claimed[r.Key.ID]
			switch {
			case !locked, kept != nil && kept.Result == nil:
				results[i].Err = ErrInFlight
				continue
			case kept != nil && kept.Fingerprint != r.Key.Fingerprint:
				results[i].Err = ErrReused
				continue
			case kept != nil:
				if err := json.Unmarshal(kept.Result, &results[i].Value); err != nil {
					results[i].Err = fmt.Errorf("kept result: %w", err) // no fault of its neighbours
				}
				results[i].Replayed = true
				continue
			}
			// Whoever comes with this key again in the same set finds it in flight.
			claimed[r.Key.ID] = &Kept{Key: r.Key}
		}
		todo, at = append(todo, r.What), append(at, i)
	}
	if len(todo) == 0 {
		return results, nil
	}
	done, err := do(todo)
	if err != nil {
		return nil, err
	}
	var keep []Kept
	for j, i := range at {
		results[i] = done[j]
		if requests[i].Key == (Key{}) || done[j].Err != nil {
			continue
		}
		b, err := json.Marshal(done[j].Value)
		if err != nil {
			return nil, fmt.Errorf("result to keep: %w", err)
		}
		keep = append(keep, Kept{requests[i].Key, b})
	}
	if len(keep) == 0 {
		return results, nil
	}
	return results, tx.KeepResults(ctx, keep...)
}

func claim[I any](ctx context.Context, tx Tx, requests []Request[I]) (map[ID]*Kept, error) {
	var keys []Key
	for _, r := range requests {
		if r.Key != (Key{}) {
			keys = append(keys, r.Key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return tx.ClaimKeys(ctx, keys...)
}

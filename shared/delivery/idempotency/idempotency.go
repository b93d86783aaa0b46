// Package idempotency lets a client retry a request without repeating its effect: the
// client names the request with a key, and every further request with that key gets the
// response to the first.
//
// The key is stored in the transaction of the effect, so neither can exist without the
// other, and a set of requests with keys needs no extra commit:
//
//	tx { Claim the keys ─► process the fresh requests ─► Complete: store their responses }
//
// Handling of a request with a key:
//
//	no response is stored under the key             the request is processed and its response is stored
//	the response to the same request is stored      that response is returned, with Replayed set
//	the response to another request is stored       ErrReused, nothing is done
//	the first request is being processed            ErrInFlight, nothing is done
//	the first request failed or was rolled back     the request is processed: failures are not stored
//
// The package does no I/O; package delivery stores the keys in a table.
package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of a request that was not processed because of its key.
var (
	ErrReused   = errors.New("the idempotency key was used for another request")
	ErrInFlight = errors.New("the first request with this idempotency key is still in flight")
)

// ID identifies a key. Clients choose the values, so a value is scoped to its user and
// operation.
type ID struct {
	UserID    int64
	Operation string
	Value     string
}

// Key is a key and the fingerprint of its request. The zero Key means that the request has
// no key.
type Key struct {
	ID
	Fingerprint [sha256.Size]byte
}

// NewKey returns the key of a request. It returns the zero Key if value is empty. The
// fingerprint is a hash of the JSON of body, which must contain all parameters of the
// request. Keys outlive a deployment, so a change of that JSON makes retries look like other
// requests.
func NewKey(user int64, operation, value string, body any) (Key, error) {
	if value == "" {
		return Key{}, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return Key{}, fmt.Errorf("idempotency key: %w", err)
	}
	return Key{ID{user, operation, value}, sha256.Sum256(b)}, nil
}

// Request is a request to be processed at most once under its key.
type Request[T any] struct {
	Key  Key
	Body T
}

// Response answers one [Request]. If Err is set, nothing was done.
type Response[T any] struct {
	Value    T
	Replayed bool // Value is the stored response to an earlier request
	Err      error
}

// Stored is a key with the response stored under it, encoded as JSON.
type Stored struct {
	Key
	Response []byte
}

// Tx is the part of a transaction that this package needs.
type Tx interface {
	// ClaimKeys locks keys until the end of the transaction, without waiting. It returns
	// the keys that it could lock, each with its stored response, or nil if there is none.
	// A key that is missing from the result is locked by another transaction.
	ClaimKeys(ctx context.Context, keys ...Key) (map[ID]*Stored, error)
	// StoreResponses stores responses under claimed keys.
	StoreResponses(ctx context.Context, stored ...Stored) error
}

// Claimed is a set of requests whose keys a transaction has claimed.
type Claimed[I, O any] struct {
	// Fresh contains the requests to process, in the order of the set. The responses to the
	// others are already known.
	Fresh []I

	responses []Response[O] // one per request of the set
	keys      []Key         // of Fresh
	index     []int         // of Fresh in responses
}

// Claim claims the keys of requests and determines which requests are fresh. decode decodes
// a stored response.
func Claim[I, O any](ctx context.Context, tx Tx, requests []Request[I], decode func([]byte) (O, error)) (*Claimed[I, O], error) {
	stored, err := claimKeys(ctx, tx, requests)
	if err != nil {
		return nil, err
	}
	c := &Claimed[I, O]{responses: make([]Response[O], len(requests))}
	for i, r := range requests {
		if r.Key != (Key{}) {
			s, locked := stored[r.Key.ID]
			switch {
			case !locked, s != nil && s.Response == nil:
				c.responses[i].Err = ErrInFlight
				continue
			case s != nil && s.Fingerprint != r.Key.Fingerprint:
				c.responses[i].Err = ErrReused
				continue
			case s != nil:
				c.responses[i] = replay(s.Response, decode)
				continue
			}
			stored[r.Key.ID] = &Stored{Key: r.Key} // another request of the set with this key is in flight
		}
		c.Fresh, c.keys, c.index = append(c.Fresh, r.Body), append(c.keys, r.Key), append(c.index, i)
	}
	return c, nil
}

// replay returns a stored response. If it cannot be decoded, only this request fails.
func replay[O any](stored []byte, decode func([]byte) (O, error)) Response[O] {
	value, err := decode(stored)
	if err != nil {
		return Response[O]{Err: fmt.Errorf("stored response: %w", err)}
	}
	return Response[O]{Value: value, Replayed: true}
}

// Complete stores the responses to the fresh requests, given in order, and returns one
// response per request of the set. Errors are not stored.
func (c *Claimed[I, O]) Complete(ctx context.Context, tx Tx, fresh []Response[O], encode func(O) ([]byte, error)) ([]Response[O], error) {
	var stored []Stored
	for j, r := range fresh {
		c.responses[c.index[j]] = r
		if c.keys[j] == (Key{}) || r.Err != nil {
			continue
		}
		b, err := encode(r.Value)
		if err != nil {
			return nil, fmt.Errorf("encode response: %w", err)
		}
		stored = append(stored, Stored{c.keys[j], b})
	}
	if len(stored) == 0 {
		return c.responses, nil
	}
	return c.responses, tx.StoreResponses(ctx, stored...)
}

func claimKeys[I any](ctx context.Context, tx Tx, requests []Request[I]) (map[ID]*Stored, error) {
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

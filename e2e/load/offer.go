package load

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Offered are the requests of [Client.Offer] and their outcomes.
type Offered struct {
	Requests []Offer
	// Unsent is the number of requests that were not sent on time, because every connection
	// was in use.
	Unsent int
}

// Offer is one request to place an order.
type Offer struct {
	Intended, Sent, Answered time.Time
	Status                   int // 0 if there was no valid response
	RetryAfter               bool
	Detail                   string // of the problem, if there was one
	Err                      error
}

// dispatchEvery is the interval in which due requests are handed to connections.
const dispatchEvery = time.Millisecond

// Offer sends requests to place an order at a fixed rate (per second), for the duration, over
// at most the given number of connections. It is an open loop: a request is sent at its
// scheduled time, whatever became of the earlier ones. It records every outcome, and the
// accepted orders in placed.
func (c *Client) Offer(ctx context.Context, connections, users int, rate float64, duration time.Duration, placed *Orders) Offered {
	o := &offering{c: c, ctx: ctx, users: users, placed: placed, due: make(chan time.Time)}
	var wg sync.WaitGroup
	for range connections {
		wg.Go(o.work)
	}
	unsent := o.dispatch(rate, duration)
	close(o.due)
	wg.Wait()
	return Offered{o.done, unsent}
}

type offering struct {
	c      *Client
	ctx    context.Context //nolint:containedctx // of the call of Offer
	users  int
	placed *Orders
	due    chan time.Time
	next   atomic.Int64 // numbers the requests

	mu   sync.Mutex
	done []Offer
}

// dispatch hands the requests that are due to idle connections. It returns how many found
// none.
func (o *offering) dispatch(rate float64, duration time.Duration) (unsent int) {
	tick := time.NewTicker(dispatchEvery)
	defer tick.Stop()
	start := time.Now()
	for i, n := 0, int(rate*duration.Seconds()); i < n; {
		at := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if time.Until(at) > 0 {
			select {
			case <-tick.C:
			case <-o.ctx.Done():
				return unsent
			}
			continue
		}
		select {
		case o.due <- at:
		default:
			unsent++
		}
		i++
	}
	return unsent
}

// work sends requests over one connection, which it replaces when it fails.
func (o *offering) work() {
	var done []Offer
	var p *conn
	for intended := range o.due {
		offer := Offer{Intended: intended, Sent: time.Now()}
		if p == nil {
			p, offer.Err = dial(o.ctx, o.c.base)
		}
		if offer.Err == nil {
			o.place(p, &offer)
		}
		offer.Answered = time.Now()
		if offer.Err != nil && p != nil {
			_ = p.Close()
			p = nil
		}
		done = append(done, offer)
	}
	if p != nil {
		_ = p.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, done...)
}

func (o *offering) place(p *conn, offer *Offer) {
	user := 1 + int(o.next.Add(1))%o.users
	status, body, err := p.place(orderOf(user))
	offer.Status, offer.RetryAfter, offer.Err = status, p.retryAfter, err
	switch {
	case err != nil:
	case status == http.StatusCreated:
		_, offer.Err = o.placed.accept(status, body, nil)
	default:
		_, rest, _ := bytes.Cut(body, []byte(`"detail":"`))
		detail, _, _ := bytes.Cut(rest, []byte(`"`))
		offer.Detail = string(detail)
	}
}

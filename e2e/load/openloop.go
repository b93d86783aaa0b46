package load

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Placed is an order of an open loop.
type Placed struct {
	ID       string
	Intended time.Time // when the request was scheduled to be sent
	Accepted time.Time // when the response had arrived
}

// PlaceAtRate places n orders at a fixed rate (per second), in turns for the users 1 to
// users. It is an open loop: a request is sent at its scheduled time even if earlier ones
// have no response yet. Latencies that are measured from Intended are therefore free of
// coordinated omission.
func (c *Client) PlaceAtRate(ctx context.Context, rate float64, users, n int) ([]Placed, error) {
	idle := make(chan *conn, n)
	defer func() {
		for close(idle); len(idle) > 0; {
			_ = (<-idle).Close()
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	placed := make([]Placed, n)
	var orders Orders
	var wg sync.WaitGroup
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		intended := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		timer.Reset(time.Until(intended))
		select {
		case <-timer.C:
		case <-ctx.Done():
			wg.Wait()
			return nil, context.Cause(ctx)
		}
		wg.Go(func() {
			id, err := c.placeOver(ctx, idle, &orders, 1+i%users)
			if err != nil {
				cancel(err)
				return
			}
			placed[i] = Placed{id, intended, time.Now()}
		})
	}
	wg.Wait()
	return placed, context.Cause(ctx)
}

// placeOver places an order over an idle connection, or over a new one if there is none.
func (c *Client) placeOver(ctx context.Context, idle chan *conn, orders *Orders, user int) (string, error) {
	var p *conn
	select {
	case p = <-idle:
	default:
		var err error
		if p, err = dial(ctx, c.base); err != nil {
			return "", err
		}
	}
	id, err := orders.accept(p.place(orderOf(user)))
	if err != nil {
		_ = p.Close()
		return "", err
	}
	idle <- p
	return id, nil
}

// Get sends a GET and returns the status and the body of the response.
func (c *Client) Get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("request: %w", err)
	}
	req.Host = host
	return c.do(req)
}

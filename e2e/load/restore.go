package load

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"net/http"
	"time"
)

// PlaceThroughRestores places orders of the users 1 to users until ctx is done, and requests
// the cancellation of every fourth one, which fails if the order was lost by a restore of the
// database. Like [Client.PlaceThroughFaults], it retries each request, after a pause, until the
// response is definite.
func (c *Client) PlaceThroughRestores(ctx context.Context, workers, users int, pause time.Duration, placed *Orders) error {
	err := each(ctx, workers, math.MaxInt, func(i int) error {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		key := rand.Text()
		status, body, err := c.postUntilDefinite(ctx, tick, placed, "/orders/", key, newOrder(users))
		if err != nil {
			return err
		}
		if status == http.StatusNotFound { // for two seconds, the gateway may use an address that another service has now
			return wait(ctx, tick)
		}
		id, err := placed.accept(status, body, nil)
		if err == nil && i%4 == 0 {
			_, _, err = c.postUntilDefinite(ctx, tick, placed, "/orders/"+id+"/cancel", key, nil)
		}
		return err
	})
	if errors.Is(err, ctx.Err()) {
		err = nil // it was stopped
	}
	return err
}

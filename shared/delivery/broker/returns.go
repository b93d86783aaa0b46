package broker

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	rabbitmq "github.com/wagslane/go-rabbitmq"
)

const (
	fenceKey    = "fence" // no queue is bound to it
	fenceEvery  = 100     // messages
	listenEvery = 100 * time.Millisecond
	listenTries = 50
)

// returns knows which messages of a batch the broker returned: those for which
// neither a queue nor the alternate exchange was there. It acks them all the same,
// and the client library hands over acks and returns on different goroutines, so an
// ack may be seen before its return.
//
// Therefore messages are followed by a fence, a message that is always returned.
// Returns come in the order of the messages: once that of a fence was seen, all
// before it were. There are several fences in a large batch, so that a broker too
// slow to answer the last by the deadline does not spoil all of it.
type returns struct {
	mu       sync.Mutex
	messages map[string]bool // ids
	sent     int             // number of the last fence that was published
	seen     int             // and of the last that was returned
	news     chan struct{}   // a fence was seen
}

func newReturns() *returns {
	return &returns{messages: map[string]bool{}, news: make(chan struct{}, 1)}
}

func (r *returns) handle(m rabbitmq.Return) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Exchange != DeadExchange || m.RoutingKey != fenceKey {
		r.messages[m.MessageId] = true
		return
	}
	if n, err := strconv.Atoi(m.MessageId); err == nil {
		r.seen = n
		select {
		case r.news <- struct{}{}:
		default:
		}
	}
}

// begin forgets the last batch.
func (r *returns) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.messages)
}

// next is the number of the next fence; published says that it was published.
func (r *returns) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent + 1
}

func (r *returns) published() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
}

// wait waits for the last fence, and returns the number of the last that was seen and
// the ids of the messages returned before it.
func (r *returns) wait(ctx context.Context, down <-chan struct{}) (seen int, messages map[string]bool) {
	for {
		r.mu.Lock()
		seen, messages = r.seen, maps.Clone(r.messages)
		last := r.sent
		r.mu.Unlock()
		if seen >= last {
			return seen, messages
		}
		select {
		case <-r.news:
			continue
		case <-ctx.Done():
		case <-down:
		}
		return seen, messages
	}
}

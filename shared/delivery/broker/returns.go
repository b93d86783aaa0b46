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
	fenceKey     = "fence" // routing key; no queue is bound with it
	fenceEvery   = 100     // messages
	probeTimeout = 100 * time.Millisecond
	maxProbes    = 50
)

// returnTracker records which messages of a batch the broker returned because neither a
// queue nor the alternate exchange existed. The broker also acks these messages. The client
// library delivers acks and returns on different goroutines, so an ack may arrive before
// its return.
//
// Therefore a batch ends with a fence, a message that is always returned. Returns arrive in
// the order of the messages: when a fence has been returned, so have all unroutable messages
// before it. A large batch has several fences, so that a broker too slow to return the last
// one by the deadline does not fail the whole batch.
type returnTracker struct {
	mu            sync.Mutex
	messageIDs    map[string]bool // of the messages returned in this batch
	lastPublished int             // number of the last fence that was published
	lastReturned  int             // number of the last fence that was returned
	notify        chan struct{}   // receives after a fence was returned
}

func newReturnTracker() *returnTracker {
	return &returnTracker{messageIDs: map[string]bool{}, notify: make(chan struct{}, 1)}
}

func (r *returnTracker) handle(m rabbitmq.Return) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Exchange != DeadExchange || m.RoutingKey != fenceKey {
		r.messageIDs[m.MessageId] = true
		return
	}
	if n, err := strconv.Atoi(m.MessageId); err == nil {
		r.lastReturned = n
		select {
		case r.notify <- struct{}{}:
		default:
		}
	}
}

// reset removes the message ids of the last batch.
func (r *returnTracker) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.messageIDs)
}

// nextFence returns the number of the next fence. It grows when fencePublished is called.
func (r *returnTracker) nextFence() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastPublished + 1
}

func (r *returnTracker) fencePublished() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastPublished++
}

// wait waits until the last published fence is returned, ctx is done or the session ends.
// It returns the number of the last fence that was returned and the ids of the messages
// that were returned.
func (r *returnTracker) wait(ctx context.Context, ended <-chan struct{}) (lastFence int, messageIDs map[string]bool) {
	for {
		r.mu.Lock()
		lastFence, messageIDs = r.lastReturned, maps.Clone(r.messageIDs)
		lastPublished := r.lastPublished
		r.mu.Unlock()
		if lastFence >= lastPublished {
			return lastFence, messageIDs
		}
		select {
		case <-r.notify:
			continue
		case <-ctx.Done():
		case <-ended:
		}
		return lastFence, messageIDs
	}
}

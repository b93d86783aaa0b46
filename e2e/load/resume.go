package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	reconnectAfter = time.Second      // what the shop sends as retry
	silence        = 40 * time.Second // heartbeats arrive every 15 seconds
)

// Resuming is a set of event streams that reconnect when they end, as a browser does. It is
// safe for concurrent use.
type Resuming struct {
	Interrupted, Resumed atomic.Int64 // how often a stream ended, and continued without a gap

	mu       sync.Mutex
	versions map[string]int64 // newest version by order
	running  sync.WaitGroup
}

// Version returns the newest version of an order that a stream has received, or 0.
func (r *Resuming) Version(id string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[id]
}

// Missed returns the orders that have a newer version than a stream has received. rows are their
// ids and versions, as id|version, separated by white space.
func (r *Resuming) Missed(rows string) (ids []string, err error) {
	for row := range strings.FieldsSeq(rows) {
		id, version, _ := strings.Cut(row, "|")
		newest, err := strconv.ParseInt(version, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("version of %s: %w", id, err)
		}
		if r.Version(id) < newest {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Wait returns when all streams have returned, after the context of FollowResuming is done.
func (r *Resuming) Wait() { r.running.Wait() }

// FollowResuming opens a stream for each of the users 1 to users, and keeps it open until ctx
// is done. It returns once each stream has its snapshot. A connection that fails counts as a
// failed request.
func (c *Client) FollowResuming(ctx context.Context, users int, failures *Failures) *Resuming {
	r := &Resuming{versions: map[string]int64{}}
	var opened sync.WaitGroup
	opened.Add(users)
	for user := 1; user <= users; user++ {
		r.running.Go(func() {
			f := &following{Resuming: r, first: sync.OnceFunc(opened.Done)}
			tick := time.NewTicker(reconnectAfter)
			defer tick.Stop()
			for ctx.Err() == nil {
				failures.Requests.Add(1)
				open, err := f.follow(ctx, c.base, user)
				f.first() // also if it failed
				if ctx.Err() != nil {
					return
				}
				if open {
					r.Interrupted.Add(1)
				} else {
					failures.add("event stream of user %d: %v", user, err)
				}
				tick.Reset(reconnectAfter)
				_ = wait(ctx, tick)
			}
		})
	}
	opened.Wait()
	return r
}

// following is a stream of [Resuming], over all of its connections.
type following struct {
	*Resuming
	last  string // id of the last event
	first func() // called when the first event has arrived
}

// follow opens the stream and reads it until it ends. It reports whether the stream was
// open, and why it ended.
func (f *following) follow(ctx context.Context, base string, user int) (open bool, _ error) {
	p, err := dial(ctx, base)
	if err != nil {
		return false, err
	}
	defer p.Close()
	defer context.AfterFunc(ctx, func() { _ = p.Close() })()
	request := fmt.Sprintf("GET /orders/events?user_id=%d HTTP/1.1\r\nHost: %s\r\n", user, host)
	if f.last != "" {
		request += "Last-Event-ID: " + f.last + "\r\n"
	}
	if _, err := fmt.Fprintf(p, "%s\r\n", request); err != nil {
		return false, err
	}
	if err := p.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the response is %s", resp.Status)
	}
	resuming := f.last != ""
	in := bufio.NewReader(resp.Body)
	for {
		if err := p.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return true, err
		}
		name, data, err := f.next(in)
		if err != nil {
			return true, err
		}
		f.first()
		if resuming && name != "snapshot" {
			f.Resumed.Add(1)
		}
		resuming = false
		if name != "order" {
			continue
		}
		var o struct {
			ID      string
			Version int64
		}
		if err := json.Unmarshal([]byte(data), &o); err != nil {
			return true, err
		}
		f.mu.Lock()
		f.versions[o.ID] = max(f.versions[o.ID], o.Version)
		f.mu.Unlock()
	}
}

// next reads an event. An event without a name is a heartbeat.
func (f *following) next(in *bufio.Reader) (name, data string, _ error) {
	id := f.last
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			f.last = id
			return name, data, nil
		}
		switch field, value, _ := strings.Cut(line, ": "); field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		}
	}
}

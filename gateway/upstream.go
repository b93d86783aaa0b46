package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = 2 * time.Second
	lookupTimeout = 2 * time.Second
	// asideFor is how long a replica is passed over after it could not be reached.
	asideFor = 2 * time.Second
)

var errNoReplica = errors.New("no replica is known")

// lookup resolves a host to its addresses, as net.Resolver.LookupNetIP does.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// upstream is one service: the replicas that its host name resolves to. It is safe
// for concurrent use.
type upstream struct {
	name, host, port string
	lookup           lookup
	metrics          *metrics
	refresh          chan struct{}
	known            atomic.Pointer[[]*replica]
	turn             atomic.Uint64

	mu sync.Mutex // one refresh at a time
}

// replica is one address of a service.
type replica struct {
	addr     string // host:port
	inFlight atomic.Int64
	aside    atomic.Int64 // until when it is passed over, in Unix nanoseconds
}

func newUpstream(target *url.URL, l lookup, m *metrics) *upstream {
	port := target.Port()
	if port == "" {
		port = "80"
	}
	u := &upstream{name: target.Host, host: target.Hostname(), port: port, lookup: l, metrics: m, refresh: make(chan struct{}, 1)}
	u.known.Store(&[]*replica{})
	return u
}

// run keeps the list of replicas fresh until ctx is done.
func (u *upstream) run(ctx context.Context, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := u.resolve(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "replicas not looked up, keeping those that are known", "service", u.name, "error", err)
		}
		select {
		case <-tick.C:
		case <-u.refresh:
		case <-ctx.Done():
			return nil
		}
	}
}

// resolve looks the replicas up. Those that stay keep their state; when the lookup
// fails, all stay.
func (u *upstream) resolve(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := u.lookup(ctx, "ip", u.host)
	if err != nil {
		return fmt.Errorf("look up %s: %w", u.host, err)
	}
	old := *u.known.Load()
	fresh := make([]*replica, 0, len(addrs))
	for _, a := range addrs {
		addr := net.JoinHostPort(a.Unmap().String(), u.port)
		if i := slices.IndexFunc(old, func(r *replica) bool { return r.addr == addr }); i >= 0 {
			fresh = append(fresh, old[i])
		} else {
			fresh = append(fresh, &replica{addr: addr})
		}
	}
	u.known.Store(&fresh)
	u.metrics.replicas.WithLabelValues(u.name).Set(float64(len(fresh)))
	return nil
}

// pick chooses the replica with the fewest requests in hand, by turns among equals,
// and prefers one that is neither aside nor in tried. It returns nil when all are in
// tried.
func (u *upstream) pick(tried []*replica) *replica {
	known := *u.known.Load()
	if len(known) == 0 {
		return nil
	}
	start := int(u.turn.Add(1) % uint64(len(known))) //nolint:gosec // less than the length of a slice
	now := time.Now().UnixNano()
	var best *replica
	better := func(r *replica) bool {
		if best == nil {
			return true
		}
		if a, b := r.aside.Load() > now, best.aside.Load() > now; a != b {
			return b
		}
		return r.inFlight.Load() < best.inFlight.Load()
	}
	for i := range known {
		r := known[(start+i)%len(known)]
		if !slices.Contains(tried, r) && better(r) {
			best = r
		}
	}
	return best
}

// failed puts a replica aside and has the list looked up again soon.
func (u *upstream) failed(r *replica) {
	r.aside.Store(time.Now().Add(asideFor).UnixNano())
	select {
	case u.refresh <- struct{}{}:
	default:
	}
}

// ready is nil when one replica, whichever, takes a connection.
func (u *upstream) ready(ctx context.Context) error {
	err := errNoReplica
	for _, r := range *u.known.Load() {
		var conn net.Conn
		if conn, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", r.addr); err == nil {
			return conn.Close()
		}
	}
	if !errors.Is(err, errNoReplica) {
		return errors.New("no replica can be reached")
	}
	return err
}

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

	"gozon/gateway/internal/http1"
)

const (
	lookupTimeout = 2 * time.Second
	// skipFor is how long a replica is skipped after a failure, or when it is stopping. A
	// stopping replica accepts requests for less time.
	skipFor = 2 * time.Second
	// idleTimeout is shorter than the idle timeout of the services.
	idleTimeout = time.Minute
)

var errNoReplica = errors.New("no replica is known")

// lookupFunc resolves a host name to its addresses, like [net.Resolver.LookupNetIP].
type lookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

// upstream is a service and the replicas that its host name resolves to. It is safe for
// concurrent use.
type upstream struct {
	name, host, port string
	lookup           lookupFunc
	metrics          *metrics
	refresh          chan struct{} // requests a lookup before the next tick
	replicas         atomic.Pointer[[]*replica]
	nextStart        atomic.Uint64 // where pick starts its search, modulo the number of replicas

	mu sync.Mutex // serializes lookups
}

// replica is one address of a service.
type replica struct {
	addr      string // host:port
	pool      *http1.Pool
	inFlight  atomic.Int64
	skipUntil atomic.Int64 // in Unix nanoseconds
}

// done records that a request is no longer in flight.
func (r *replica) done() { r.inFlight.Add(-1) }

func newUpstream(target *url.URL, lookup lookupFunc, m *metrics) *upstream {
	port := target.Port()
	if port == "" {
		port = "80"
	}
	u := &upstream{name: target.Host, host: target.Hostname(), port: port, lookup: lookup, metrics: m, refresh: make(chan struct{}, 1)}
	u.replicas.Store(&[]*replica{})
	return u
}

// run keeps the list of replicas up to date, and closes connections that are not needed,
// until ctx is done.
func (u *upstream) run(ctx context.Context, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := u.resolve(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "resolver: lookup failed, keeping the known replicas", "service", u.name, "error", err)
		}
		for _, r := range *u.replicas.Load() {
			r.pool.CloseIdle(idleTimeout)
		}
		select {
		case <-tick.C:
		case <-u.refresh:
		case <-ctx.Done():
			return nil
		}
	}
}

// resolve looks up the replicas. A replica that was known before keeps its state. If the
// lookup fails, the list does not change.
func (u *upstream) resolve(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := u.lookup(ctx, "ip", u.host)
	if err != nil {
		return fmt.Errorf("look up %s: %w", u.host, err)
	}
	old := *u.replicas.Load()
	fresh := make([]*replica, 0, len(addrs))
	for _, a := range addrs {
		addr := net.JoinHostPort(a.Unmap().String(), u.port)
		if i := slices.IndexFunc(old, func(r *replica) bool { return r.addr == addr }); i >= 0 {
			fresh = append(fresh, old[i])
		} else {
			fresh = append(fresh, &replica{addr: addr, pool: http1.NewPool(addr)})
		}
	}
	for _, r := range old {
		if !slices.Contains(fresh, r) {
			r.pool.Close()
		}
	}
	u.replicas.Store(&fresh)
	u.metrics.replicas.WithLabelValues(u.name).Set(float64(len(fresh)))
	return nil
}

// pick returns the replica with the fewest requests in flight, in rotation among equals. It
// never returns one in exclude, and returns one that is being skipped only if there is no
// other. It returns nil if no replica is left.
func (u *upstream) pick(exclude []*replica) *replica {
	all := *u.replicas.Load()
	if len(all) == 0 {
		return nil
	}
	start := int(u.nextStart.Add(1) % uint64(len(all))) //nolint:gosec // less than the length of a slice
	now := time.Now().UnixNano()
	var best *replica
	better := func(r *replica) bool {
		if best == nil {
			return true
		}
		if a, b := r.skipUntil.Load() > now, best.skipUntil.Load() > now; a != b {
			return b
		}
		return r.inFlight.Load() < best.inFlight.Load()
	}
	for i := range all {
		r := all[(start+i)%len(all)]
		if !slices.Contains(exclude, r) && better(r) {
			best = r
		}
	}
	return best
}

// skip makes pick skip r for a while and triggers a lookup of the replicas.
func (u *upstream) skip(r *replica) {
	r.skipUntil.Store(time.Now().Add(skipFor).UnixNano())
	select {
	case u.refresh <- struct{}{}:
	default:
	}
}

// ready returns nil if at least one replica accepts a connection.
func (u *upstream) ready(ctx context.Context) error {
	err := errNoReplica
	for _, r := range *u.replicas.Load() {
		var conn net.Conn
		if conn, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", r.addr); err == nil {
			return conn.Close()
		}
	}
	if !errors.Is(err, errNoReplica) {
		return errors.New("no replica is reachable")
	}
	return err
}

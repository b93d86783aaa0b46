package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/shared/service"
)

type clientKey struct{}

// clientAddress returns the address of the client that sent r: the nearest one that is not a
// trusted proxy. It is the peer of the connection if the request did not pass
// [clients.identify]. IPv4 addresses are never in their IPv6 form.
func clientAddress(r *http.Request) netip.Addr {
	if client, ok := r.Context().Value(clientKey{}).(netip.Addr); ok {
		return client
	}
	return peerAddress(r)
}

// peerAddress returns the address at the other end of the connection, which is invalid if the
// connection has none.
func peerAddress(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero value if there is an error
	return peer.Addr().Unmap().WithZone("")
}

// proxies are host names and networks of proxies, parsed from the environment variable
// TRUSTED_PROXIES.
//
// A host name is better than a network: requests to a port that the engine publishes may come
// from the address of the bridge, which is in the same network as nginx.
type proxies struct {
	hosts    []string
	networks []netip.Prefix
}

// UnmarshalText parses "frontend,10.1.0.0/16,10.2.0.1".
func (p *proxies) UnmarshalText(text []byte) error {
	for entry := range strings.SplitSeq(string(text), ",") {
		entry = strings.TrimSpace(entry)
		if network, err := netip.ParsePrefix(entry); err == nil {
			p.networks = append(p.networks, network)
		} else if addr, err := netip.ParseAddr(entry); err == nil {
			p.networks = append(p.networks, netip.PrefixFrom(addr, addr.BitLen()))
		} else if strings.ContainsAny(entry, "/: ") {
			return fmt.Errorf("%q is not a network, an address or a host name", entry)
		} else if entry != "" {
			p.hosts = append(p.hosts, entry)
		}
	}
	return nil
}

// clients determines the addresses of clients. It believes the X-Forwarded-For of trusted
// proxies.
type clients struct {
	trusted proxies
	lookup  lookupFunc
	log     *slog.Logger
	found   atomic.Pointer[[]netip.Addr] // the addresses of the trusted hosts
}

func newClients(trusted proxies, lookup lookupFunc, log *slog.Logger) *clients {
	c := &clients{trusted: trusted, lookup: lookup, log: log}
	c.found.Store(&[]netip.Addr{})
	return c
}

// run keeps the addresses of the trusted hosts up to date until ctx is done.
func (c *clients) run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		c.resolve(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// resolve looks up the trusted hosts. If a lookup fails, the known addresses are kept: the
// proxy may be restarting.
func (c *clients) resolve(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var found []netip.Addr
	for _, host := range c.trusted.hosts {
		addrs, err := c.lookup(ctx, "ip", host)
		if err != nil {
			c.log.DebugContext(ctx, "trusted proxies: lookup failed, keeping the known addresses", "host", host, "error", err)
			return
		}
		for _, a := range addrs {
			found = append(found, a.Unmap())
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	if old := c.found.Swap(&found); !slices.Equal(*old, found) {
		c.log.InfoContext(ctx, "trusted proxies: addresses have changed", "hosts", c.trusted.hosts, "addresses", found)
	}
}

func (c *clients) trusts(a netip.Addr) bool {
	return slices.Contains(*c.found.Load(), a) ||
		slices.ContainsFunc(c.trusted.networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// identify is middleware that determines the address of the client, for [clientAddress] and
// for the log lines of the request.
func (c *clients) identify(g *gin.Context) {
	client := c.of(g.Request)
	ctx := service.WithLogAttrs(g.Request.Context(), slog.String("client", client.String()))
	g.Request = g.Request.WithContext(context.WithValue(ctx, clientKey{}, client))
}

// of follows X-Forwarded-For back from the peer of the connection to the first address that
// is not a trusted proxy. The client may have written what precedes it. That a client lists
// the header in Connection has no effect.
func (c *clients) of(r *http.Request) netip.Addr {
	client := peerAddress(r)
	if !c.trusts(client) {
		return client
	}
	path := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(path) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if client = a.Unmap().WithZone(""); !c.trusts(client) {
			break
		}
	}
	return client
}

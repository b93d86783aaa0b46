package main

import (
	"context"
	"errors"
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
// [trustedProxies.identify]. IPv4 addresses are never in their IPv6 form.
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

// trustedProxies are the proxies whose X-Forwarded-For is believed. It is parsed from the
// environment variable TRUSTED_PROXIES.
//
// A host name is better than a network: requests to a port that the engine publishes may come
// from the address of the bridge, which is in the same network as the proxy.
type trustedProxies struct {
	networks []netip.Prefix
	hosts    []string
	found    *atomic.Pointer[[]netip.Addr] // addresses of hosts
}

// UnmarshalText parses "frontend,10.1.0.0/16,10.2.0.1".
func (t *trustedProxies) UnmarshalText(text []byte) error {
	*t = trustedProxies{found: &atomic.Pointer[[]netip.Addr]{}}
	for entry := range strings.SplitSeq(string(text), ",") {
		entry = strings.TrimSpace(entry)
		if network, err := netip.ParsePrefix(entry); err == nil {
			t.networks = append(t.networks, network.Masked())
		} else if addr, err := netip.ParseAddr(entry); err == nil {
			t.networks = append(t.networks, netip.PrefixFrom(addr, addr.BitLen()))
		} else if strings.ContainsAny(entry, "/: ") {
			return fmt.Errorf("%q is not a network, an address or a host name", entry)
		} else if entry != "" {
			t.hosts = append(t.hosts, entry)
		}
	}
	return nil
}

// run keeps the addresses of the hosts up to date until ctx is done.
func (t *trustedProxies) run(ctx context.Context, lookup lookupFunc, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		t.resolve(ctx, lookup, log)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// resolve looks up the hosts. If a lookup fails, the known addresses of all hosts are kept:
// the proxy may be restarting.
func (t *trustedProxies) resolve(ctx context.Context, lookup lookupFunc, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var found []netip.Addr
	var failed error
	for _, host := range t.hosts {
		addrs, err := lookup(ctx, "ip", host)
		failed = errors.Join(failed, err)
		for _, a := range addrs {
			found = append(found, a.Unmap())
		}
	}
	if failed != nil {
		log.DebugContext(ctx, "trusted proxies: lookup failed, keeping the known addresses", "error", failed)
		return
	}
	slices.SortFunc(found, netip.Addr.Compare)
	if old := t.found.Swap(&found); old == nil || !slices.Equal(*old, found) {
		log.InfoContext(ctx, "trusted proxies: new addresses", "hosts", t.hosts, "addresses", found)
	}
}

func (t *trustedProxies) contain(a netip.Addr) bool {
	if found := t.found.Load(); found != nil && slices.Contains(*found, a) {
		return true
	}
	return slices.ContainsFunc(t.networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// identify is middleware that determines the address of the client, for [clientAddress] and
// for the log lines of the request.
func (t *trustedProxies) identify(c *gin.Context) {
	client := t.client(c.Request)
	ctx := service.WithLogAttrs(c.Request.Context(), slog.String("client", client.String()))
	c.Request = c.Request.WithContext(context.WithValue(ctx, clientKey{}, client))
}

// client follows X-Forwarded-For from the peer of the connection back to the first address
// that is not a trusted proxy. What is left of it was sent by the client itself. That the
// client lists the header in Connection has no effect.
func (t *trustedProxies) client(r *http.Request) netip.Addr {
	client := peerAddress(r)
	if !client.IsValid() || !t.contain(client) {
		return client
	}
	path := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(path) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // what follows is not trustworthy either
		}
		if client = a.Unmap().WithZone(""); !t.contain(client) {
			break
		}
	}
	return client
}

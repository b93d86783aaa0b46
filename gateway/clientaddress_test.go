package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClientIsTheNearestAddressThatIsNotATrustedProxy(t *testing.T) {
	t.Parallel()
	var trusted proxies
	require.NoError(t, trusted.UnmarshalText([]byte("frontend, 10.1.0.0/16,fd00::1")))
	c := newClients(trusted, func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("::ffff:172.18.0.3")}, nil
	}, discard)
	c.resolve(t.Context())
	for name, tc := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"direct":                        {"172.18.0.1:1", nil, "172.18.0.1"},
		"direct, forged":                {"172.18.0.1:1", []string{"6.6.6.6"}, "172.18.0.1"},
		"through nginx":                 {"172.18.0.3:1", []string{"7.7.7.7"}, "7.7.7.7"},
		"through nginx, forged":         {"172.18.0.3:1", []string{"6.6.6.6, 7.7.7.7"}, "7.7.7.7"},
		"forged as a proxy":             {"172.18.0.3:1", []string{"10.1.0.1, 7.7.7.7"}, "7.7.7.7"},
		"through two proxies":           {"172.18.0.3:1", []string{"6.6.6.6,7.7.7.7 ,10.1.2.3"}, "7.7.7.7"},
		"several headers":               {"172.18.0.3:1", []string{"6.6.6.6", "7.7.7.7", "10.1.2.3"}, "7.7.7.7"},
		"a proxy itself":                {"172.18.0.3:1", nil, "172.18.0.3"},
		"only proxies":                  {"172.18.0.3:1", []string{"10.1.2.3"}, "10.1.2.3"},
		"not an address":                {"172.18.0.3:1", []string{"7.7.7.7, unknown"}, "172.18.0.3"},
		"not an address before a proxy": {"172.18.0.3:1", []string{"unknown, 10.1.2.3"}, "10.1.2.3"},
		"empty":                         {"172.18.0.3:1", []string{""}, "172.18.0.3"},
		"IPv6":                          {"[fd00::1]:1", []string{"2001:db8::7%eth0"}, "2001:db8::7"},
		"IPv6, mapped":                  {"[::ffff:172.18.0.3]:1", []string{"::ffff:7.7.7.7"}, "7.7.7.7"},
		"IPv6, direct":                  {"[fd00::2]:1", []string{"7.7.7.7"}, "fd00::2"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/orders", http.NoBody)
		r.RemoteAddr = tc.peer
		r.Header["X-Forwarded-For"] = tc.forwarded
		require.Equal(t, tc.want, c.of(r).String(), name)
	}
}

func TestTrustedProxiesFollowTheirHostName(t *testing.T) {
	t.Parallel()
	first, second := netip.MustParseAddr("172.18.0.3"), netip.MustParseAddr("172.18.0.4")
	var addrs []netip.Addr
	var err error
	c := newClients(proxies{hosts: []string{"frontend"}}, func(context.Context, string, string) ([]netip.Addr, error) { return addrs, err }, discard)
	require.False(t, c.trusts(first), "nothing is trusted before the first lookup")
	addrs = []netip.Addr{first}
	c.resolve(t.Context())
	require.True(t, c.trusts(first))
	addrs, err = nil, errors.New("timeout")
	c.resolve(t.Context())
	require.True(t, c.trusts(first))
	addrs, err = []netip.Addr{second}, nil
	c.resolve(t.Context())
	require.False(t, c.trusts(first))
	require.True(t, c.trusts(second))
}

func TestTrustedProxiesAreValidated(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"10.0.0.0/33", "http://frontend", "frontend:8080", "two words"} {
		require.Error(t, new(proxies).UnmarshalText([]byte(text)), text)
	}
	none := newClients(proxies{}, nil, discard)
	none.resolve(t.Context())
	require.False(t, none.trusts(netip.MustParseAddr("127.0.0.1")))
	require.False(t, none.trusts(netip.Addr{}))
}

package service_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/servicetest"
)

func TestDisconnected(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(client, server net.Conn) error{
		"closed by the peer":          func(client, _ net.Conn) error { return client.Close() },
		"reset by the peer":           func(client, _ net.Conn) error { return reset(client) },
		"closed here":                 func(_, server net.Conn) error { return server.Close() },
		"closed after unread content": func(client, _ net.Conn) error { return writeAndClose(client) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := connect(t)
			raw := service.RawConn(server)
			require.NotNil(t, raw)
			require.False(t, service.Disconnected(raw))
			_, err := client.Write([]byte("x"))
			require.NoError(t, err)
			require.False(t, service.Disconnected(raw), "what the peer sends is not its end")
			require.NoError(t, leave(client, server))
			servicetest.Eventually(t, func() bool { return service.Disconnected(raw) })
		})
	}
}

func TestRawConnOfNoSocket(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	require.Nil(t, service.RawConn(a))
}

// connect returns both ends of a TCP connection.
func connect(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

func reset(c net.Conn) error {
	if err := c.(*net.TCPConn).SetLinger(0); err != nil { //nolint:forcetypeassert // of connect
		return err
	}
	return c.Close()
}

func writeAndClose(c net.Conn) error {
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		return err
	}
	return c.Close()
}

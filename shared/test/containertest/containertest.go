// Package containertest starts the containers of databasetest and brokertest: one that the
// tests of a package share, or a separate one for a test that stops or breaks it.
package containertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
)

const (
	startWithin = 2 * time.Minute
	stopWithin  = 20 * time.Second

	firstPort, ports = 20000, 10000 // below the ephemeral ports of Linux, which start at 32768
	attempts         = 5            // to find a free port
)

// Container is a container and the address of its published port on this machine.
type Container struct {
	testcontainers.Container
	Addr string
}

// Run starts a container and publishes port. The published port does not change when the
// container is restarted.
func Run(req testcontainers.ContainerRequest, port int) (*Container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	exposed := req.ExposedPorts
	for attempt := 1; ; attempt++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(hostPort()))
		req.ExposedPorts = append(slices.Clone(exposed), addr+":"+strconv.Itoa(port)+"/tcp")
		c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true})
		if err == nil {
			return &Container{c, addr}, nil
		}
		err = errors.Join(fmt.Errorf("start %s: %w", req.Image, err), testcontainers.TerminateContainer(c))
		if attempt == attempts || !portInUse(err) {
			return nil, err
		}
	}
}

// hostPort returns a random port below the ephemeral ports. Only another test can choose the
// same port. The kernel does not assign it to a connection or a listener while the container
// is down between Kill and Restart.
func hostPort() int {
	return firstPort + rand.IntN(ports) //nolint:gosec // not a secret
}

// portInUse reports whether the container did not start because its port is in use.
func portInUse(err error) bool {
	return strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
}

// Kill stops the container without a grace period, to simulate a crash.
func (c *Container) Kill(t testing.TB) {
	t.Helper()
	now := time.Duration(0)
	require.NoError(t, c.Stop(t.Context(), &now))
}

// Command runs a command in the container, which must succeed.
func (c *Container) Command(t testing.TB, command ...string) {
	t.Helper()
	code, out, err := c.Exec(t.Context(), command)
	require.NoError(t, err)
	output, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Zero(t, code, string(output))
}

// Restart starts a killed container and waits until it is ready.
func (c *Container) Restart(t testing.TB) {
	t.Helper()
	require.NoError(t, c.Start(t.Context()))
}

// Shared is a container that the tests of a package share. The first call of Get starts it.
type Shared struct {
	start func() (*Container, error)
	once  sync.Once
	c     *Container
	err   error
}

var (
	mu  sync.Mutex
	all []*Shared
)

// NewShared returns a Shared that uses start to start the container.
func NewShared(start func() (*Container, error)) *Shared {
	s := &Shared{start: start}
	mu.Lock()
	defer mu.Unlock()
	all = append(all, s)
	return s
}

// Main runs the tests of a package, stops the shared containers and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	for _, s := range all {
		if s.c != nil {
			stop(s.c)
		}
	}
	return code
}

// Get returns the container. It skips the test with -short and fails it without Docker.
func (s *Shared) Get(t testing.TB) *Container {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	s.once.Do(func() { s.c, s.err = s.start() })
	require.NoError(t, s.err)
	return s.c
}

// Own starts a separate container for this test. It is removed when the test ends.
func Own(t testing.TB, start func() (*Container, error)) *Container {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	c, err := start()
	require.NoError(t, err)
	t.Cleanup(func() { stop(c) })
	return c
}

func stop(c *Container) {
	if err := testcontainers.TerminateContainer(c, testcontainers.StopTimeout(stopWithin)); err != nil {
		fmt.Fprintln(os.Stderr, "container not removed:", err)
	}
}

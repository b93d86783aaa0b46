// Package containertest starts the containers of databasetest and brokertest: one
// for all tests of a package, or one for a test that wants to break it.
package containertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
)

const (
	startWithin = 2 * time.Minute
	stopWithin  = 20 * time.Second
)

// Container is a running container and the address of its port on this machine.
type Container struct {
	testcontainers.Container
	Addr string
}

// Image is the image that the environment variable name says, or the official one.
func Image(name, official string) string {
	if image := os.Getenv(name); image != "" {
		return image
	}
	return official
}

// Run starts a container whose port stays the same when it is started again.
func Run(req testcontainers.ContainerRequest, port int) (*Container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	_, free, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	req.ExposedPorts = append(req.ExposedPorts, "127.0.0.1:"+free+":"+strconv.Itoa(port)+"/tcp")
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", req.Image, err)
	}
	return &Container{c, addr}, nil
}

// Kill ends the container's process at once, as a crash would.
func (c *Container) Kill(t testing.TB) {
	t.Helper()
	now := time.Duration(0)
	require.NoError(t, c.Stop(t.Context(), &now))
}

// Restart starts a container that was killed, and waits until it is ready again.
func (c *Container) Restart(t testing.TB) {
	t.Helper()
	require.NoError(t, c.Start(t.Context()))
}

// Shared is a container that the tests of one package share. It starts when the
// first test wants it.
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

// NewShared shares the container that start gives.
func NewShared(start func() (*Container, error)) *Shared {
	s := &Shared{start: start}
	mu.Lock()
	defer mu.Unlock()
	all = append(all, s)
	return s
}

// Main runs the tests of a package and then stops the containers that they shared:
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

// Get returns the container. With -short the test is skipped; without Docker it fails.
func (s *Shared) Get(t testing.TB) *Container {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	s.once.Do(func() { s.c, s.err = s.start() })
	require.NoError(t, s.err)
	return s.c
}

// Own returns a container for this test alone.
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

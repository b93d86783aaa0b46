// Package containertest starts the containers of databasetest and brokertest: one
// for all tests of a package, or one for a test that wants to break it.
package containertest

import (
	"context"
	"errors"
	"fmt"
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

	firstPort, ports = 20000, 10000 // Linux assigns ports from 32768 on
	attempts         = 5            // to find one that is free
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
	exposed := req.ExposedPorts
	for attempt := 1; ; attempt++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(hostPort()))
		req.ExposedPorts = append(slices.Clone(exposed), addr+":"+strconv.Itoa(port)+"/tcp")
		c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true})
		if err == nil {
			return &Container{c, addr}, nil
		}
		err = errors.Join(fmt.Errorf("start %s: %w", req.Image, err), testcontainers.TerminateContainer(c))
		if attempt == attempts || !portTaken(err) {
			return nil, err
		}
	}
}

// hostPort is a port below those that the kernel assigns to whoever asks for any. Only
// another test can choose the same one, and while a container is down between Kill and
// Restart, no connection is given its port.
func hostPort() int {
	return firstPort + rand.IntN(ports) //nolint:gosec // it is no secret
}

// portTaken reports whether the engine refused a port that somebody else has.
func portTaken(err error) bool {
	return strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
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

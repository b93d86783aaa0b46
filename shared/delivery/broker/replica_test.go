package broker_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/containertest"
	"gozon/shared/test/servicetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

func eventually(t *testing.T, condition func() bool, msg string) {
	t.Helper()
	servicetest.Eventually(t, condition, msg)
}

// replica is a running consumer of a queue. Its handler returns ErrPoison for bodies that
// start with "bad".
type replica struct {
	*broker.Consumer
	metrics *prometheus.Registry

	mu      sync.Mutex
	handled map[string]int
	log     bytes.Buffer
}

// userOf maps each queue to the user that consumes it.
var userOf = map[string]string{broker.OrdersQueue: broker.PaymentsUser, broker.PaymentsQueue: broker.OrdersUser}

// startReplica runs a consumer with the replica's handler until the test ends.
func startReplica(t *testing.T, b *brokertest.Broker, name, queue string) *replica {
	t.Helper()
	return startConsumer(t, b, name, queue, nil)
}

// startConsumer runs a consumer until the test ends. It returns once the consumer is ready.
func startConsumer(t *testing.T, b *brokertest.Broker, name, queue string, handle broker.Handler) *replica {
	t.Helper()
	r := &replica{metrics: prometheus.NewRegistry(), handled: map[string]int{}}
	if handle == nil {
		handle = r.handle
	}
	r.Consumer = broker.NewConsumer(broker.Config{AMQPURL: b.URL(userOf[queue]), DeadLetterAfter: time.Minute}, name, queue, handle, slog.New(slog.NewTextHandler(r, nil)), r.metrics)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		if t.Failed() {
			t.Log(name + ":\n" + r.logged())
		}
	})
	eventually(t, func() bool { return r.Ready(t.Context()) == nil }, name+" is not ready")
	return r
}

func (r *replica) handle(_ context.Context, received []broker.Received) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(received))
	for i, e := range received {
		if r.handled[string(e.Body)]++; bytes.HasPrefix(e.Body, []byte("bad")) {
			errs[i] = broker.ErrPoison
		}
	}
	return errs
}

func (r *replica) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *replica) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// times returns how often the handler has received body.
func (r *replica) times(body string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handled[body]
}

// gauge returns the value of a gauge of the replica.
func gauge(t *testing.T, r *replica, name string) int {
	t.Helper()
	families, err := r.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	require.Fail(t, "no gauge "+name)
	return 0
}

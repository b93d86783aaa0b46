// Package brokertest gives tests a real RabbitMQ and a virtual host of its own for
// each test.
package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/containertest"
	"gozon/shared/test/servicetest"
)

const (
	user = "gozon"
	port = 5672
)

var shared = containertest.NewShared(start)

func start() (*containertest.Container, error) {
	return containertest.Run(testcontainers.ContainerRequest{
		Image:        containertest.Image("RABBITMQ_IMAGE", "rabbitmq:4.0-management"),
		Hostname:     "rabbitmq",
		Env:          map[string]string{"RABBITMQ_DEFAULT_USER": user, "RABBITMQ_DEFAULT_PASS": user},
		ExposedPorts: []string{"15672/tcp"},
		WaitingFor: wait.ForAll(wait.ForLog("Server startup complete"), wait.ForListeningPort("5672/tcp"),
			wait.ForHTTP("/").WithPort("15672/tcp")).WithDeadline(2 * time.Minute),
	}, port)
}

// Broker is a virtual host.
type Broker struct {
	vhost  string
	server *containertest.Container

	mu      sync.Mutex
	channel *amqp.Channel // of Publish
}

// New makes an empty virtual host in the container that the package shares.
func New(t testing.TB) *Broker {
	t.Helper()
	return create(t, shared.Get(t))
}

// Own makes a virtual host in a container of its own, for a test that kills it.
func Own(t testing.TB) (*Broker, *containertest.Container) {
	t.Helper()
	c := containertest.Own(t, start)
	return create(t, c), c
}

func create(t testing.TB, c *containertest.Container) *Broker {
	t.Helper()
	b := &Broker{vhost: uuid.NewString(), server: c}
	b.manage(t, http.MethodPut, "vhosts/"+b.vhost, nil, nil)
	b.manage(t, http.MethodPut, "permissions/"+b.vhost+"/"+user, map[string]string{"configure": ".*", "write": ".*", "read": ".*"}, nil)
	return b
}

// URL is the address of the virtual host.
func (b *Broker) URL() string {
	return (&url.URL{Scheme: "amqp", User: url.UserPassword(user, user), Host: b.server.Addr, Path: "/" + b.vhost}).String()
}

// manage calls the management API.
func (b *Broker) manage(t testing.TB, method, path string, in, out any) {
	t.Helper()
	status := b.send(t, method, path, in, out)
	require.Less(t, status, 300, "%s %s", method, path)
}

// send calls the management API and returns the status of the answer.
func (b *Broker) send(t testing.TB, method, path string, in, out any) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	endpoint, err := b.server.PortEndpoint(ctx, "15672/tcp", "http")
	require.NoError(t, err)
	body, err := json.Marshal(in)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(ctx, method, endpoint+"/api/"+path, bytes.NewReader(body))
	require.NoError(t, err)
	req.SetBasicAuth(user, user)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	if out != nil && resp.StatusCode < 300 {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(out))
	}
	return resp.StatusCode
}

// Registered waits until the broker has statistics of every queue, which come seconds
// after the queue. RabbitMQ registers the member of a new quorum queue on disk half a
// second late: killed before that, it starts the queue without a leader for ever.
func (b *Broker) Registered(t testing.TB) {
	t.Helper()
	servicetest.Eventually(t, func() bool {
		var queues []struct{ Messages *int }
		b.manage(t, http.MethodGet, "queues/"+b.vhost, nil, &queues)
		return len(queues) > 0 && !slices.ContainsFunc(queues, func(q struct{ Messages *int }) bool { return q.Messages == nil })
	})
}

// DropConnections closes the connections to the virtual host whose name begins with
// prefix, from the broker's side, and says how many.
func (b *Broker) DropConnections(t testing.TB, prefix string) int {
	t.Helper()
	var all []struct {
		Name, Vhost string
		Given       string `json:"user_provided_name"`
	}
	b.manage(t, http.MethodGet, "connections", nil, &all)
	dropped := 0
	for _, c := range all {
		if c.Vhost == b.vhost && strings.HasPrefix(c.Given, prefix) {
			status := b.send(t, http.MethodDelete, "connections/"+url.PathEscape(c.Name), nil, nil)
			if status == http.StatusNotFound {
				continue // it was closed meanwhile; the list is seconds old
			}
			require.Less(t, status, 300)
			dropped++
		}
	}
	return dropped
}

// Channel opens a plain channel for the test itself.
func (b *Broker) Channel(t testing.TB) *amqp.Channel {
	t.Helper()
	conn, err := amqp.DialConfig(b.URL(), amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		return amqp.DefaultDial(5*time.Second)(network, addr)
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the test may have killed the broker
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

// Publish sends a body to the shop's exchange, as a stranger would: it need not be an
// event. It uses one channel for all, and a new one when the broker has dropped it.
func (b *Broker) Publish(t testing.TB, key string, body []byte) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.channel == nil || b.channel.IsClosed() {
		b.channel = b.Channel(t)
		require.NoError(t, b.channel.Confirm(false))
	}
	c, err := b.channel.PublishWithDeferredConfirmWithContext(t.Context(), broker.Exchange, key, false, false, amqp.Publishing{Body: body})
	require.NoError(t, err)
	acked, err := c.WaitContext(t.Context())
	require.NoError(t, err)
	require.True(t, acked)
}

// PublishEvent sends an event in an envelope of the given id.
func (b *Broker) PublishEvent(t testing.TB, id uuid.UUID, e events.Event) {
	t.Helper()
	data, err := json.Marshal(e)
	require.NoError(t, err)
	body, err := json.Marshal(events.Envelope{
		SpecVersion: "1.0", ID: id.String(), Source: "test", Type: e.EventType(), Subject: e.EventSubject(),
		Time: time.Now().UTC(), DataContentType: "application/json", Data: data,
	})
	require.NoError(t, err)
	b.Publish(t, e.EventType(), body)
}

// Depth is the number of messages in a queue, those with consumers included.
func (b *Broker) Depth(t testing.TB, queue string) int {
	t.Helper()
	ch := b.Channel(t)
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Messages
}

// Get takes one message from a queue and acks it; it waits for one.
func (b *Broker) Get(t testing.TB, queue string) amqp.Delivery {
	t.Helper()
	var got amqp.Delivery
	ch := b.Channel(t)
	servicetest.Eventually(t, func() bool {
		d, ok, err := ch.Get(queue, true)
		got = d
		return err == nil && ok
	}, "no message in %s", queue)
	return got
}

// String names the virtual host in logs.
func (b *Broker) String() string { return "vhost " + b.vhost }

// Package brokertest runs RabbitMQ in a container, started as in production, and creates a
// virtual host for each test, with the users, permissions and topology of production.
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
	"gozon/shared/test/pins"
	"gozon/shared/test/servicetest"
)

const port = 5672

var shared = containertest.NewShared(start)

func start() (*containertest.Container, error) { return run() }

// run starts a server with additional files.
func run(more ...testcontainers.ContainerFile) (*containertest.Container, error) {
	files, err := files()
	if err != nil {
		return nil, err
	}
	return containertest.Run(testcontainers.ContainerRequest{
		Image:        pins.Image("rabbitmq"),
		Hostname:     "rabbitmq",
		User:         "999:999",
		Entrypoint:   []string{"/start.sh"},
		Cmd:          []string{"rabbitmq-server"},
		Files:        append(files, more...),
		ExposedPorts: []string{"15672/tcp"},
		WaitingFor: wait.ForAll(wait.ForLog("Server startup complete"), wait.ForListeningPort("5672/tcp"),
			wait.ForHTTP("/").WithPort("15672/tcp")).WithDeadline(2 * time.Minute),
	}, port)
}

// Broker is a virtual host of a RabbitMQ server.
type Broker struct {
	vhost  string
	server *containertest.Container

	mu       sync.Mutex
	channels map[string]*amqp.Channel // used by Publish, by user
}

// New creates a virtual host in a container that all tests of a package share.
func New(t testing.TB) *Broker {
	t.Helper()
	return create(t, shared.Get(t))
}

// Own creates a virtual host in a separate container, for a test that kills the container. Its
// queues survive that.
func Own(t testing.TB) (*Broker, *containertest.Container) {
	t.Helper()
	c := containertest.Own(t, start)
	b := create(t, c)
	b.Registered(t)
	return b, c
}

func create(t testing.TB, c *containertest.Container) *Broker {
	t.Helper()
	b := &Broker{vhost: uuid.NewString(), server: c, channels: map[string]*amqp.Channel{}}
	b.Import(t)
	return b
}

// URL returns the AMQP URL of a user of the virtual host.
func (b *Broker) URL(user string) string {
	return (&url.URL{Scheme: "amqp", User: url.UserPassword(user, password(user)), Host: b.server.Addr, Path: "/" + b.vhost}).String()
}

// SetPassword changes the password of a user with all permissions on the virtual host. If the
// user does not exist, it is created.
func (b *Broker) SetPassword(t testing.TB, name, password string) {
	t.Helper()
	b.manage(t, http.MethodPut, "users/"+name, map[string]string{"password": password, "tags": ""}, nil)
	b.manage(t, http.MethodPut, "permissions/"+b.vhost+"/"+name, map[string]string{"configure": ".*", "write": ".*", "read": ".*"}, nil)
}

// manage calls the management API and fails the test unless it succeeds.
func (b *Broker) manage(t testing.TB, method, path string, in, out any) {
	t.Helper()
	status := b.send(t, method, path, in, out)
	require.Less(t, status, 300, "%s %s", method, path)
}

// send calls the management API and returns the response status.
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
	req.SetBasicAuth(admin, password(admin))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	if out != nil && resp.StatusCode < 300 {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(out))
	}
	return resp.StatusCode
}

// Registered waits until the broker has statistics for every queue, seconds after the queue
// was declared. RabbitMQ registers a member of a new quorum queue on disk with a delay of
// half a second. If it is killed before that, it starts the queue without a leader, and the
// queue stays unusable.
func (b *Broker) Registered(t testing.TB) {
	t.Helper()
	servicetest.Eventually(t, func() bool {
		var queues []struct{ Messages *int }
		b.manage(t, http.MethodGet, "queues/"+b.vhost, nil, &queues)
		return len(queues) > 0 && !slices.ContainsFunc(queues, func(q struct{ Messages *int }) bool { return q.Messages == nil })
	})
}

// DropConnections makes the broker close all connections to the virtual host with the given
// name prefix. It returns their number.
func (b *Broker) DropConnections(t testing.TB, prefix string) int {
	t.Helper()
	var all []struct {
		Name, Vhost string
		GivenName   string `json:"user_provided_name"`
	}
	b.manage(t, http.MethodGet, "connections", nil, &all)
	dropped := 0
	for _, c := range all {
		if c.Vhost == b.vhost && strings.HasPrefix(c.GivenName, prefix) {
			status := b.send(t, http.MethodDelete, "connections/"+url.PathEscape(c.Name), nil, nil)
			if status == http.StatusNotFound {
				continue // already closed: the list is seconds old
			}
			require.Less(t, status, 300)
			dropped++
		}
	}
	return dropped
}

// Channel opens a plain AMQP channel of an administrator. It is closed when the test ends.
func (b *Broker) Channel(t testing.TB) *amqp.Channel {
	t.Helper()
	return b.ChannelOf(t, admin)
}

// ChannelOf opens a plain AMQP channel of a user. It is closed when the test ends.
func (b *Broker) ChannelOf(t testing.TB, user string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.DialConfig(b.URL(user), amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		return amqp.DefaultDial(5*time.Second)(network, addr)
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the test may have killed the broker
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

// Publish publishes any body to the shop's exchange, not necessarily an event. It waits for
// the confirm. It publishes as the service that publishes events with this key, or as an
// administrator if there is none.
func (b *Broker) Publish(t testing.TB, key string, body []byte) {
	t.Helper()
	b.publish(t, key, amqp.Publishing{UserId: publisherOf(key), Body: body})
}

// PublishAs publishes with any user id, which may be empty, or that of another user.
func (b *Broker) PublishAs(t testing.TB, user, key string, body []byte) {
	t.Helper()
	ch := b.Channel(t)
	require.NoError(t, ch.PublishWithContext(t.Context(), broker.Exchange, key, false, false, amqp.Publishing{UserId: user, Body: body}))
}

// publisherOf returns the user that publishes events with a key.
func publisherOf(key string) string {
	switch {
	case strings.HasPrefix(key, "order."):
		return broker.OrdersUser
	case strings.HasPrefix(key, "payment."):
		return broker.PaymentsUser
	}
	return admin
}

func (b *Broker) publish(t testing.TB, key string, p amqp.Publishing) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := b.channels[p.UserId]
	if ch == nil || ch.IsClosed() {
		ch = b.ChannelOf(t, p.UserId)
		require.NoError(t, ch.Confirm(false))
		b.channels[p.UserId] = ch
	}
	c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), broker.Exchange, key, false, false, p)
	require.NoError(t, err)
	acked, err := c.WaitContext(t.Context())
	require.NoError(t, err)
	require.True(t, acked)
}

// PublishEvent publishes an event in an envelope with the given id.
func (b *Broker) PublishEvent(t testing.TB, id uuid.UUID, e events.Event) {
	t.Helper()
	body, err := json.Marshal(envelope(t, id, e))
	require.NoError(t, err)
	b.Publish(t, e.EventType(), body)
}

// Depth returns the number of ready messages in a queue, which excludes unacked deliveries.
func (b *Broker) Depth(t testing.TB, queue string) int {
	t.Helper()
	ch := b.Channel(t)
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Messages
}

// Get waits for a message in a queue, acks it and returns it.
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

// GetEvents waits for a message in a queue, acks it and returns its events.
func (b *Broker) GetEvents(t testing.TB, queue string) []events.Envelope {
	t.Helper()
	bodies, err := events.Split(b.Get(t, queue).Body)
	require.NoError(t, err)
	all := make([]events.Envelope, len(bodies))
	for i, body := range bodies {
		all[i], err = events.Parse(body)
		require.NoError(t, err)
	}
	return all
}

// PublishBatch publishes events as one message with the given id, which must be routed by the
// type of the first one. It returns the ids of the events.
func (b *Broker) PublishBatch(t testing.TB, id uuid.UUID, evs ...events.Event) []string {
	t.Helper()
	envelopes, ids := make([]events.Envelope, len(evs)), make([]string, len(evs))
	for i, e := range evs {
		envelopes[i] = envelope(t, uuid.New(), e)
		ids[i] = envelopes[i].ID
	}
	body, err := json.Marshal(envelopes)
	require.NoError(t, err)
	b.publish(t, evs[0].EventType(), amqp.Publishing{UserId: publisherOf(evs[0].EventType()), MessageId: id.String(), ContentType: events.BatchContentType, Body: body})
	return ids
}

func envelope(t testing.TB, id uuid.UUID, e events.Event) events.Envelope {
	t.Helper()
	data, err := json.Marshal(e)
	require.NoError(t, err)
	return events.Envelope{
		SpecVersion: "1.0", ID: id.String(), Source: "test", Type: e.EventType(), Subject: e.EventSubject(),
		Time: time.Now().UTC(), DataContentType: "application/json", Data: data,
	}
}

// String returns the name of the virtual host, for logs.
func (b *Broker) String() string { return "vhost " + b.vhost }

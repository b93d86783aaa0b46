package broker_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/servicetest"
)

// attempt is something that a user may try, and its result: 0 or the code of the error.
type attempt struct {
	name string
	code int
	do   func(ch *amqp.Channel) error
}

// publish attempts to publish a message with a user id.
func publish(code int, exchange, key, userID string) attempt {
	return attempt{"publish " + key + " to " + exchange + " as " + userID, code, func(ch *amqp.Channel) error {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.Confirm(false); err != nil {
			return err
		}
		c, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), exchange, key, false, false, amqp.Publishing{UserId: userID})
		if err != nil {
			return err
		}
		if !c.Wait() {
			return <-closed
		}
		return nil
	}}
}

func bind(code int, queue, key, exchange string) attempt {
	return attempt{"bind " + queue + " with " + key + " to " + exchange, code, func(ch *amqp.Channel) error {
		return ch.QueueBind(queue, key, exchange, false, nil)
	}}
}

func declareQueue(code int, queue string) attempt {
	return attempt{"declare " + queue, code, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		return err
	}}
}

func deleteQueue(code int, queue string) attempt {
	return attempt{"delete " + queue, code, func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(queue, false, false, false)
		return err
	}}
}

func get(code int, queue string) attempt {
	return attempt{"get from " + queue, code, func(ch *amqp.Channel) error {
		_, _, err := ch.Get(queue, false)
		return err
	}}
}

// byAnyone returns what no user may do.
func byAnyone() []attempt {
	const refused = amqp.AccessRefused
	all := []attempt{
		declareQueue(refused, "another"), deleteQueue(refused, broker.Unrouted), bind(refused, broker.Unrouted, "#", broker.Exchange),
		{"declare an exchange", refused, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("another", "topic", true, false, false, false, nil)
		}},
		{"bind exchanges", refused, func(ch *amqp.Channel) error {
			return ch.ExchangeBind(broker.RetryExchange, "#", broker.Exchange, false, nil)
		}},
	}
	for _, exchange := range []string{broker.Exchange, broker.DeadExchange, broker.RetryExchange, broker.Unrouted} {
		all = append(all, attempt{"delete " + exchange, refused, func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) }})
	}
	for _, queue := range []string{broker.OrdersQueue, broker.PaymentsQueue} {
		all = append(all, publish(refused, "", queue, ""), publish(refused, "", queue+broker.DeadSuffix, ""), publish(refused, "amq.topic", queue, ""))
	}
	return all
}

// byService returns what a service may and may not do. It consumes the queue own.
func byService(user, own, own1Key, other, otherUser, otherKey string) []attempt {
	const refused = amqp.AccessRefused
	dead, otherDead := own+broker.DeadSuffix, other+broker.DeadSuffix
	return append(byAnyone(),
		publish(0, broker.Exchange, otherKey+".created.v1", user), // its own events are those of the other queue
		publish(refused, broker.Exchange, own1Key+".succeeded.v1", user),
		publish(refused, broker.Exchange, own1Key+".succeeded.v1", ""),
		publish(refused, broker.Exchange, own1Key, user),
		publish(refused, broker.Exchange, "stray", user),
		publish(amqp.PreconditionFailed, broker.Exchange, otherKey+".created.v1", otherUser),
		publish(amqp.PreconditionFailed, broker.Exchange, otherKey+".created.v1", broker.OperatorUser),
		publish(0, broker.DeadExchange, own, user),
		publish(refused, broker.RetryExchange, own, user), publish(refused, broker.RetryExchange, other, user),
		publish(refused, broker.Unrouted, own1Key+".succeeded.v1", user),
		bind(0, own, own1Key+".#", broker.Exchange), bind(0, own, own, broker.RetryExchange), bind(0, dead, own, broker.DeadExchange),
		bind(refused, own, "#", broker.Exchange), bind(refused, own, otherKey+".#", broker.Exchange),
		bind(refused, other, otherKey+".#", broker.Exchange), bind(refused, otherDead, other, broker.DeadExchange),
		attempt{"unbind " + other, refused, func(ch *amqp.Channel) error { return ch.QueueUnbind(other, otherKey+".#", broker.Exchange, nil) }},
		get(0, own), get(0, dead), get(0, broker.Unrouted), get(refused, other), get(refused, otherDead),
		attempt{"purge " + other, refused, func(ch *amqp.Channel) error { _, err := ch.QueuePurge(other, false); return err }},
		declareQueue(0, dead), declareQueue(refused, other), declareQueue(refused, otherDead), declareQueue(refused, broker.Unrouted),
		deleteQueue(refused, other), deleteQueue(refused, otherDead), deleteQueue(0, dead), deleteQueue(0, own),
	)
}

// Each user may do what it has to do and nothing else.
func TestPermissions(t *testing.T) {
	t.Parallel()
	const refused = amqp.AccessRefused
	operator := byAnyone()
	for _, queue := range []string{broker.OrdersQueue, broker.PaymentsQueue} {
		operator = append(operator, publish(0, broker.RetryExchange, queue, broker.OperatorUser), get(0, queue+broker.DeadSuffix),
			get(refused, queue), declareQueue(refused, queue+broker.DeadSuffix), deleteQueue(refused, queue), bind(refused, queue, queue, broker.RetryExchange),
			publish(amqp.PreconditionFailed, broker.RetryExchange, queue, userOf[queue]), publish(refused, broker.DeadExchange, queue, ""))
	}
	for user, attempts := range map[string][]attempt{
		broker.OrdersUser:   byService(broker.OrdersUser, broker.PaymentsQueue, "payment", broker.OrdersQueue, broker.PaymentsUser, "order"),
		broker.PaymentsUser: byService(broker.PaymentsUser, broker.OrdersQueue, "order", broker.PaymentsQueue, broker.OrdersUser, "payment"),
		broker.OperatorUser: append(operator, get(0, broker.Unrouted), publish(0, broker.Exchange, "order.created.v1", broker.OperatorUser),
			publish(refused, broker.Unrouted, "order.created.v1", "")),
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			b := brokertest.New(t)
			for _, a := range attempts {
				code := 0
				if err := a.do(b.ChannelOf(t, user)); err != nil {
					e, ok := errors.AsType[*amqp.Error](err)
					require.True(t, ok, "%s: %v", a.name, err)
					code = e.Code
				}
				require.Equal(t, a.code, code, a.name)
			}
		})
	}
}

func TestManagementIsRefused(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	require.Equal(t, http.StatusOK, b.Management(t, "admin", "admin"), "the API is enabled")
	for _, user := range []string{broker.OrdersUser, broker.PaymentsUser, broker.OperatorUser, "guest", "gozon"} {
		u, err := url.Parse(b.URL(user))
		require.NoError(t, err)
		password, _ := u.User.Password()
		for _, password := range []string{password, user, ""} {
			require.Equal(t, http.StatusUnauthorized, b.Management(t, user, password), user)
		}
	}
}

// login returns the error of a login to the default virtual host.
func login(t *testing.T, b *brokertest.Broker, user, password string) error {
	t.Helper()
	u, err := url.Parse(b.URL(broker.OrdersUser))
	require.NoError(t, err)
	u.User, u.Path = url.UserPassword(user, password), "/"
	conn, err := amqp.Dial(u.String())
	if err == nil {
		require.NoError(t, conn.Close())
	}
	return err
}

func TestDefaultUserDoesNotExist(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	require.NoError(t, login(t, b, "admin", "admin"))
	for _, user := range []string{"guest", "gozon"} {
		for _, password := range []string{user, ""} {
			require.ErrorIs(t, login(t, b, user, password), amqp.ErrCredentials)
		}
	}
}

// Earlier versions had one user, an administrator, and declared the same queues. The next start
// takes its rights and keeps the messages.
func TestStartTakesTheRightsOfTheFormerAdministrator(t *testing.T) {
	t.Parallel()
	b, server := brokertest.Own(t)
	server.Command(t, "rabbitmqctl", "change_password", "gozon", "secret")
	server.Command(t, "rabbitmqctl", "set_user_tags", "gozon", "administrator")
	server.Command(t, "rabbitmqctl", "set_permissions", "gozon", ".*", ".*", ".*")
	require.NoError(t, login(t, b, "gozon", "secret"))
	require.Equal(t, http.StatusOK, b.Management(t, "gozon", "secret"))
	b.Publish(t, "order.created.v1", []byte("kept"))
	b.Registered(t)
	server.Kill(t)
	server.Restart(t)
	servicetest.Eventually(t, func() bool { return login(t, b, "admin", "admin") == nil }, "the broker does not accept connections")
	require.ErrorIs(t, login(t, b, "gozon", "secret"), amqp.ErrCredentials)
	require.Equal(t, http.StatusUnauthorized, b.Management(t, "gozon", "secret"))
	require.Equal(t, "kept", string(b.Get(t, broker.OrdersQueue).Body))
}

// Events of payments that somebody else has published are dead-lettered, and orders does not
// handle them.
func TestForgedEventIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := startReplica(t, b, "orders", broker.PaymentsQueue)
	for _, user := range []string{"", "admin", broker.OrdersUser} {
		b.PublishAs(t, user, "payment.succeeded.v1", []byte("forged"))
		dead := b.Get(t, broker.PaymentsQueue+broker.DeadSuffix)
		require.Equal(t, "forged", string(dead.Body))
		require.Contains(t, dead.Headers[broker.HeaderReason], `published by "`+user+`", and only events of payments are believed`)
		require.Equal(t, user, dead.Headers[broker.HeaderPublisher])
		require.Equal(t, broker.OrdersUser, dead.UserId)
	}
	require.Zero(t, r.times("forged"))
	for _, user := range []string{broker.PaymentsUser, broker.OperatorUser} {
		b.PublishAs(t, user, "payment.succeeded.v1", []byte(user))
		servicetest.Eventually(t, func() bool { return r.times(user) == 1 }, "not believed: %s", user)
	}
	require.Equal(t, 3, counter(t, r, "consumer_messages_total", "dead_lettered"))
	require.Equal(t, 3, strings.Count(r.logged(), "only events of payments are believed"))
}

func TestWhoPublishedADeadLetter(t *testing.T) {
	t.Parallel()
	copied := func(publisher string) broker.Properties {
		return broker.Properties{UserID: broker.OrdersUser, Headers: map[string]any{broker.HeaderPublisher: publisher}}
	}
	const dead = broker.PaymentsQueue + broker.DeadSuffix
	for name, tc := range map[string]struct {
		letter    broker.DeadLetter
		publisher string
		proven    bool
	}{
		"recorded by the consumer":     {broker.DeadLetter{Queue: dead, Properties: copied("payments")}, "payments", true},
		"a retry":                      {broker.DeadLetter{Queue: dead, Properties: copied("operator")}, "operator", true},
		"forged":                       {broker.DeadLetter{Queue: dead, Properties: copied("orders")}, "orders", false},
		"of an earlier version":        {broker.DeadLetter{Queue: dead}, "", false},
		"dead-lettered by the broker":  {broker.DeadLetter{Queue: dead, Properties: broker.Properties{UserID: "payments"}}, "payments", true},
		"a header by somebody else":    {broker.DeadLetter{Queue: dead, Properties: broker.Properties{Headers: copied("payments").Headers}}, "", false},
		"of the other queue":           {broker.DeadLetter{Queue: broker.OrdersQueue + broker.DeadSuffix, Properties: copied("payments")}, "orders", true},
		"unrouted":                     {broker.DeadLetter{Queue: broker.Unrouted, RoutingKey: "payment.x", Properties: broker.Properties{UserID: "payments"}}, "payments", true},
		"unrouted, forged":             {broker.DeadLetter{Queue: broker.Unrouted, RoutingKey: "payment.x", Properties: copied("payments")}, "orders", false},
		"unrouted, of nobody's events": {broker.DeadLetter{Queue: broker.Unrouted, RoutingKey: "stray"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.publisher, tc.letter.Publisher())
			require.Equal(t, tc.proven, tc.letter.Proven())
		})
	}
}

package broker_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/service/secret"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/servicetest"
)

// A password is changed while a publisher is connected: its session continues, and the next
// one uses the new password.
func TestPasswordIsReadForEachConnection(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	user := uuid.NewString()
	u, err := url.Parse(b.URL(broker.OrdersUser))
	require.NoError(t, err)
	u.User = url.User(user)
	cfg := broker.Config{AMQPURL: u.String(), DeadLetterAfter: time.Minute, Password: secret.Password{File: filepath.Join(t.TempDir(), "password")}}
	set := func(password string) {
		require.NoError(t, os.WriteFile(cfg.Password.File, []byte(password+"\n"), 0o600))
	}
	b.SetPassword(t, user, "one")
	set("one")
	require.NoError(t, cfg.Validate())
	p := startPublisherWith(t, cfg)

	b.SetPassword(t, user, "two/:@")
	_, err = broker.ConnectDeadLetters(cfg, "outdated")
	require.Error(t, err)
	require.Equal(t, []error{nil}, p.publish(t, servicetest.Patience, outgoing("0", "order.created.v1")), "the session ended")
	set("two/:@")
	servicetest.Eventually(t, func() bool { return b.DropConnections(t, "publisher") > 0 }, "no connection to drop")
	servicetest.Eventually(t, func() bool { return p.publish(t, servicetest.Patience, outgoing("1", "order.created.v1"))[0] == nil }, "the publisher does not reconnect")
	require.NotContains(t, p.logged(), "two/")
}

func TestOnlyOnePasswordIsConfigured(t *testing.T) {
	t.Parallel()
	const with, without = "amqp://orders:hidden@localhost/", "amqp://orders@localhost/"
	for want, cfg := range map[string]broker.Config{
		"AMQP_URL contains a password":                  {AMQPURL: with, Password: secret.Password{Text: "hidden"}},
		"AMQP_PASSWORD and AMQP_PASSWORD_FILE are both": {AMQPURL: without, Password: secret.Password{Text: "hidden", File: "file"}},
		"AMQP_PASSWORD_FILE: read a secret":             {AMQPURL: without, Password: secret.Password{File: "/missing"}},
		"AMQP_URL is not an AMQP URL":                   {AMQPURL: "http://orders:hidden@localhost"},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hidden")
	}
}

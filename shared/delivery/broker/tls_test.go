package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/servicetest"
	"gozon/shared/test/tlstest"
)

// An amqps URL leads only to a broker whose certificate is from the CA in cacertfile and has
// the name in the URL.
func TestBrokerIsVerified(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA(t)
	cert, key := ca.Issue(t, t.TempDir(), "127.0.0.1")
	url := brokertest.OwnTLS(t, cert, key)
	cfg := broker.Config{AMQPURL: url(ca.File(t))}
	p := startPublisherWith(t, cfg)
	require.Equal(t, []error{nil}, p.publish(t, servicetest.Patience, outgoing("0", "order.created.v1")))
	dead, err := broker.ConnectDeadLetters(cfg, "dead letters")
	require.NoError(t, err)
	dead.Close()

	_, err = broker.ConnectDeadLetters(broker.Config{AMQPURL: url(tlstest.NewCA(t).File(t))}, "another CA")
	require.ErrorContains(t, err, "certificate signed by unknown authority")
}

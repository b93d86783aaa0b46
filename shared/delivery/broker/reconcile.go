package broker

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	inspectEvery = time.Second
	declareEvery = 10 * time.Second // what inspect cannot see: bindings, and arguments that differ
	alarmEvery   = time.Minute
)

// reconciler keeps the topology as declared while the broker runs. Every second it
// looks for exchanges and queues that were deleted, declares them again, and moves
// what meanwhile went to [Unrouted] back to where it belongs. Any number of
// reconcilers may work on one broker.
type reconciler struct {
	*link
	gauges  map[string]prometheus.Gauge // by queue
	alarms  map[string]*alarm
	redrive redriver
}

// newReconciler registers the depths of [Unrouted] and of the dead-letter queue of
// queue as metrics.
func newReconciler(amqpURL, name, queue string, log *slog.Logger, reg prometheus.Registerer) *reconciler {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	r := &reconciler{
		link: newLink(amqpURL, name, log),
		gauges: map[string]prometheus.Gauge{
			queue + DeadSuffix: gauge("dead_letter_messages", "Messages in the dead-letter queue."),
			Unrouted:           gauge("unrouted_messages", "Messages that found no queue and are kept."),
		},
		alarms: map[string]*alarm{queue + DeadSuffix: {}, Unrouted: {}},
	}
	r.redrive.log = r.log
	return r
}

func (r *reconciler) run(ctx context.Context) {
	r.retry(ctx, func(ctx context.Context) error {
		c, err := connect(r.url, clientConfig(r.name))
		if err != nil {
			return err
		}
		defer c.close()
		defer r.redrive.disconnected()
		if err := c.within(c.declare); err != nil {
			return err
		}
		declared := time.Now()
		for {
			if err := r.reconcile(ctx, c, &declared); err != nil {
				return err
			}
			timer := time.NewTimer(inspectEvery)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
		}
	})
}

func (r *reconciler) reconcile(ctx context.Context, c *connection, declared *time.Time) error {
	var missing []string
	var depths map[string]int
	err := c.within(func() (err error) {
		missing, depths, err = inspect(c)
		return err
	})
	if err != nil {
		return err
	}
	now := time.Now()
	r.measure(ctx, depths, now)
	if len(missing) > 0 {
		what := strings.Join(missing, ", ")
		r.missing("missing on the broker: " + what)
		r.log.ErrorContext(ctx, "topology incomplete, declaring it again", "missing", what)
	}
	redrive := r.redrive.due(depths[Unrouted], now)
	if len(missing) > 0 || redrive || now.Sub(*declared) >= declareEvery {
		if err := c.within(c.declare); err != nil {
			return err
		}
		*declared = now
	}
	if redrive {
		if err := r.redrive.round(ctx, c, depths[Unrouted]); err != nil {
			return err
		}
	}
	if r.redrive.problem != nil {
		r.missing(r.redrive.problem.Error())
	} else {
		r.connected()
	}
	return nil
}

// measure logs when a queue that should be empty has grown, and sets the gauges.
func (r *reconciler) measure(ctx context.Context, depths map[string]int, now time.Time) {
	for queue, gauge := range r.gauges {
		if r.alarms[queue].grown(depths[queue], now) {
			r.log.ErrorContext(ctx, "queue of undeliverable messages has grown", "queue", queue, "messages", depths[queue])
		}
		gauge.Set(float64(depths[queue]))
	}
}

// alarm says when to log that a queue has grown: once for each growth and at most
// once in alarmEvery.
type alarm struct {
	logged int // the depth that is known from the log
	at     time.Time
}

func (a *alarm) grown(depth int, now time.Time) bool {
	if depth <= a.logged {
		a.logged = depth
		return false
	}
	if now.Sub(a.at) < alarmEvery {
		return false
	}
	a.logged, a.at = depth, now
	return true
}

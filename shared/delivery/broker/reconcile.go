package broker

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	inspectInterval = time.Second
	declareInterval = 10 * time.Second // for what inspect cannot see: bindings and changed arguments
	alarmInterval   = time.Minute
)

// reconciler keeps the service's part of the topology complete. Every second it looks for
// its queues and declares those that were deleted. It reports what else is missing, which
// only the broker declares. It also publishes the events of the service in [Unrouted] again,
// so that they reach their queue. Several reconcilers may work on one broker.
type reconciler struct {
	*reconnector
	gauges  map[string]prometheus.Gauge // by queue
	alarms  map[string]*growthAlarm     // by queue
	redrive redriver

	waitLogged time.Time // when it was last logged that something is missing that the broker declares
}

// newReconciler returns a reconciler. It registers the depths of [Unrouted] and of queue's
// dead-letter queue as metrics.
func newReconciler(c Config, name, queue string, log *slog.Logger, reg prometheus.Registerer) *reconciler {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	r := &reconciler{
		reconnector: newReconnector(c, name, queue, log),
		gauges: map[string]prometheus.Gauge{
			queue + DeadSuffix: gauge("dead_letter_messages", "Messages in the dead-letter queue."),
			Unrouted:           gauge("unrouted_messages", "Messages that were not routed to any queue and wait in gozon.unrouted."),
		},
		alarms: map[string]*growthAlarm{queue + DeadSuffix: {}, Unrouted: {}},
	}
	r.redrive.log, r.redrive.user = r.log, flows[queue].consumer
	return r
}

func (r *reconciler) run(ctx context.Context) {
	r.retry(ctx, func(ctx context.Context) error {
		c, err := r.broker.connect(clientConfig(r.name))
		if err != nil {
			return err
		}
		defer c.close()
		defer r.redrive.disconnected()
		var declared time.Time
		for {
			if err := r.reconcile(ctx, c, &declared); err != nil {
				return err
			}
			timer := time.NewTimer(inspectInterval)
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
	var found state
	err := c.withTimeout(func() (err error) {
		found, err = inspect(c, r.queue)
		return err
	})
	if err != nil {
		return err
	}
	now := time.Now()
	r.recordDepths(ctx, found.depths, now)
	if len(found.imported) > 0 {
		names := strings.Join(found.imported, ", ")
		r.setNotReady("missing on the broker, which declares it when it starts: " + names)
		if now.Sub(r.waitLogged) >= alarmInterval {
			r.waitLogged = now
			r.log.ErrorContext(ctx, "topology: incomplete, waiting until the broker imports its definitions", "missing", names)
		}
		return nil
	}
	if len(found.missing) > 0 {
		names := strings.Join(found.missing, ", ")
		r.setNotReady("missing on the broker: " + names)
		r.log.ErrorContext(ctx, "topology: incomplete, declaring it again", "missing", names)
	}
	depth := found.depths[Unrouted]
	redrive := r.redrive.due(depth, now)
	if len(found.missing) > 0 || redrive || now.Sub(*declared) >= declareInterval {
		if err := c.withTimeout(func() error { return c.declare(r.queue) }); err != nil {
			return err
		}
		*declared = now
	}
	if redrive {
		if err := r.redrive.round(ctx, c, depth); err != nil {
			return err
		}
	}
	if r.redrive.lastErr != nil {
		r.setNotReady(r.redrive.lastErr.Error())
	} else {
		r.setReady()
	}
	return nil
}

// recordDepths sets the gauges. It logs when a queue that should be empty has grown.
func (r *reconciler) recordDepths(ctx context.Context, depths map[string]int, now time.Time) {
	for queue, gauge := range r.gauges {
		if r.alarms[queue].grown(depths[queue], now) {
			r.log.ErrorContext(ctx, "topology: queue of undeliverable messages has grown", "queue", queue, "messages", depths[queue])
		}
		gauge.Set(float64(depths[queue]))
	}
}

// growthAlarm decides when to log that a queue has grown: once for each growth and at most
// once per alarmInterval.
type growthAlarm struct {
	depth    int // the last depth that was logged, or a lower depth since
	loggedAt time.Time
}

func (a *growthAlarm) grown(depth int, now time.Time) bool {
	if depth <= a.depth {
		a.depth = depth
		return false
	}
	if now.Sub(a.loggedAt) < alarmInterval {
		return false
	}
	a.depth, a.loggedAt = depth, now
	return true
}

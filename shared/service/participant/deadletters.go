package participant

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/deadletters"
	"gozon/shared/service"
)

// DeadLetters describes the dead letters of a participant.
type DeadLetters struct {
	Queues   []string                // where they are found
	Validate func(body []byte) error // reports why the participant's consumer cannot decode an event
}

const deadLettersUsage = `Usage: dead-letters COMMAND [flags]

First, every command moves the messages in the dead-letter queue to the table dead_letters.

  list                       the open dead letters, oldest failure first
  show ID                    one of them: the event, why it failed, and what was done with it
  retry ID                   publish it again; its event takes effect at most once
  edit ID                    replace the data of its event, read from a file or standard input
  retry-all                  retry all that are open now, up to a number and at a rate, except for those that were
                             not published by the service that publishes such events
  discard ID --reason TEXT   close it without a retry

A dead letter is open, retrying (a retry was interrupted: retry it again), retried or discarded. A retried one that
fails again is open again. The actions are recorded with the name of the operator: --by, by default $OPERATOR or $USER.

Flags:
`

// deadLettersCall is a call of the command.
type deadLettersCall struct {
	name   string
	id     uuid.UUID
	filter deadletters.Filter
	rate   float64
	by     string
	reason string // for discarding it
	file   string
	event  bool
	retry  bool
	json   bool
}

// parseDeadLetters parses the arguments of the command. Flags may be before or after the id.
func parseDeadLetters(args []string, operator string, stderr io.Writer) (c deadLettersCall, err error) {
	flags := flag.NewFlagSet("dead-letters", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, deadLettersUsage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&c.json, "json", false, "list, show: print JSON")
	flags.BoolVar(&c.filter.Closed, "all", false, "list: also those that are retried or discarded")
	flags.StringVar(&c.filter.Queue, "queue", "", "list, retry-all: only those from this queue")
	flags.StringVar(&c.reason, "reason", "", "list, retry-all: only those whose reason contains this text; discard: why")
	flags.IntVar(&c.filter.Max, "max", 100, "list, retry-all: maximum `number`")
	flags.Float64Var(&c.rate, "rate", 10, "retry-all: dead letters per second")
	flags.StringVar(&c.file, "file", "-", "edit: the file to read; - is standard input")
	flags.BoolVar(&c.event, "event", false, "edit: replace the whole event except for its id, not only its data")
	flags.BoolVar(&c.retry, "retry", false, "edit: retry it as well")
	flags.StringVar(&c.by, "by", operator, "the `name` of the operator")

	var words []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return c, usageError(err)
		}
		if args = flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) == 0 {
		flags.Usage()
		return c, fmt.Errorf("%w: the command is missing", service.ErrUsage)
	}
	c.name = words[0]
	withID := slices.Contains([]string{"show", "retry", "edit", "discard"}, c.name)
	switch {
	case !withID && c.name != "list" && c.name != "retry-all":
		flags.Usage()
		err = fmt.Errorf("unknown command %q", c.name)
	case withID && len(words) != 2:
		err = fmt.Errorf("%s takes the id of a dead letter", c.name)
	case !withID && len(words) != 1:
		err = fmt.Errorf("%s takes no arguments besides flags", c.name)
	case c.by == "" && c.name != "list" && c.name != "show":
		err = errors.New("who does this? Set --by or the environment variable OPERATOR")
	case c.name == "discard" && c.reason == "":
		err = errors.New("discard needs a --reason")
	case c.filter.Max < 1 || c.rate <= 0:
		err = errors.New("--max and --rate must be positive")
	case withID:
		c.id, err = uuid.Parse(words[1])
	}
	if err != nil {
		return c, usageError(err)
	}
	if c.name != "discard" {
		c.filter.Reason = c.reason
	}
	c.by = cmp.Or(c.by, "unknown") // collects
	return c, nil
}

// usageError marks an error of the arguments. A call for help is none.
func usageError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w: %w", service.ErrUsage, err)
}

// deadLetters runs the command.
func (c *Config) deadLetters(ctx context.Context, name string, d DeadLetters, call service.Call) error {
	parsed, err := parseDeadLetters(call.Args, c.Operator, call.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	db, err := database.Open(c.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	store := deadletters.NewStore(db, name)
	if err := store.Check(ctx); err != nil {
		return err
	}
	conn, err := broker.ConnectDeadLetters(c.Broker, name+" dead letters")
	if err != nil {
		return err
	}
	defer conn.Close()
	client := &deadletters.Client{Store: store, Broker: conn, Queues: d.Queues, Validate: d.Validate, Operator: parsed.by}
	if err := client.Collect(ctx); err != nil {
		return err
	}
	return parsed.run(ctx, client, call)
}

func (c deadLettersCall) run(ctx context.Context, client *deadletters.Client, call service.Call) error {
	out := letterPrinter{call.Stdout, client.Check}
	switch c.name {
	case "list":
		return c.list(ctx, client, out)
	case "show":
		l, actions, handledAt, err := client.Store.Find(ctx, c.id)
		switch {
		case err != nil:
			return err
		case c.json:
			return out.json(out.shown(l, actions, handledAt))
		}
		return out.show(l, actions, handledAt)
	case "edit":
		return c.edit(ctx, client, call)
	case "discard":
		if err := client.Store.Discard(ctx, c.id, c.by, c.reason); err != nil {
			return err
		}
		fmt.Fprintf(call.Stdout, "discarded %s\n", c.id)
	case "retry":
		return c.retryOne(ctx, client, call)
	case "retry-all":
		n := 0
		err := client.RetryAll(ctx, c.filter, time.Duration(float64(time.Second)/c.rate), func(l deadletters.Letter, skipped bool) {
			if skipped {
				fmt.Fprintf(call.Stdout, "skipped %s: published by %q; look at it, then retry it by its id\n", l.ID, l.Publisher())
				return
			}
			n++
			fmt.Fprintf(call.Stdout, "retried %s\n", l.ID)
		})
		if err != nil {
			return fmt.Errorf("stopped after %d dead letters: %w", n, err)
		}
	}
	return nil
}

func (c deadLettersCall) list(ctx context.Context, client *deadletters.Client, out letterPrinter) error {
	limit := c.filter.Max
	c.filter.Max++ // one more, to find out whether the list is complete
	letters, err := client.Store.List(ctx, c.filter)
	if err != nil {
		return err
	}
	if !c.json {
		return out.list(letters, limit)
	}
	all := []letterJSON{}
	for _, l := range letters[:min(len(letters), limit)] {
		all = append(all, out.listed(l))
	}
	return out.json(all)
}

func (c deadLettersCall) edit(ctx context.Context, client *deadletters.Client, call service.Call) error {
	input := call.Stdin
	if c.file != "-" {
		f, err := os.Open(c.file)
		if err != nil {
			return err
		}
		defer f.Close()
		input = f
	}
	body, err := io.ReadAll(input)
	if err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	edit := client.EditData
	if c.event {
		edit = client.EditEvent
	}
	if err := edit(ctx, c.id, body); err != nil {
		return err
	}
	fmt.Fprintf(call.Stdout, "edited %s\n", c.id)
	if c.retry {
		return c.retryOne(ctx, client, call)
	}
	return nil
}

func (c deadLettersCall) retryOne(ctx context.Context, client *deadletters.Client, call service.Call) error {
	if err := client.Retry(ctx, c.id); err != nil {
		return err
	}
	fmt.Fprintf(call.Stdout, "retried %s\n", c.id)
	return nil
}

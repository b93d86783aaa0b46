package participant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/deadletters"
)

// letterPrinter prints dead letters for people and for machines.
type letterPrinter struct {
	out   io.Writer
	check func(queue string, body []byte) error
}

// letterJSON is a dead letter as JSON. The fields after State are those of show.
type letterJSON struct {
	ID         string    `json:"id"`
	Queue      string    `json:"queue"`
	RoutingKey string    `json:"routing_key"`
	Reason     string    `json:"reason"`
	FailedAt   time.Time `json:"failed_at"`
	Retries    int       `json:"retries"`
	State      string    `json:"state"`

	MessageID   string          `json:"message_id,omitempty"`
	Publisher   string          `json:"publisher,omitempty"`
	Headers     map[string]any  `json:"headers,omitempty"`
	Event       json.RawMessage `json:"event,omitempty"` // if it is JSON
	Body        []byte          `json:"body,omitempty"`  // otherwise, base64
	DecodeError string          `json:"decode_error,omitempty"`
	HandledAt   time.Time       `json:"handled_at,omitzero"`
	Actions     []actionJSON    `json:"actions,omitempty"`
}

type actionJSON struct {
	Action string          `json:"action"`
	By     string          `json:"by"`
	At     time.Time       `json:"at"`
	Reason string          `json:"reason,omitempty"`
	Event  json.RawMessage `json:"event,omitempty"` // that an edit has set
}

func (p letterPrinter) json(v any) error {
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (letterPrinter) listed(l deadletters.Letter) letterJSON {
	return letterJSON{
		ID: l.ID.String(), Queue: l.Queue, RoutingKey: l.RoutingKey, Reason: l.Reason,
		FailedAt: l.FailedAt.UTC(), Retries: l.Retry, State: string(l.State),
	}
}

func (p letterPrinter) shown(l deadletters.Letter, actions []deadletters.Action, handledAt time.Time) letterJSON {
	j := p.listed(l)
	j.MessageID, j.Publisher, j.Headers, j.HandledAt = l.Properties.MessageID, l.Publisher(), l.Properties.Headers, handledAt
	if json.Valid(l.Body) {
		j.Event = l.Body
	} else {
		j.Body = l.Body
	}
	if err := p.checked(l); err != nil {
		j.DecodeError = err.Error()
	}
	for _, a := range actions {
		j.Actions = append(j.Actions, actionJSON{a.Action, a.Operator, a.At.UTC(), a.Reason, a.Body})
	}
	return j
}

// checked returns why an event of the letter cannot be decoded.
func (p letterPrinter) checked(l deadletters.Letter) error {
	all, err := events.Split(l.Body)
	for _, event := range all {
		if err = p.check(l.Queue, event); err != nil {
			break
		}
	}
	return err
}

// list prints a table of at most limit letters.
func (p letterPrinter) list(letters []deadletters.Letter, limit int) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(p.out, "no dead letters")
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tQUEUE\tROUTING KEY\tFAILED AT\tRETRIES\tREASON")
	for i, l := range letters {
		if i == limit {
			fmt.Fprintln(w, "There are more. Set --max.")
			break
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", l.ID, l.State, l.Queue, line(l.RoutingKey),
			l.FailedAt.UTC().Format(time.RFC3339), l.Retry, shortened(line(l.Reason)))
	}
	return w.Flush()
}

func (p letterPrinter) show(l deadletters.Letter, actions []deadletters.Action, handledAt time.Time) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, line(fmt.Sprintf(format, args...)))
	}
	row("id", "%s", l.ID)
	row("state", "%s", l.State)
	row("queue", "%s", l.Queue)
	row("routing key", "%s", l.RoutingKey)
	row("message id", "%s", l.Properties.MessageID)
	row("publisher", "%s", cmp.Or(l.Publisher(), "unknown"))
	row("failed at", "%s", l.FailedAt.UTC().Format(time.RFC3339))
	row("reason", "%s", l.Reason)
	row("retries", "%d", l.Retry)
	if err := p.checked(l); err != nil {
		row("decodes", "no: %v", err)
	} else {
		row("decodes", "yes")
	}
	if !handledAt.IsZero() {
		row("handled", "at %s; another retry has no effect", handledAt.UTC().Format(time.RFC3339))
	}
	var names []string
	for name := range l.Properties.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, _ := json.Marshal(l.Properties.Headers[name]) // decoded from JSON
		row("header "+line(name), "%s", value)
	}
	for _, a := range actions {
		row(a.At.UTC().Format(time.RFC3339), "%s by %s %s", a.Action, a.Operator, a.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var event bytes.Buffer
	if json.Indent(&event, l.Body, "", "  ") != nil {
		event.Reset()
		fmt.Fprintf(&event, "%q", l.Body)
	}
	_, err := fmt.Fprintf(p.out, "\n%s\n", event.Bytes())
	return err
}

// line returns text without control characters: what a message contains must not control the
// terminal.
func line(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text))
}

// maxListedReason is the number of characters of a reason that list prints.
const maxListedReason = 100

func shortened(text string) string {
	if r := []rune(text); len(r) > maxListedReason {
		return string(r[:maxListedReason]) + "…"
	}
	return text
}

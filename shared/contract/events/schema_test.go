package events_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/web/request"
)

// schemaDir contains the published schemas.
const schemaDir = "../../../docs/events"

var update = flag.Bool("update", false, "regenerate the JSON Schemas in docs/events")

// rules adds the constraints that a Go type cannot express, by the name of the property. A
// name has the same meaning in every event.
var rules = map[string]func(*jsonschema.Schema){
	"specversion":     only("1.0"),
	"id":              format("uuid"),
	"source":          notEmpty,
	"type":            notEmpty,
	"subject":         format("uuid"),
	"datacontenttype": only("application/json"),
	"traceparent":     func(s *jsonschema.Schema) { s.Pattern = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$" },
	"data":            func(s *jsonschema.Schema) { s.Type = "object" },
	"order_id":        format("uuid"),
	"user_id":         from1To(request.MaxUserID),
	"amount_minor":    from1To(int64(money.Max)),
	"reason": func(s *jsonschema.Schema) {
		notEmpty(s)
		s.Examples = []any{events.ReasonInsufficientFunds, events.ReasonAccountNotFound}
	},
}

func notEmpty(s *jsonschema.Schema) { one := uint64(1); s.MinLength = &one }

func only(value string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Const = value }
}

func format(name string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Format = name }
}

func from1To(maximum int64) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Minimum, s.Maximum = "1", json.Number(strconv.FormatInt(maximum, 10)) }
}

// The published schemas match the types.
func TestPublishedSchemas(t *testing.T) {
	t.Parallel()
	schemas := map[string][]byte{"envelope.schema.json": schemaOf(t, "CloudEvents envelope", events.Envelope{})}
	for _, e := range sent {
		schemas[e.event.EventType()+".schema.json"] = schemaOf(t, e.event.EventType(), e.event)
	}
	if *update {
		for name, schema := range schemas {
			require.NoError(t, os.WriteFile(filepath.Join(schemaDir, name), schema, 0o644))
		}
	}
	files, err := os.ReadDir(schemaDir)
	require.NoError(t, err)
	require.Len(t, files, len(schemas))
	for name, schema := range schemas {
		checkedIn, err := os.ReadFile(filepath.Join(schemaDir, name))
		require.NoError(t, err)
		require.Equal(t, string(schema), string(checkedIn), "%s: regenerate it with go test ./contract/events -run TestPublishedSchemas -update", name)
	}
}

// schemaOf returns the JSON Schema of a struct. The comments in its source become
// descriptions.
func schemaOf(t *testing.T, title string, v any) []byte {
	t.Helper()
	r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, AllowAdditionalProperties: true}
	require.NoError(t, r.AddGoComments(reflect.TypeFor[events.Envelope]().PkgPath(), ".", jsonschema.WithFullComment()))
	for name, comment := range r.CommentMap {
		comment = strings.Join(strings.Fields(comment), " ")
		r.CommentMap[name] = regexp.MustCompile(`\[(\w+)\]`).ReplaceAllString(comment, "$1")
	}
	schema := r.Reflect(v)
	schema.Title = title
	for p := schema.Properties.Oldest(); p != nil; p = p.Next() {
		if p.Value.Format == "date-time" {
			continue
		}
		require.Contains(t, rules, p.Key, "add the values that it may have to rules")
		rules[p.Key](p.Value)
	}
	// The reflector treats omitempty as optional but ignores omitzero.
	for _, f := range reflect.VisibleFields(reflect.Indirect(reflect.ValueOf(v)).Type()) {
		if name, options, _ := strings.Cut(f.Tag.Get("json"), ","); options == "omitzero" {
			schema.Required = slices.DeleteFunc(schema.Required, func(r string) bool { return r == name })
		}
	}
	compact, err := json.Marshal(schema)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, json.Indent(&b, compact, "", "  "))
	b.WriteByte('\n')
	return b.Bytes()
}
